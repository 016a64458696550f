{
  callPackage,
  python3Packages,
  tinygrad,
}:
let
  # What the modules for devices and pictures need, and only their users.
  optional-dependencies.tinygrad = [
    python3Packages.numpy
    python3Packages.pillow
    tinygrad
  ];
in
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    python3Packages.rich
    python3Packages.typer
  ];
  inherit optional-dependencies;
  nativeCheckInputs = optional-dependencies.tinygrad;
}
