# One app a command. The commands are the console scripts of each pyproject.toml, which the launcher
# without Nix reads too.
{ lib, packages }:
let
  scriptsOf =
    name:
    let
      pyproject = ./. + "/${name}/pyproject.toml";
    in
    lib.optionalAttrs (lib.pathExists pyproject) (lib.importTOML pyproject).project.scripts or { };
in
lib.concatMapAttrs (
  name: package:
  lib.mapAttrs (command: _: {
    type = "app";
    program = lib.getExe' package command;
    meta.description = package.meta.description;
  }) (scriptsOf name)
) packages
