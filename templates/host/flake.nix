{
  description = "My Jetson AGX Orin";

  inputs.orinix.url = "github:OWNER/orinix"; # where you have Orinix from; a path will do

  outputs =
    { orinix, ... }:
    {
      # sudo nixos-rebuild switch --flake .#orin
      nixosConfigurations.orin = orinix.lib.mkSystem {
        # Features by flag; the README has the table of them.
        perf = true;
        llama = true;

        modules = [
          {
            networking.hostName = "orin";
            orin.owner = {
              name = "ada";
              keys = [ ]; # yours: what ~/.ssh/id_ed25519.pub holds, in quotes
            };

            orin.performance.powerMode = "50W";
          }

          # What nixos-generate-config found out about your disks, where they are not labelled:
          # ./hardware-configuration.nix
        ];
      };
    };
}
