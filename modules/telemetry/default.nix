# What the board does, seen: jetson-exporter and node_exporter read it, Prometheus keeps it and raises
# alerts, Grafana shows it. All of it on this machine alone until told otherwise.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.orin.telemetry;
  inherit (import ./addresses.nix { inherit lib; }) isLoopback;

  # What answers on the network: what was given an address beyond this machine.
  open = lib.filter (listener: !isLoopback listener.listenAddress) [
    cfg.exporter
    cfg.grafana
  ];
in
{
  imports = [
    ./exporter.nix
    ./grafana.nix
    ./otlp.nix
    ./prometheus.nix
  ];

  options.orin.telemetry = {
    enable = lib.mkEnableOption "jetson-exporter, node_exporter, Prometheus with alerts, and Grafana with dashboards";

    package = lib.mkPackageOption pkgs "orin-telemetry" { };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether to open the ports of the exporter and of Grafana in the firewall, each only where
        its `listenAddress` is beyond this machine. Off by default: an SSH tunnel reaches them.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ]; # jetson-top

    networking.firewall.allowedTCPPorts = lib.optionals cfg.openFirewall (
      map (listener: listener.port) open
    );

    assertions = [
      {
        assertion = cfg.openFirewall -> open != [ ];
        message = ''orin.telemetry.openFirewall opens nothing, as all listen on this machine alone: set orin.telemetry.grafana.listenAddress = "0.0.0.0" or that of the exporter, or leave it out.'';
      }
    ];
  };
}
