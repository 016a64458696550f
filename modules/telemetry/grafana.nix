# Grafana with the dashboards of ./dashboards. services.grafana takes everything else.
{ config, lib, ... }:
let
  cfg = config.orin.telemetry;
  inherit (config.services) grafana prometheus;
  addresses = import ./addresses.nix { inherit lib; };

  secrets = "/var/lib/grafana-secrets";
  password = cfg.grafana.adminPasswordFile;
in
{
  options.orin.telemetry.grafana = {
    listenAddress = lib.mkOption {
      inherit (addresses) type;
      default = "127.0.0.1";
      example = "0.0.0.0";
      description = ''
        Address that Grafana listens on. Only this machine by default, and then whoever is on it
        sees the dashboards without logging in; anywhere else Grafana asks for a password.
      '';
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 3000;
      description = "Port that Grafana listens on: its own default.";
    };

    adminPasswordFile = lib.mkOption {
      # Not `path`, which would copy ./password into the store for everyone to read.
      type = lib.types.nullOr lib.types.externalPath;
      default = null;
      example = "/run/secrets/grafana-admin";
      description = ''
        File with the password of Grafana's `admin`, read by systemd as root. By default one is made
        at the first start: `sudo cat ${secrets}/admin-password`. Grafana takes it over
        when it first starts and keeps its own from then on.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.grafana = {
      enable = lib.mkDefault true;

      settings = {
        server = {
          http_addr = cfg.grafana.listenAddress;
          http_port = cfg.grafana.port;
        };

        security = {
          secret_key = lib.mkDefault "$__file{${secrets}/secret-key}";
          admin_password = lib.mkDefault (
            if password == null then
              "$__file{${secrets}/admin-password}"
            else
              "$__file{/run/credentials/grafana.service/admin-password}" # of LoadCredential=
          );
          disable_gravatar = true;
        };

        # By the address in force, however it was set.
        "auth.anonymous".enabled = addresses.isLoopback grafana.settings.server.http_addr;

        # Nothing here calls home, or waits for an answer on a board without the Internet.
        analytics = {
          reporting_enabled = false;
          check_for_updates = false;
          check_for_plugin_updates = false;
          feedback_links_enabled = false;
        };
        news.news_feed_enabled = false;
        plugins.preinstall_disabled = true;
        snapshots.external_enabled = false;

        dashboards.default_home_dashboard_path = "${./dashboards}/mission-control.json";
      };

      provision = {
        enable = true;
        datasources.settings.datasources = [
          {
            name = "Prometheus";
            type = "prometheus";
            uid = "prometheus";
            url = "http://${addresses.withPort (addresses.local prometheus.listenAddress) prometheus.port}";
            isDefault = true;
            jsonData.timeInterval = "${toString cfg.scrapeInterval}s"; # the shortest that rates look at
          }
        ];
        dashboards.settings.providers = [
          {
            name = "Orin";
            options.path = ./dashboards;
          }
        ];
      };
    };

    systemd.services.grafana = lib.mkIf (grafana.enable && password != null) {
      serviceConfig.LoadCredential = "admin-password:${password}";
    };

    systemd.services.grafana-secrets = lib.mkIf grafana.enable {
      description = "Make Grafana's secret key and first password";
      requiredBy = [ "grafana.service" ];
      before = [ "grafana.service" ];

      # Whole or not there at all, and never made twice: Grafana's database is encrypted with the key.
      script = ''
        set -o pipefail
        for name in secret-key ${lib.optionalString (password == null) "admin-password"}; do
          file=$STATE_DIRECTORY/$name
          if [[ ! -s $file ]]; then
            head --bytes=32 /dev/urandom | base64 --wrap=0 >"$file.new"
            sync "$file.new"
            mv "$file.new" "$file"
          fi
        done
      '';

      serviceConfig = (import ../hardening.nix).base // {
        Type = "oneshot";
        RemainAfterExit = true;
        User = "grafana";
        StateDirectory = baseNameOf secrets;
        StateDirectoryMode = "0700";
        PrivateNetwork = true;
        PrivateUsers = true;
        IPAddressDeny = "any";
        RestrictAddressFamilies = "none";
      };
    };
  };
}
