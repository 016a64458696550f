# nixosModules: one a folder here, and `default`, which is all of them with jetpack-nixos' own.
# Import single ones only beside jetpack-nixos' module: they set its options.
{
  lib,
  jetpack-nixos,
  overlay,
}:
let
  folders = lib.filterAttrs (_: type: type == "directory") (builtins.readDir ./.);

  # The key makes the module system take it once, however many features bring it.
  packages = {
    key = "orinix/overlay";
    nixpkgs.overlays = [ overlay ];
  };

  features = lib.mapAttrs (name: _: {
    imports = [
      (./. + "/${name}")
      packages
    ];
  }) folders;
in
features
// {
  default.imports = lib.attrValues features ++ [ jetpack-nixos.nixosModules.default ];
}
