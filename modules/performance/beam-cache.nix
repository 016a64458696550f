# What tinygrad's kernel search found on another board of the same kind, in every user's cache.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.orin.performance;
  file = cfg.beamCache;

  isExport = lib.hasInfix ''"orinix beam cache"'' (builtins.readFile file);
  cache = lib.importJSON file;

  # As tinygrad calls them. Where no GPU is named, as on other machines than the board, none is
  # compared.
  capabilities = pkgs.config.cudaCapabilities or [ ];
  gpu = map (capability: "sm_" + lib.replaceStrings [ "." ] [ "" ] capability) capabilities;
  cpu = if pkgs.stdenv.hostPlatform.isAarch64 then "arm64,native" else "x86_64,native";
  isForeign =
    { device, architecture, ... }:
    if device == "CPU" then architecture != cpu else gpu != [ ] && !lib.elem architecture gpu;
  foreign = lib.unique (
    map (kernel: "${kernel.device} ${kernel.architecture}") (lib.filter isForeign cache.kernels)
  );
in
{
  options.orin.performance.beamCache = lib.mkOption {
    type = lib.types.nullOr lib.types.path;
    default = null;
    example = lib.literalExpression "./resnet50.json";
    description = ''
      File of `bench-warm export`: what tinygrad's kernel search found on a board like this one.
      When a user logs in who was not yet, it is taken into that user's own cache
      (`~/.cache/tinygrad`), where any program of tinygrad finds it that runs on the device (`NV`,
      `CUDA`) and with the beam it was searched with (`JITBEAM=2`); what was found on this board
      stays.

      System services get nothing by themselves, nor does `sudo`: they do not log in. A service
      takes it before it starts, as its own user and into its own cache, from
      `/etc/orin/beam-cache.json`:

      ```nix
      environment = { JITBEAM = "2"; CACHEDB = "/var/cache/myservice/tinygrad.db"; };
      serviceConfig.CacheDirectory = "myservice";
      serviceConfig.ExecStartPre =
        "''${lib.getExe' pkgs.orin-bench "bench-warm"} import --trust /etc/orin/beam-cache.json";
      ```

      None by default: a search is worth most for the kernels one runs.
    '';
  };

  config = lib.mkIf (cfg.enable && file != null) {
    environment.etc."orin/beam-cache.json".source = file;

    # tinygrad's cache holds pickles, which run what they hold: a cache that users share for writing
    # would let one run code as another. So each has a copy, made as themselves.
    systemd.user.services.orin-beam-cache = {
      description = "Take tinygrad's searched kernels into this user's cache";
      wantedBy = [ "default.target" ];
      serviceConfig =
        # Of the sandbox what a user's own systemd may set up: the rest takes privileges.
        lib.getAttrs [
          "LockPersonality"
          "MemoryDenyWriteExecute"
          "NoNewPrivileges"
          "RestrictNamespaces"
          "RestrictRealtime"
          "RestrictSUIDSGID"
          "SystemCallArchitectures"
          "SystemCallErrorNumber"
          "SystemCallFilter"
          "UMask"
        ] (import ../hardening.nix).base
        // {
          Type = "oneshot";
          # No device is opened, as the assertions below have compared architectures: a login may
          # come before nvpmodel, which must find the GPU unused.
          ExecStart = utils.escapeSystemdExecArgs [
            (lib.getExe' pkgs.orin-bench "bench-warm")
            "import"
            "--trust"
            "${file}"
          ];
          RestrictAddressFamilies = "none";
        };
    };

    assertions = [
      {
        assertion = isExport;
        message = "orin.performance.beamCache is ${toString file}, which is no file of `bench-warm export`.";
      }
      {
        assertion = isExport -> cache.tinygrad or null == pkgs.tinygrad.version;
        message = "orin.performance.beamCache is of tinygrad ${cache.tinygrad or "?"}, and this system has ${pkgs.tinygrad.version}: search again with it (bench-warm).";
      }
      {
        assertion = isExport -> foreign == [ ];
        message = "orin.performance.beamCache has kernels for ${lib.concatStringsSep ", " foreign}, and this system is ${
          lib.concatStringsSep ", " (gpu ++ [ cpu ])
        }: export it on a board like this one.";
      }
    ];
  };
}
