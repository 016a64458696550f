# modules/performance: the units as systemd reads them, and what is refused.
{
  lib,
  configure,
  contains,
  hasLines,
  refuses,
  self,
  unit,
  ...
}:
let
  perf = configure { perf = true; };
  tuned = perf { };
  with' = settings: perf { orin.performance = settings; };

  # A file of bench-warm export with one kernel.
  exported =
    kernel: changes:
    builtins.toFile "beam-cache.json" (
      builtins.toJSON (
        {
          format = "orinix beam cache";
          schema = 1;
          tinygrad = self.nixosConfigurations.nixos.pkgs.tinygrad.version;
          kernels = [
            (
              {
                device = "CUDA";
                architecture = "sm_87";
              }
              // kernel
            )
          ];
        }
        // changes
      )
    );
  cached = file: with' { beamCache = file; };
  cache = exported { } { };
  beamCache =
    builtins.unsafeDiscardStringContext
      (cached cache).systemd.user.units."orin-beam-cache.service".text;

  nvpmodel = unit tuned "nvpmodel.service";
  clock = unit tuned "orin-gpu-clock.service";
  execStart = command: ''ExecStart="${lib.getExe tuned.orin.performance.package}" ${command}'';
in
{
  "the power mode is set by name, from the board's own file" =
    contains (execStart ''"power-mode" "MAXN" "--conf" "/etc/nvpmodel.conf" "--nvpmodel" "/nix/store/'') nvpmodel;
  "the power mode has one command" =
    lib.length (lib.filter (lib.hasPrefix "ExecStart=") (lib.splitString "\n" nvpmodel)) == 1;
  "jetpack-nixos still links the board's own file" = contains "ExecStartPre=/nix/store/" nvpmodel;
  "a switch does not run nvpmodel again" = hasLines [ "RemainAfterExit=true" ] nvpmodel;
  "a mode that cannot be set is not tried for ever" = hasLines [
    "StartLimitBurst=5"
    "StartLimitIntervalSec=600"
  ] nvpmodel;
  "without a power mode, jetpack-nixos' command stays" =
    !contains "power-mode" (unit (with' { powerMode = null; }) "nvpmodel.service");

  "the clock is pinned after nvpmodel, and again with it" = hasLines [
    "After=nvpmodel.service"
    "PartOf=nvpmodel.service"
    (execStart ''"pin" "--path.sysfs" "/sys" "--state" "/run/orin-tune/gpu.json"'')
    "RemainAfterExit=true"
    "Restart=on-failure"
    "RuntimeDirectory=orin-tune"
  ] clock;
  "the clock is unlocked after a stop and after a failure" = hasLines [
    (lib.replaceStrings [ "ExecStart=" ] [ "ExecStopPost=" ] (
      execStart ''"restore" "--path.sysfs" "/sys" "--state" "/run/orin-tune/gpu.json"''
    ))
  ] clock;
  "root's service has no capability and writes only devices' attributes" = hasLines [
    "CapabilityBoundingSet="
    "NoNewPrivileges=true"
    "PrivateDevices=true"
    "ProtectSystem=strict"
    "ReadOnlyPaths=/sys"
    "ReadWritePaths=/sys/devices"
    "RestrictAddressFamilies=none"
    "SystemCallFilter=~@privileged"
  ] clock;
  "the clock can be left alone" =
    !((with' { pinGpuClock = false; }).systemd.services ? orin-gpu-clock);

  "the governor comes after nvpmodel's cores" =
    hasLines [ "PartOf=nvpmodel.service" ] (unit tuned "cpufreq.service")
    && contains "--governor performance" (unit tuned "cpufreq.service");
  "the governor can be left alone" = !((with' { cpuGovernor = null; }).systemd.services ? cpufreq);

  "memory settings reach the kernel" =
    let
      config = with' {
        swappiness = 5;
        hugepages = 64;
        zramPercent = 10;
        scratchSize = "25%";
      };
      inherit (config.boot.kernel) sysctl;
    in
    sysctl."vm.swappiness" == 5
    && sysctl."vm.overcommit_memory" == 1
    && sysctl."vm.max_map_count" == 1048576
    && lib.elem "hugepages=64" config.boot.kernelParams
    && config.zramSwap.enable
    && config.zramSwap.memoryPercent == 10
    && lib.elem "size=25%" config.fileSystems."/scratch".options;
  "no huge page and no scratch unless asked" =
    !lib.any (lib.hasPrefix "hugepages") tuned.boot.kernelParams
    && !((with' { scratchSize = null; }).fileSystems ? "/scratch");
  "a user's sysctl wins" =
    (perf { boot.kernel.sysctl."vm.swappiness" = 1; }).boot.kernel.sysctl."vm.swappiness" == 1;

  "a mode in another spelling is taken" =
    !refuses [ "powerMode" ] (with' {
      powerMode = "mode_30w";
    });
  "a mode that the board has not is refused with those it has" =
    refuses
      [
        "orin.performance.powerMode is \"60W\""
        "MAXN, 15W, 30W, 40W, 50W"
      ]
      (with' {
        powerMode = "60W";
      });
  "a mode of the owner's own table is taken" =
    !refuses [ "powerMode" ] (perf {
      orin.performance.powerMode = "35W";
      services.nvpmodel.configFile = "/etc/my-nvpmodel.conf";
    });
  "a mode without nvpmodel is refused" = refuses [ "set services.nvpmodel.enable = true" ] (perf {
    services.nvpmodel.enable = false;
  });
  "two that lock the clocks are refused" =
    refuses [ "maxClock" "set one of the two to false" ]
      (perf {
        hardware.nvidia-jetpack.maxClock = true;
      });

  "a shipped cache is taken into the user's own at login" =
    contains ''bin/bench-warm" "import" "--trust" "${cache}"'' beamCache
    && lib.elem "default.target" (cached cache).systemd.user.services.orin-beam-cache.wantedBy;
  "a shipped cache is there for services" =
    toString (cached cache).environment.etc."orin/beam-cache.json".source == cache;
  "the import is sandboxed as far as a user may" = hasLines [
    "NoNewPrivileges=true"
    "RestrictAddressFamilies=none"
    "SystemCallFilter=~@privileged"
    "Type=oneshot"
  ] beamCache;
  "no cache is shipped unless given" =
    !(tuned.systemd.user.services ? orin-beam-cache)
    && !(tuned.environment.etc ? "orin/beam-cache.json");
  "a cache of this board is taken, and its processor's" =
    !refuses [ "beamCache" ] (cached cache)
    && !refuses [ "beamCache" ] (
      cached (
        exported {
          device = "CPU";
          architecture = "arm64,native";
        } { }
      )
    );
  "a cache of another GPU is refused with both" = refuses [
    "orin.performance.beamCache"
    "CUDA sm_90"
    "this system is sm_87"
  ] (cached (exported { architecture = "sm_90"; } { }));
  "a cache of another processor is refused" = refuses [ "CPU x86_64,native" ] (
    cached (
      exported {
        device = "CPU";
        architecture = "x86_64,native";
      } { }
    )
  );
  "a cache of another tinygrad is refused" = refuses [
    "is of tinygrad 0.1.0"
    "search again"
  ] (cached (exported { } { tinygrad = "0.1.0"; }));
  "another file is refused" = refuses [ "is no file of `bench-warm export`" ] (
    cached (builtins.toFile "other.json" "{ }")
  );
}
