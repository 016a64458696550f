# One app a command. The commands are the console scripts of each pyproject.toml, which the launcher
# without Nix reads too, or what a package that is no Python names as its `commands`.
{ lib, packages }:
let
  commandsOf =
    name: package:
    let
      pyproject = ./. + "/${name}/pyproject.toml";
    in
    package.commands or [ ]
    ++ lib.optionals (lib.pathExists pyproject) (
      lib.attrNames (lib.importTOML pyproject).project.scripts or { }
    );
in
lib.concatMapAttrs (
  name: package:
  lib.genAttrs (commandsOf name package) (command: {
    type = "app";
    program = lib.getExe' package command;
    meta.description = package.meta.description;
  })
) packages
