# The Jetson AGX Orin 64GB Developer Kit.
{ lib, ... }:
{
  imports = [ ./hardware.nix ];

  # The one place for your account: a name, and the public keys that may log in.
  orin.owner = {
    enable = lib.mkDefault true;
    name = lib.mkDefault "orin";
    keys = [ ];
  };

  networking.hostName = lib.mkDefault "orin";

  hardware.nvidia-jetpack = {
    enable = true;
    som = "orin-agx";
    carrierBoard = "devkit";
  };

  # Brings the user-space driver, without which CUDA finds no GPU; jetpack-nixos then also builds
  # every package for CUDA 8.7, this GPU's capability (hardware.nvidia-jetpack.configureCuda).
  hardware.graphics.enable = true;
  nixpkgs.config.allowUnfree = true; # NVIDIA's driver, CUDA and firmware

  boot.loader = {
    systemd-boot.enable = true;
    efi.canTouchEfiVariables = true;
  };

  # Compressed memory is the only swap: the eMMC is slow and wears out.
  zramSwap.enable = true;

  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];

  system.stateVersion = lib.mkDefault "26.05"; # an older installation keeps its own
}
