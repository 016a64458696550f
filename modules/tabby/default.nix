# TabbyAPI (ExLlamaV2 and V3 models): nixpkgs' services.tabbyapi, with what a Jetson adds to it. Its
# own options say everything else: address and port (127.0.0.1:5000 unless told otherwise), models
# and cache in services.tabbyapi.settings, the firewall in services.tabbyapi.openFirewall.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.orin.tabby;
  inherit (config.services.tabbyapi.settings) model network;
  inherit (import ../telemetry/addresses.nix { inherit lib; }) isLoopback;

  state = "/var/lib/tabbyapi";
  name = model.model_name or null;
  modelDir =
    if lib.hasPrefix "/" model.model_dir then model.model_dir else "${state}/${model.model_dir}";
in
{
  options.orin.tabby = {
    enable = lib.mkEnableOption "TabbyAPI, an OpenAI-compatible server for EXL2 and EXL3 models, which {option}`services.tabbyapi.settings` configures";

    apiTokensFile = lib.mkOption {
      # Not `path`, which would copy ./tokens into the store for everyone to read.
      type = lib.types.nullOr lib.types.externalPath;
      default = null;
      example = "/run/secrets/tabby-tokens.yml";
      description = ''
        File with the two keys, read by systemd as root, as TabbyAPI writes it: the lines `api_key:
        ...` for clients and `admin_key: ...` for loading models. By default TabbyAPI makes both at
        its first start and keeps them: `sudo cat ${state}/api_tokens.yml`.
      '';
    };

    memoryMax = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[1-9][0-9]*[KMGT%]?");
      default = null;
      example = "16G";
      description = ''
        Most memory that the process may hold before the kernel ends it, and only it (systemd's
        `MemoryMax=`). It does not count what the GPU's driver allocates, which
        `services.tabbyapi.settings.model.cache_size` bounds. None by default.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.tabbyapi = {
      enable = true;
      # The 131072 tokens of many models would fill the memory with their cache.
      settings.model.max_seq_len = lib.mkDefault 8192;
    };

    systemd.services.tabbyapi = lib.mkMerge [
      {
        # The parts of the GPU that are powered can only change before it is first used.
        after = [ "nvpmodel.service" ];

        # /tmp, nixpkgs' choice, is the service's own and gone with it.
        environment.TRITON_CACHE_DIR = lib.mkForce "${state}/.cache/triton";

        # What nixpkgs' unit says already stays.
        serviceConfig = lib.mapAttrs (_: lib.mkDefault) (import ../hardening.nix).gpu // {
          ProtectClock = lib.mkForce false; # nixpkgs' unit has it, and it would shut the GPU out
          StateDirectory = lib.mkForce [
            "tabbyapi"
            "tabbyapi/models" # there from the first start on, for the owner to copy into
          ];
          MemoryMax = lib.mkIf (cfg.memoryMax != null) cfg.memoryMax;
          # The kernel does not see what a process holds on the GPU, and would end another first.
          OOMScoreAdjust = 500;
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
          ];
        };
      }
      # Without a name the server starts empty, and a client loads a model over the API.
      (lib.mkIf (name != null) (
        import ../wait-for-model.nix {
          inherit pkgs utils;
          model = "${modelDir}/${name}";
          remedy = "copy a folder with an EXL2 or EXL3 model there, or set services.tabbyapi.settings.model.model_name";
        }
      ))
      (lib.mkIf (cfg.apiTokensFile != null) {
        serviceConfig = {
          LoadCredential = "api-tokens:${cfg.apiTokensFile}";
          # TabbyAPI looks for them in the folder that it runs in, and nowhere else.
          ExecStartPre = [
            "${lib.getExe' pkgs.coreutils "install"} --mode=0600 /run/credentials/tabbyapi.service/api-tokens ${state}/api_tokens.yml"
          ];
        };
      })
    ];

    assertions = [
      {
        assertion = network.disable_auth -> isLoopback network.host;
        message = "services.tabbyapi.settings.network.disable_auth lets everyone in who reaches ${network.host}: leave it out, and give clients the api_key.";
      }
    ];
  };
}
