# Every configuration evaluates to a system, and says nothing that its owner cannot act on.
{
  lib,
  configure,
  contains,
  refuses,
  self,
  ...
}:
lib.concatMapAttrs (name: system: {
  "${name}: the system evaluates" = lib.isString (
    builtins.unsafeDiscardStringContext system.config.system.build.toplevel.drvPath
  );
  "${name}: no warning but the owner's missing key" =
    lib.all (lib.hasPrefix "orin.owner: no SSH key") system.config.warnings;
  "${name}: builds for the GPU of Orin" =
    system.pkgs.config.cudaSupport && system.pkgs.config.cudaCapabilities == [ "8.7" ];
}) self.nixosConfigurations
// {
  "each configuration has the features of its name, and no other" =
    lib.mapAttrs (
      _: system: lib.attrNames (lib.filterAttrs (_: feature: feature.enable) system.config.orin)
    ) self.nixosConfigurations == {
      nixos = [ "owner" ];
      nixos-perf = [
        "owner"
        "performance"
      ];
      nixos-docker = [
        "containers"
        "owner"
      ];
      nixos-llama-cpp = [
        "llama"
        "owner"
        "performance"
      ];
      nixos-llm = [
        "llm"
        "owner"
        "performance"
      ];
      nixos-tabby = [
        "owner"
        "performance"
        "tabby"
      ];
      nixos-telemetry = [
        "owner"
        "telemetry"
      ];
      nixos-vllm = [
        "containers"
        "owner"
        "performance"
        "vllm"
      ];
    };
  "a generated hardware-configuration.nix wins over the labels" =
    let
      config = configure { } {
        nixpkgs.hostPlatform = lib.mkDefault "aarch64-linux";
        fileSystems."/" = {
          device = "/dev/disk/by-uuid/0";
          fsType = "btrfs";
          options = [ "subvol=root" ];
        };
      };
    in
    config.fileSystems."/".device == "/dev/disk/by-uuid/0" && config.fileSystems."/".fsType == "btrfs";
  "servers of two kinds fit on one board, each with a port and a user of its own" =
    let
      config = configure {
        llama = true;
        llm = true;
        tabby = true;
      } { };
    in
    lib.allUnique (
      map (instance: instance.port) [
        config.orin.llama.instances.main
        config.orin.llm.instances.main
        config.services.tabbyapi.settings.network
      ]
    )
    && lib.all (user: config.users.users ? ${user}) [
      "llama"
      "llm"
    ]
    && !refuses [ "orin." ] config;
  "tinygrad compiles kernels with the CUDA of JetPack's driver" =
    let
      inherit (self.nixosConfigurations.nixos) pkgs;
      inherit (pkgs.nvidia-jetpack.cudaPackages) cuda_nvrtc;
    in
    lib.versions.majorMinor cuda_nvrtc.version == pkgs.nvidia-jetpack.cudaMajorMinorVersion
    && lib.any (patch: contains "${lib.getLib cuda_nvrtc}" patch.buildPhase) pkgs.tinygrad.patches;
  "every option of ours is described" = lib.all (
    option: option.internal || option.description != null
  ) (lib.optionAttrSetToDocList self.nixosConfigurations.nixos.options.orin);
}
