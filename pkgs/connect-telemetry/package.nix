{
  callPackage,
  orin-core,
  python3Packages,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    python3Packages.typer
  ];
}
