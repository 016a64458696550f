# The repository that a user starts from evaluates as it stands.
{ lib, self, ... }:
let
  template = import ../../templates/host/flake.nix;
  inherit ((template.outputs { orinix = self; }).nixosConfigurations) orin;
in
{
  "it evaluates to a system" = lib.isString (
    builtins.unsafeDiscardStringContext orin.config.system.build.toplevel.drvPath
  );
  "its modules apply" =
    orin.config.users.users.ada.isNormalUser && orin.config.orin.performance.powerMode == "50W";
  "it asks for the owner's key" = lib.length orin.config.warnings == 1;
}
