{
  lib,
  callPackage,
  orin-core,
  orin-telemetry,
  prometheus,
  prometheus-node-exporter,
  python3Packages,
}:
let
  # What it runs, rather than imports.
  programs = [
    orin-telemetry
    prometheus
    prometheus-node-exporter
  ];
in
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    python3Packages.pyyaml
    python3Packages.typer
  ];

  nativeCheckInputs = programs;

  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath programs)
    "--add-flag"
    "--rules"
    "--add-flag"
    "${../../modules/telemetry/rules}"
  ];
}
