# The arguments of mkSystem: what is refused, in which words, and what a flag brings along.
{ lib, self, ... }:
let
  features = import ../../lib/features.nix;
  flags = import ../../lib/flags.nix {
    inherit lib features;
    hosts = [ "agx-orin-devkit" ];
  };
  problems = arguments: flags.problems ({ host = "agx-orin-devkit"; } // arguments);
  refused =
    arguments: !(builtins.tryEval (self.lib.mkSystem arguments).config.networking.hostName).success;
in
{
  "no flag is no problem" = problems { } == [ ];
  "every flag is no problem" = problems (lib.mapAttrs (_: _: true) features) == [ ];
  "an unknown flag is named beside the known ones" =
    problems { pref = true; }
    == [ "unknown flag 'pref'; the flags are ${lib.concatStringsSep ", " (lib.attrNames features)}" ];
  "a flag that is no boolean is named" =
    problems { perf = "yes"; } == [ "flag 'perf' is string; write perf = true or leave it out" ];
  "an unknown host is named beside the known ones" =
    problems { host = "nano"; } == [ "unknown host \"nano\"; the hosts are agx-orin-devkit" ];
  "every problem is reported" =
    lib.length (problems {
      a = 1;
      b = 2;
      perf = 3;
    }) == 3;

  "a server brings performance along" =
    lib.all
      (
        flag:
        lib.sort lib.lessThan (flags.enabled { ${flag} = true; }) == lib.sort lib.lessThan [
          flag
          "perf"
        ]
      )
      [
        "llama"
        "llm"
        "tabby"
      ];
  "a server in a container brings Docker along, too" =
    lib.all (flag: lib.elem "containers" (flags.enabled { ${flag} = true; }))
      [
        "mlc"
        "vllm"
      ];
  "a flag that is off brings nothing" = flags.enabled { llama = false; } == [ ];
  "every implied flag is a feature" = lib.all (
    feature: lib.all (flag: features ? ${flag}) feature.implies
  ) (lib.attrValues features);
  "every feature has an option" = lib.all (
    feature: self.nixosConfigurations.nixos.options.orin ? ${feature.option}.enable
  ) (lib.attrValues features);

  "mkSystem refuses an unknown flag" = refused { pref = true; };
  "mkSystem refuses an unknown host" = refused { host = "nano"; };
  "mkSystem takes what it knows" = !refused { llama = true; };
  "a module has the last word over a flag" =
    !(self.lib.mkSystem {
      llama = true;
      modules = [ { orin.performance.enable = false; } ];
    }).config.orin.performance.enable;
}
