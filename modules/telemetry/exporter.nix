# jetson-exporter.service: the board's readings from sysfs and procfs, without root and without a
# device node. node_exporter beside it tells what every Linux machine can.
{
  config,
  lib,
  utils,
  ...
}:
let
  cfg = config.orin.telemetry;
  inherit (cfg) exporter;
  addresses = import ./addresses.nix { inherit lib; };

  # What orin.performance, where it is there and on, has nvpmodel set.
  powerMode =
    if config.orin.performance.enable or false then config.orin.performance.powerMode else null;

  # One capability instead of root: it passes the read permissions of debugfs, and no write
  # permission.
  capabilities = lib.optionalString exporter.privileged "CAP_DAC_READ_SEARCH";
in
{
  options.orin.telemetry.exporter = {
    listenAddress = lib.mkOption {
      inherit (addresses) type;
      default = "127.0.0.1";
      example = "0.0.0.0";
      description = ''
        Address that jetson-exporter listens on. Only this machine by default: Prometheus is on it,
        and the exporter asks nobody who they are. For a Prometheus elsewhere that reads it through
        TLS, put a reverse proxy in front (`services.nginx`), or send with `remoteWrite`.
      '';
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 9460;
      description = "Port that jetson-exporter listens on: its own default.";
    };

    privileged = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether to read debugfs too: the GPU memory of each process, the memory controller's clock
        and utilization, the load of the video and vision engines. Off by default: debugfs is
        root's alone, so the exporter, still a user of its own, gets CAP_DAC_READ_SEARCH, with
        which it may read every file that its sandbox shows.
      '';
    };

    extraFlags = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "--no-collector.nvme" ];
      description = "More flags of jetson-exporter; `jetson-exporter --help` lists them.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.jetson-exporter = {
      description = "Prometheus exporter for the Jetson";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];

      serviceConfig =
        (import ../hardening.nix).base
        // {
          Type = "notify"; # it says when it listens
          ExecStart = utils.escapeSystemdExecArgs (
            [
              (lib.getExe' cfg.package "jetson-exporter")
              "--web.listen-address"
              (addresses.withPort exporter.listenAddress exporter.port)
            ]
            ++ lib.optionals (powerMode != null) [
              "--power-mode.expected"
              powerMode
            ]
            ++ lib.optionals exporter.privileged [
              "--collector.nvmap"
              "--collector.actmon"
              "--collector.bpmp"
            ]
            ++ exporter.extraFlags
          );
          Restart = "always";
          RestartSec = 5;

          DynamicUser = true;
          AmbientCapabilities = capabilities;
          CapabilityBoundingSet = capabilities;
          # A capability counts for nothing outside a user namespace of its own.
          PrivateUsers = !exporter.privileged;
          ProcSubset = "all"; # the kernel's readings are outside of the processes' folders
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
          ];

          # A sick sensor must not cost the board its memory.
          MemoryMax = "128M";
          TasksMax = 64;
        }
        // lib.optionalAttrs (addresses.isLoopback exporter.listenAddress) {
          IPAddressDeny = "any";
          IPAddressAllow = "localhost";
        };
    };

    services.prometheus.exporters.node = {
      enable = true;
      listenAddress = lib.mkDefault "127.0.0.1";
      # It hangs on Orin's sensors that are powered off (node_exporter issue 3071), and
      # jetson-exporter reads the others.
      disabledCollectors = [ "thermal_zone" ];
    };
  };
}
