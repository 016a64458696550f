{
  description = "Orinix: a NixOS distribution that turns a Jetson AGX Orin into an edge-AI machine";

  inputs = {
    # flake.lock holds the revision jetpack-nixos itself tests with: its kernel, CUDA and firmware
    # packages are patched against that one, so the two move together.
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    jetpack-nixos = {
      url = "github:anduril/jetpack-nixos";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      jetpack-nixos,
    }:
    let
      inherit (nixpkgs) lib;
      inherit (self.lib) mkSystem;

      pkgsFor = {
        # The board's packages come from the board's own package set: the same JetPack, CUDA and
        # paths, so that `nix run` uses what the running system already holds.
        aarch64-linux = self.nixosConfigurations.nixos.pkgs;
        x86_64-linux = nixpkgs.legacyPackages.x86_64-linux.extend self.overlays.default;
      };
      forEachSystem = f: lib.mapAttrs (_: f) pkgsFor;
    in
    {
      lib.mkSystem = import ./lib/mk-system.nix {
        inherit lib;
        orinix = self.nixosModules.default;
      };

      nixosConfigurations = {
        nixos = mkSystem { };
        nixos-perf = mkSystem { perf = true; };
        nixos-docker = mkSystem { containers = true; };
        nixos-llama-cpp = mkSystem { llama = true; };
        nixos-llm = mkSystem { llm = true; };
        nixos-tabby = mkSystem { tabby = true; };
        nixos-telemetry = mkSystem { telemetry = true; };
        nixos-vllm = mkSystem { vllm = true; };
      };

      nixosModules = import ./modules {
        inherit lib jetpack-nixos;
        overlay = self.overlays.default;
      };

      overlays.default = import ./overlays;

      # A package for the board alone says so in meta.platforms, and is left out elsewhere.
      packages = forEachSystem (
        pkgs:
        lib.filterAttrs (_: lib.meta.availableOn pkgs.stdenv.hostPlatform) (
          import ./pkgs { inherit (pkgs) lib callPackage; }
        )
      );

      apps = forEachSystem (
        pkgs:
        import ./pkgs/apps.nix {
          inherit lib;
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
        }
      );

      checks = forEachSystem (import ./checks { inherit lib self; });

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = lib.attrValues self.packages.${pkgs.stdenv.hostPlatform.system};
          packages = [
            self.formatter.${pkgs.stdenv.hostPlatform.system}
            pkgs.mypy
            pkgs.ruff
          ];
        };
        llama-cpp = pkgs.callPackage ./pkgs/llama-cpp-orin/shell.nix { };
        mlc = pkgs.callPackage ./pkgs/vllm-jetson/mlc-shell.nix { };
        vllm = pkgs.callPackage ./pkgs/vllm-jetson/shell.nix { };
      });

      # The Rust nixfmt formats byte for byte like the Haskell one and needs no GHC to build.
      formatter = forEachSystem (
        pkgs: pkgs.nixfmt-tree.override { nixfmtPackage = pkgs.nixfmt-rs or pkgs.nixfmt; }
      );

      templates.host = {
        path = ./templates/host;
        description = "Your own Orin in one file: flags, owner and modules";
      };
    };
}
