# An OpenTelemetry collector that takes the metrics of applications and hands them to Prometheus.
{ config, lib, ... }:
let
  cfg = config.orin.telemetry;
  inherit (config.services) prometheus;
  inherit (import ./addresses.nix { inherit lib; }) local withPort;
in
{
  options.orin.telemetry.otlp.enable = lib.mkEnableOption ''
    an OpenTelemetry collector for the metrics of applications on this machine: OTLP over gRPC on
    127.0.0.1:4317 and over HTTP on 127.0.0.1:4318, kept by Prometheus beside the board's own. Traces
    and logs are refused, as nothing here could store them; pipelines to a store of yours go into
    {option}`services.opentelemetry-collector.settings`'';

  config = lib.mkIf (cfg.enable && cfg.otlp.enable) {
    services.prometheus.extraFlags = [ "--web.enable-otlp-receiver" ];

    services.opentelemetry-collector = {
      enable = true;
      validateConfigFile = true; # which needs no network

      settings = {
        receivers.otlp.protocols = {
          grpc.endpoint = "127.0.0.1:4317";
          http.endpoint = "127.0.0.1:4318";
        };

        processors = {
          memory_limiter = {
            check_interval = "1s";
            limit_mib = 200;
          };
          # The label `instance`, where the application says none.
          resource.attributes = [
            {
              key = "service.instance.id";
              value = config.networking.hostName;
              action = "insert";
            }
          ];
          batch = { };
        };

        exporters.otlp_http.endpoint = "http://${withPort (local prometheus.listenAddress) prometheus.port}/api/v1/otlp";

        service = {
          pipelines.metrics = {
            receivers = [ "otlp" ];
            processors = [
              "memory_limiter"
              "resource"
              "batch"
            ];
            exporters = [ "otlp_http" ];
          };
          telemetry.metrics.level = "none"; # its own would take port 8888
        };
      };
    };

    # What nixpkgs' unit says already stays.
    systemd.services.opentelemetry-collector.serviceConfig =
      lib.mapAttrs (_: lib.mkDefault) (import ../hardening.nix).base
      // {
        ProcSubset = "all"; # it reads in /proc/stat when it was started
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        MemoryMax = "256M";
        SupplementaryGroups = lib.mkForce [ ]; # nixpkgs lets it read the journal, which it does not
      };
  };
}
