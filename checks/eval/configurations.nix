# Every configuration evaluates to a system, and says nothing that its owner cannot act on.
{
  lib,
  configure,
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
      nixos-llama-cpp = [
        "llama"
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
  "every option of ours is described" = lib.all (
    option: option.internal || option.description != null
  ) (lib.optionAttrSetToDocList self.nixosConfigurations.nixos.options.orin);
}
