{
  callPackage,
  orin-core,
  python3Packages,
  tinygrad,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    python3Packages.gguf
    python3Packages.numpy
    tinygrad
  ];

  env.DEV = "CPU"; # a build has no GPU, and tinygrad would look for one
}
