# The reference of our options, in CommonMark.
{
  lib,
  pkgs,
  self,
}:
(pkgs.nixosOptionsDoc {
  options = { inherit (self.nixosConfigurations.nixos.options) orin; };
  # Links into the repository instead of paths of the machine that built it.
  transformOptions =
    option:
    option
    // {
      declarations = map (
        declaration: lib.removePrefix "${self}/" (toString declaration)
      ) option.declarations;
    };
}).optionsCommonMark
