{
  callPackage,
  orin-core,
  python3Packages,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    python3Packages.prometheus-client
    python3Packages.pyyaml
    python3Packages.rich
    python3Packages.textual
    python3Packages.typer
  ];
}
