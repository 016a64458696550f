# TabbyAPI (ExLlamaV2 and V3 models): nixpkgs' services.tabbyapi, with what a Jetson adds to it. Its
# own options, services.tabbyapi.settings above all, say everything else: address and port
# (127.0.0.1:5000 unless told otherwise), models, cache.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (config.services.tabbyapi.settings) model;
  name = model.model_name or null;
  folder = model.model_dir or "models";
  modelDir = if lib.hasPrefix "/" folder then folder else "/var/lib/tabbyapi/${folder}";
in
{
  options.orin.tabby.enable = lib.mkEnableOption "TabbyAPI, an OpenAI-compatible server for EXL2 and EXL3 models, which {option}`services.tabbyapi.settings` configures";

  config = lib.mkIf config.orin.tabby.enable {
    services.tabbyapi = {
      enable = true;
      # The 131072 tokens of many models would fill the memory with their cache.
      settings.model.max_seq_len = lib.mkDefault 8192;
    };

    systemd.services.tabbyapi = lib.mkMerge [
      {
        # The parts of the GPU that are powered can only change before it is first used.
        after = [ "nvpmodel.service" ];

        # What nixpkgs' unit says already stays.
        serviceConfig = lib.mapAttrs (_: lib.mkDefault) (import ../hardening.nix).gpu // {
          ProtectClock = lib.mkForce false; # nixpkgs' unit has it, and it would shut the GPU out
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
    ];
  };
}
