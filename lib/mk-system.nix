# mkSystem { host ? "agx-orin-devkit", <flag> ? false, ..., modules ? [ ] }: a NixOS system for one
# host with the features its flags name (./features.nix).
{ lib, orinix }:
let
  features = import ./features.nix;
  hosts = lib.attrNames (lib.filterAttrs (_: type: type == "directory") (builtins.readDir ../hosts));
  flags = import ./flags.nix { inherit lib features hosts; };
in
arguments:
let
  given = {
    host = "agx-orin-devkit";
    modules = [ ];
  }
  // arguments;

  problems = flags.problems given;
  enabled = flags.enabled given;

  featureModule.orin = lib.listToAttrs (
    map (flag: {
      name = features.${flag}.option;
      # A default, so that a host or a user's module has the last word.
      value.enable = lib.mkDefault true;
    }) enabled
  );
in
lib.throwIf (problems != [ ]) "mkSystem: ${lib.concatStringsSep "; " problems}" (
  lib.nixosSystem {
    modules = [
      orinix
      (../hosts + "/${given.host}")
      featureModule
    ]
    ++ given.modules;
  }
)
