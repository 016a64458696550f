# modules/performance on a machine whose sysfs and nvpmodel are fakes: the clocks are pinned, pinned
# again after the power mode changes, and unlocked by a stop and by a failure. A user finds the
# searched kernels that the system ships.
self:
let
  inherit (self.inputs.nixpkgs) lib;

  # Answers like NVIDIA's nvpmodel, and forgets pinned clocks like it.
  nvpmodel =
    pkgs:
    pkgs.writeShellScriptBin "nvpmodel" ''
      while [[ $# -gt 0 ]]; do
        case $1 in
          -m) echo "$2" >/run/nvpmodel.mode; echo 306000000 >${gpu}/min_freq; shift 2 ;;
          -q) echo "NV Power Mode: MODE_30W"; cat /run/nvpmodel.mode; shift ;;
          *) shift ;;
        esac
      done
    '';
  # What bench-warm export writes of one kernel.
  beamCache =
    pkgs:
    builtins.toFile "beam-cache.json" (
      builtins.toJSON {
        format = "orinix beam cache";
        schema = 1;
        tinygrad = pkgs.tinygrad.version;
        cache = 22;
        kernels = [
          {
            name = "r_64_32";
            device = "CPU";
            architecture = "x86_64,native";
            suffix = "";
            ast = lib.concatStrings (lib.genList (_: "a5") 32);
            beam = 2;
            estimate = true;
            opts = [
              [
                "UPCAST"
                0
                4
              ]
            ];
            state = "faster";
            before = 2.0e-3;
            after = 1.0e-3;
            reason = null;
          }
        ];
      }
    );
  gpu = "/fake/devices/platform/17000000.gpu/devfreq/17000000.gpu";
in
{
  name = "performance";

  # The machine's packages are those of its modules' overlays.
  node.pkgsReadOnly = false;

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];
      nixpkgs.overlays = [ (final: _: { nvidia-jetpack.l4t-nvpmodel = nvpmodel final; }) ];

      orin.performance = {
        enable = true;
        powerMode = "30w";
        sysfs = "/fake";
        beamCache = beamCache pkgs;
      };

      users.users.ada = {
        isNormalUser = true;
        linger = true;
      };
      environment.systemPackages = [ pkgs.orin-bench ];

      services.nvpmodel = {
        enable = true;
        configFile = pkgs.writeText "nvpmodel.conf" ''
          < POWER_MODEL ID=0 NAME=MAXN >
          < POWER_MODEL ID=1 NAME=MODE_15W >
          < POWER_MODEL ID=2 NAME=MODE_30W >
          < POWER_MODEL ID=3 NAME=MODE_50W >
          < PM_CONFIG DEFAULT=2 >
        '';
      };

      systemd.services.fake-sysfs = {
        wantedBy = [ "multi-user.target" ];
        before = [
          "nvpmodel.service"
          "orin-gpu-clock.service"
        ];
        serviceConfig.Type = "oneshot";
        serviceConfig.RemainAfterExit = true;
        script = ''
          mkdir -p ${gpu} /fake/class/devfreq
          ln -s ${gpu} /fake/class/devfreq/17000000.gpu
          echo 306000000 >${gpu}/min_freq
          echo 1300500000 >${gpu}/max_freq
        '';
      };
    };

  testScript = ''
    def minimum():
        return machine.succeed("cat ${gpu}/min_freq").split()[0]

    machine.wait_for_unit("multi-user.target")

    with subtest("the power mode is looked up by name"):
        machine.wait_for_unit("nvpmodel.service")
        assert machine.succeed("cat /run/nvpmodel.mode").strip() == "2"

    with subtest("the clock is pinned"):
        machine.wait_for_unit("orin-gpu-clock.service")
        assert minimum() == "1300500000", minimum()

    with subtest("the clock is pinned again after the power mode is set again"):
        machine.succeed("systemctl restart nvpmodel.service")
        machine.wait_for_unit("orin-gpu-clock.service")
        assert minimum() == "1300500000", minimum()

    with subtest("a stop unlocks the clock"):
        machine.succeed("systemctl stop orin-gpu-clock.service")
        assert minimum() == "306000000", minimum()

    with subtest("a start that fails after the clock was pinned unlocks it again"):
        drop_in = "/run/systemd/system/orin-gpu-clock.service.d/fail.conf"
        machine.succeed(
            f"mkdir -p $(dirname {drop_in})",
            f"printf '[Service]\nRestart=no\nExecStartPost=false\n' >{drop_in}",
            "systemctl daemon-reload",
        )
        machine.fail("systemctl start orin-gpu-clock.service")
        machine.succeed("journalctl --unit orin-gpu-clock.service | grep 'pinned at 1300.5 MHz'")
        assert minimum() == "306000000", minimum()
        machine.succeed(f"rm {drop_in}", "systemctl daemon-reload")

    with subtest("a start without a readable clock says why in one line"):
        machine.succeed("mv ${gpu}/max_freq /fake/max_freq")
        machine.fail("systemctl start orin-gpu-clock.service")
        machine.succeed("systemctl stop orin-gpu-clock.service")
        machine.succeed("journalctl --unit orin-gpu-clock.service | grep max_freq")
        machine.succeed("mv /fake/max_freq ${gpu}/max_freq")

    with subtest("the service is sandboxed"):
        machine.succeed("systemd-analyze security --no-pager --threshold=25 orin-gpu-clock.service")

    with subtest("memory settings are in force"):
        assert machine.succeed("sysctl -n vm.swappiness").strip() == "10"
        assert machine.succeed("sysctl -n vm.overcommit_memory").strip() == "1"

    with subtest("a user has the kernels that the system ships"):
        machine.wait_until_succeeds("test -e /home/ada/.cache/tinygrad/cache.db")
        machine.wait_until_succeeds("su - ada -c 'bench-warm status' | grep 'cache.db: 1 kernels'")
        machine.succeed("su - ada -c 'bench-warm import /etc/orin/beam-cache.json' | grep '1 already known'")

    machine.succeed("systemctl start orin-gpu-clock.service")
    print(machine.succeed("orin-tune status --path.sysfs /fake"))
  '';
}
