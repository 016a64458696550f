# What the files of eval/ look at configurations with.
{ lib, self }:
let
  inherit (self.lib) mkSystem;
in
rec {
  # flags -> module -> config. One package set for all of them: instantiating it is most of the work.
  configure =
    flags: module:
    (mkSystem (
      flags
      // {
        modules = [
          module
          {
            nixpkgs.pkgs = self.nixosConfigurations.nixos.pkgs;
            nixpkgs.overlays = lib.mkForce [ ]; # they are in it
          }
        ];
      }
    )).config;

  # The unit file that systemd reads. Store paths in it are looked at and never built.
  unit = config: name: builtins.unsafeDiscardStringContext config.systemd.units.${name}.text;

  # string -> string -> bool, for strings that may hold store paths.
  contains = part: lib.hasInfix (builtins.unsafeDiscardStringContext part);

  # [ string ] -> string -> bool: whole lines.
  hasLines = lines: text: lib.all (line: lib.elem line (lib.splitString "\n" text)) lines;

  # Whether an assertion fails, with these words in its message.
  refuses =
    words: config:
    lib.any (
      { assertion, message }: !assertion && lib.all (word: lib.hasInfix word message) words
    ) config.assertions;

  # config -> string -> { <server> = target; } of one of Prometheus' jobs.
  scrapeTargets =
    config: job:
    lib.listToAttrs (
      map (target: lib.nameValuePair target.labels.server (lib.head target.targets)) (
        lib.concatMap (scrape: scrape.static_configs) (
          lib.filter (scrape: scrape.job_name == job) config.services.prometheus.scrapeConfigs
        )
      )
    );

  gpuSandbox = [
    "CapabilityBoundingSet="
    "PrivateDevices=false"
    "ProtectClock=false"
    "NoNewPrivileges=true"
    "PrivateUsers=false"
    "ProcSubset=all"
    "ProtectSystem=strict"
    "SupplementaryGroups=render"
    "SupplementaryGroups=video"
    "SystemCallFilter=~@privileged"
  ];
}
