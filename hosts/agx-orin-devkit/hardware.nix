# What nixos-generate-config finds out about a machine; its output replaces this file, or wins over
# it as one of mkSystem's modules. These disks are found by label, so that this fits any board whose
# partitions were labelled at installation.
{ lib, ... }:
{
  nixpkgs.hostPlatform = lib.mkDefault "aarch64-linux";

  fileSystems."/" = {
    device = lib.mkDefault "/dev/disk/by-label/nixos";
    fsType = lib.mkDefault "ext4";
  };

  fileSystems."/boot" = {
    device = lib.mkDefault "/dev/disk/by-label/boot";
    fsType = lib.mkDefault "vfat";
    options = lib.mkDefault [
      "fmask=0077"
      "dmask=0077"
    ];
  };
}
