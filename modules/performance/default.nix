# A board that runs at the speed it was bought for: power mode, clocks, memory.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.orin.performance;
  inherit (config.hardware.nvidia-jetpack) som;

  tune = arguments: utils.escapeSystemdExecArgs ([ (lib.getExe cfg.package) ] ++ arguments);

  # What NVIDIA's nvpmodel.conf of each module names, over all its memory sizes (40W is the 32GB
  # module's). The number of a mode differs between boards: 30W is 2 on the AGX Orin 64GB, and 1
  # elsewhere. orin-tune looks it up on the board.
  powerModes.orin-agx = [
    "MAXN"
    "15W"
    "30W"
    "40W"
    "50W"
  ];
  shortName = mode: lib.removePrefix "MODE_" (lib.toUpper mode);

  # Stronger than NixOS' defaults, weaker than what a host or a user says.
  mkTuned = lib.mkOverride 900;
in
{
  imports = [ ./beam-cache.nix ];

  options.orin.performance = {
    enable = lib.mkEnableOption "power mode, pinned clocks and memory settings for steady GPU work";

    package = lib.mkPackageOption pkgs "orin-tune" { };

    powerMode = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "MAXN";
      example = "30W";
      description = ''
        Power mode by the name it has in the board's nvpmodel.conf, in any case, with or without
        `MODE_`; null leaves the board's own default, on the AGX Orin 64GB 30W with 8 of 12 cores
        and less than half the GPU's clock. MAXN by default, since a pinned clock is only as high
        as the mode allows. A change between modes that power different parts of the GPU takes a
        reboot.
      '';
    };

    pinGpuClock = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether to hold the GPU at the highest clock of its power mode. On by default: the governor
        looks at the load every 25 ms, about as often as a token is due. Stopping
        `orin-gpu-clock.service` unlocks the clock again.
      '';
    };

    cpuGovernor = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = "performance";
      example = "schedutil";
      description = ''
        CPU frequency governor; null leaves the kernel's. `performance` by default, because the
        CPU feeds the GPU in bursts that end before another governor has clocked up.
      '';
    };

    overcommitMemory = lib.mkOption {
      type = lib.types.enum [
        0
        1
        2
      ];
      default = 1;
      description = ''
        `vm.overcommit_memory`. 1 (always) by default: CUDA reserves address space far beyond what
        it uses, and a process with a large model mapped must still be able to start others.
      '';
    };

    swappiness = lib.mkOption {
      type = lib.types.ints.between 0 200;
      default = 10;
      description = ''
        `vm.swappiness`. 10 by default, against the kernel's 60: a page that comes back from
        compressed swap costs the jitter that the pinned clocks avoid.
      '';
    };

    maxMapCount = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1048576;
      description = ''
        `vm.max_map_count`. 1048576 by default, NixOS' own choice, against the kernel's 65530: every
        shard of a model and every GPU buffer is a mapping.
      '';
    };

    hugepages = lib.mkOption {
      type = lib.types.ints.unsigned;
      default = 0;
      example = 1024;
      description = ''
        Huge pages of 2 MiB to reserve at boot, before memory is fragmented. None by default:
        what is reserved is lost to the GPU, which shares this memory.
      '';
    };

    zramPercent = lib.mkOption {
      type = lib.types.ints.between 1 100;
      default = 25;
      description = ''
        Size of the compressed swap, as a share of memory. 25 by default, half of NixOS' share: GPU
        memory cannot be swapped, so a larger one would fill up with what the CPU needs.
      '';
    };

    scratchSize = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[1-9][0-9]*[KMG%]");
      default = "8G";
      example = "25%";
      description = ''
        Most that `/scratch`, a file system in memory for anyone's intermediate files, may hold;
        null for none. 8G by default, an eighth of memory: only what is stored there is used, and
        the eMMC is spared.
      '';
    };

    sysfs = lib.mkOption {
      type = lib.types.path;
      default = "/sys";
      internal = true;
      description = "Where sysfs is: a test puts a fake board there.";
    };
  };

  config = lib.mkIf cfg.enable {
    # jetpack-nixos' unit links the board's own nvpmodel.conf and runs nvpmodel, which can only take
    # a number. Its preparation stays, the command becomes one that takes a name.
    systemd.services.nvpmodel = {
      serviceConfig = {
        ExecStart = lib.mkIf (cfg.powerMode != null) (
          lib.mkForce (tune [
            "power-mode"
            cfg.powerMode
            "--conf"
            "/etc/nvpmodel.conf"
            "--nvpmodel"
            (lib.getExe' pkgs.nvidia-jetpack.l4t-nvpmodel "nvpmodel")
          ])
        );
        # Otherwise every nixos-rebuild switch starts the finished unit again, and nvpmodel writes
        # its own clocks over the pinned ones.
        RemainAfterExit = true;
      };
      # Retries are for files of /sys that appear late. A mode that cannot be set ends in a failed
      # unit instead of a retry every two seconds; an attempt may take orin-tune's two minutes.
      startLimitIntervalSec = 600;
      startLimitBurst = 5;
    };

    systemd.services.orin-gpu-clock = lib.mkIf cfg.pinGpuClock {
      description = "Hold the GPU at its highest clock";
      wantedBy = [ "multi-user.target" ];
      # nvpmodel sets the range of clocks, so this comes after it, and again whenever it runs again.
      after = [ "nvpmodel.service" ];
      partOf = [ "nvpmodel.service" ];
      startLimitIntervalSec = 60;
      startLimitBurst = 5;

      serviceConfig = (import ../hardening.nix).base // {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = tune [
          "pin"
          "--path.sysfs"
          cfg.sysfs
          "--state"
          "/run/orin-tune/gpu.json"
        ];
        # Runs after a stop and after a failed start alike: the clock never stays locked by accident.
        ExecStopPost = tune [
          "restore"
          "--path.sysfs"
          cfg.sysfs
          "--state"
          "/run/orin-tune/gpu.json"
        ];
        RuntimeDirectory = "orin-tune";
        # The GPU's driver may still be loading.
        Restart = "on-failure";
        RestartSec = 5;

        # The clocks belong to root and ask for no capability. Of what ProtectKernelTunables= would
        # shut, only devices' attributes stay writable.
        ProtectKernelTunables = false;
        ReadOnlyPaths = [ "/sys" ];
        ReadWritePaths = [ "${cfg.sysfs}/devices" ];
        # Not PrivateNetwork=, which would lay another /sys over this one.
        IPAddressDeny = "any";
        RestrictAddressFamilies = "none";
      };
    };

    # Cores that nvpmodel brings online come with the kernel's governor.
    systemd.services.cpufreq = lib.mkIf (config.powerManagement.cpuFreqGovernor != null) {
      after = [ "nvpmodel.service" ];
      partOf = [ "nvpmodel.service" ];
    };
    powerManagement.cpuFreqGovernor = lib.mkIf (cfg.cpuGovernor != null) (mkTuned cfg.cpuGovernor);

    boot.kernel.sysctl = {
      "vm.overcommit_memory" = mkTuned cfg.overcommitMemory;
      "vm.swappiness" = mkTuned cfg.swappiness;
      "vm.max_map_count" = mkTuned cfg.maxMapCount;
    };
    boot.kernelParams = lib.optionals (cfg.hugepages > 0) [
      "hugepagesz=2M"
      "hugepages=${toString cfg.hugepages}"
    ];

    zramSwap = {
      enable = lib.mkDefault true;
      memoryPercent = mkTuned cfg.zramPercent;
    };

    fileSystems."/scratch" = lib.mkIf (cfg.scratchSize != null) {
      device = "tmpfs";
      fsType = "tmpfs";
      options = [
        "size=${cfg.scratchSize}"
        "mode=1777"
        "nodev"
        "nosuid"
      ];
    };

    environment.systemPackages = [ cfg.package ];

    assertions = [
      {
        assertion = cfg.powerMode == null || config.services.nvpmodel.enable;
        message = "orin.performance.powerMode is set by nvpmodel, which is off: set services.nvpmodel.enable = true, or orin.performance.powerMode = null.";
      }
      {
        assertion =
          cfg.powerMode == null
          || !(powerModes ? ${som})
          || config.services.nvpmodel.configFile != null # a table of the owner's
          || lib.elem (shortName cfg.powerMode) powerModes.${som};
        message = ''orin.performance.powerMode is "${toString cfg.powerMode}", which ${som} has not: choose one of ${
          lib.concatStringsSep ", " (powerModes.${som} or [ ])
        }.'';
      }
      {
        assertion = !(cfg.pinGpuClock && config.hardware.nvidia-jetpack.maxClock);
        message = "hardware.nvidia-jetpack.maxClock and orin.performance.pinGpuClock both lock the clocks, and the former never unlocks them: set one of the two to false.";
      }
    ];
  };
}
