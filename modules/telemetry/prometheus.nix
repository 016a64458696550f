# Prometheus: scrapes the exporters, keeps the samples within bounds, evaluates ./rules, and sends what
# it has on where remoteWrite says so. services.prometheus takes everything else.
{ config, lib, ... }:
let
  cfg = config.orin.telemetry;
  inherit (config.services) prometheus;
  inherit (import ./addresses.nix { inherit lib; }) local withPort;

  # A board has the same name in all jobs, so that queries can join them.
  scrape = name: address: port: {
    job_name = name;
    static_configs = [
      {
        targets = [ (withPort (local address) port) ];
        labels.instance = config.networking.hostName;
      }
    ];
  };

  rules = lib.filter (lib.hasSuffix ".yml") (lib.attrNames (builtins.readDir ./rules));

  # An agent only sends samples on: it keeps none and evaluates nothing.
  isAgent = prometheus.enableAgentMode;

  # Where nixpkgs' type takes a secret itself besides a file with it.
  hasSecret =
    target:
    (target.basic_auth.password or null) != null
    || (target.bearer_token or null) != null
    || (target.sigv4.secret_key or null) != null
    || builtins.match "[^/]*//[^/]*@.*" (target.url or "") != null;
in
{
  options.orin.telemetry = {
    scrapeInterval = lib.mkOption {
      type = lib.types.ints.between 1 15;
      default = 5;
      description = ''
        Seconds between two readings, and between two looks at the alerts. 5 by default: throttling
        comes and goes within seconds, and a reading costs a few milliseconds. At most 15, as rules
        and dashboards take rates over a minute, which needs four readings.
      '';
    };

    retention = {
      time = lib.mkOption {
        type = lib.types.strMatching "([0-9]+(y|w|d|h|m|s|ms))+";
        default = "30d";
        description = "How long Prometheus keeps samples. 30 days by default: a month to compare with.";
      };

      size = lib.mkOption {
        type = lib.types.strMatching "[0-9]+(B|KB|MB|GB|TB)";
        default = "4GB";
        description = ''
          Most that the samples may take on disk; the oldest go first, whatever their age. 4GB by
          default, about twice what 30 days take: the eMMC of the AGX Orin has 64.
        '';
      };
    };

    remoteWrite = lib.mkOption {
      type = lib.types.listOf (lib.types.attrsOf lib.types.anything);
      default = [ ];
      example = [
        {
          url = "https://mimir.example.org/api/v1/push";
          headers."X-Scope-OrgID" = "robots";
          basic_auth = {
            username = "robots";
            password_file = "/run/secrets/mimir";
          };
        }
      ];
      description = ''
        Stores that get every sample besides, each as {option}`services.prometheus.remoteWrite`
        takes it: Mimir, VictoriaMetrics, another Prometheus. For many boards in one store: give
        each its own {option}`networking.hostName`, which is the `instance` of its series here and
        the `host` of all that it sends. Files with passwords must be readable by the user
        `prometheus`. A board that needs no store and no alerts of its own sets
        `services.prometheus.enableAgentMode = true` and `services.grafana.enable = false`.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.prometheus = {
      enable = lib.mkDefault true;
      listenAddress = lib.mkDefault "127.0.0.1";

      globalConfig = {
        scrape_interval = "${toString cfg.scrapeInterval}s";
        evaluation_interval = "${toString cfg.scrapeInterval}s";
        # Series of applications carry an instance of their own.
        external_labels = lib.mkIf (cfg.remoteWrite != [ ]) { host = config.networking.hostName; };
      };

      scrapeConfigs = [
        (scrape "jetson" cfg.exporter.listenAddress cfg.exporter.port)
        (scrape "node" prometheus.exporters.node.listenAddress prometheus.exporters.node.port)
        (scrape "prometheus" prometheus.listenAddress prometheus.port)
      ];

      ruleFiles = map (file: ./rules + "/${file}") rules;

      retentionTime = lib.mkIf (!isAgent) cfg.retention.time;
      extraFlags = lib.optional (!isAgent) "--storage.tsdb.retention.size=${cfg.retention.size}";

      inherit (cfg) remoteWrite;
      # Files with passwords are on the board, and not where its configuration is built.
      checkConfig = lib.mkIf (cfg.remoteWrite != [ ]) (lib.mkDefault "syntax-only");
    };

    assertions = map (target: {
      assertion = !hasSecret target;
      message = "orin.telemetry.remoteWrite has a store with a secret in clear, which everyone could read in /nix/store: write it to a file on the board and name that as basic_auth.password_file or bearer_token_file.";
    }) cfg.remoteWrite;
  };
}
