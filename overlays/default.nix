# Our packages, and the narrow fixes to nixpkgs' that they and the modules need. Nothing here touches
# pythonPackagesExtensions: that would turn every Python package into a build from source.
final: prev:
import ../pkgs {
  inherit (prev) lib;
  inherit (final) callPackage;
}
// import ./tabbyapi.nix final prev
// import ./untested.nix final prev
