{
  lib,
  callPackage,
  orin-core,
  orin-telemetry,
  prometheus,
  prometheus-node-exporter,
  python3Packages,
}:
callPackage ../python-project.nix { } {
  folder = ./.;

  dependencies = [
    orin-core
    python3Packages.pyyaml
    python3Packages.typer
  ];

  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath [
      orin-telemetry
      prometheus
      prometheus-node-exporter
    ])
    "--add-flags"
    "--rules ${../../modules/telemetry/rules}"
  ];
}
