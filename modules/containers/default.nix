# Docker with the board's GPU. Docker rather than Podman: compose files, JetPack's own instructions and
# most images for Jetson expect it, and jetpack-nixos starts it after the GPU has been described.
{ config, lib, ... }:
let
  cfg = config.orin.containers;
  starting = lib.attrNames (lib.filterAttrs (_: autoStart: autoStart) cfg.servers);
in
{
  imports = [ ../owner ];

  options.orin.containers = {
    enable = lib.mkEnableOption "Docker, whose containers may use the GPU (`--device nvidia.com/gpu=all`)";

    ownerMayUseDocker = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether the owner runs `docker` without sudo. Off by default: who may start any container is
        root, without being asked for a password.
      '';
    };

    servers = lib.mkOption {
      type = lib.types.attrsOf lib.types.bool;
      default = { };
      internal = true;
      description = ''
        Units of model servers in containers, of which one runs at a time, and whether each starts
        with the board.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    virtualisation.docker = {
      enable = true;
      # What no container uses any more, once a week: images for Jetson have ten gigabytes each.
      autoPrune.enable = lib.mkDefault true;
    };

    # A description of the GPU for containers (CDI), made at boot; jetpack-nixos knows its parts.
    hardware.nvidia-container-toolkit.enable = true;

    users.users = lib.mkIf (cfg.ownerMayUseDocker && config.orin.owner.enable) {
      ${config.orin.owner.name}.extraGroups = [ "docker" ];
    };

    assertions = [
      {
        assertion = lib.length starting <= 1;
        message = "${lib.concatStringsSep " and " starting} would both start with the board, where one fits: set orin.<vllm or mlc>.instances.<name>.autoStart for one of them and to false for the others.";
      }
      {
        assertion = cfg.ownerMayUseDocker -> config.orin.owner.enable;
        message = "orin.containers.ownerMayUseDocker needs an owner: set orin.owner.enable.";
      }
    ];
  };
}
