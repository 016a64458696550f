# Every folder here is one package, named like its folder.
{ lib, callPackage }:
let
  folders = lib.filterAttrs (_: type: type == "directory") (builtins.readDir ./.);
in
lib.mapAttrs (name: _: callPackage (./. + "/${name}/package.nix") { }) folders
