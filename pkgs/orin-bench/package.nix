{
  callPackage,
  orin-core,
  orin-nn,
  python3Packages,
  safetensors,
  tinygrad,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    orin-nn
    python3Packages.gguf
    python3Packages.matplotlib
    python3Packages.numpy
    python3Packages.pillow
    python3Packages.scipy
    python3Packages.typer
    safetensors
    tinygrad
  ];

  env.DEV = "CPU"; # a build has no GPU, and tinygrad would look for one
}
