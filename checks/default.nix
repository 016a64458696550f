# { lib, self } -> pkgs -> checks. What needs no build is asserted here, once for all systems, so
# that evaluation on any machine covers the board's configurations.
{ lib, self }:
let
  # <folder>/<name>.nix -> { <name> = path; }
  filesIn =
    folder:
    lib.mapAttrs' (file: _: {
      name = lib.removeSuffix ".nix" file;
      value = folder + "/${file}";
    }) (lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir folder));

  # Each file of eval/ is a set from a sentence to whether it holds.
  broken = lib.mapAttrs (
    _: file: lib.attrNames (lib.filterAttrs (_: holds: !holds) (import file tools))
  ) (filesIn ./eval);
  tools = import ./tools.nix { inherit lib self; } // {
    inherit lib self;
  };
in
pkgs:
let
  inherit (pkgs.stdenv.hostPlatform) system isx86_64;

  evalChecks = lib.mapAttrs' (
    name: sentences:
    lib.nameValuePair "eval-${name}" (
      assert lib.assertMsg (sentences == [ ]) ''
        checks/eval/${name}.nix, no longer true:
          ${lib.concatStringsSep "\n  " sentences}'';
      pkgs.runCommand "eval-${name}" { } "touch $out"
    )
  ) broken;

  vmChecks = lib.mapAttrs' (
    name: file: lib.nameValuePair "vm-${name}" (pkgs.testers.runNixOSTest (import file self))
  ) (filesIn ./vm);
in
self.packages.${system}
// evalChecks
# VM tests take KVM, which machines that test for the board by emulation have not.
// lib.optionalAttrs isx86_64 vmChecks
// {
  formatting = pkgs.runCommand "formatting" { nativeBuildInputs = [ self.formatter.${system} ]; } ''
    cp --recursive --no-preserve=mode ${self} tree
    treefmt --ci --tree-root tree
    touch $out
  '';

  exposure = import ./exposure.nix { inherit pkgs tools; };

  # Fails where an option has no description; the result is the option reference.
  options = import ./options.nix { inherit lib pkgs self; };
}
