# What the servers of GGUF files have in common, an instance a model: options, units, scraping,
# firewall, and what is refused. The module of each server adds what is its own.
{
  config,
  lib,
  pkgs,
  utils,
}:
{
  feature, # orin.<feature> has the options
  unit, # <unit>-<name>.service is an instance
  user, # who it runs as, and the folder of models in /var/lib
  port,
  program,
  options, # of an instance, besides the common ones
  arguments, # name -> instance -> long options of the program, for those
  awaited ? (instance: instance.model), # instance -> path: what must be there before it starts
  isScraped, # instance -> bool: whether /metrics answers without a key
  service, # name -> instance -> systemd service, besides the common part
}:
let
  inherit (config.orin.${feature}) instances;
  folder = "/var/lib/${user}";
  addresses = import ./telemetry/addresses.nix { inherit lib; };
  unitOf = name: "${unit}-${name}.service";
  optionOf = name: "orin.${feature}.instances.${name}";
  and' = lib.concatStringsSep " and ";

  scalar =
    with lib.types;
    oneOf [
      bool
      int
      float
      str
      path
    ];

  instance =
    { name, ... }:
    {
      options = {
        model = lib.mkOption {
          type = lib.types.path;
          default = "${folder}/${name}.gguf";
          defaultText = lib.literalExpression ''"${folder}/<name>.gguf"'';
          description = ''
            GGUF file to serve. The default is named after the instance, so that copying a file
            there is all there is to do.
          '';
        };

        host = lib.mkOption {
          type = lib.types.str;
          default = "127.0.0.1";
          example = "0.0.0.0";
          description = ''
            Address to listen on. Only this machine by default: without `apiKeyFile` the server
            answers whoever connects.
          '';
        };

        port = lib.mkOption {
          type = lib.types.port;
          default = port;
          description = ''
            Port to listen on: the server's own by default. Each instance needs its own, but for
            those that conflict.
          '';
        };

        openFirewall = lib.mkOption {
          type = lib.types.bool;
          default = false;
          description = "Whether to open the port in the firewall. Off by default, like `host`.";
        };

        apiKeyFile = lib.mkOption {
          # Not `path`, which would copy ./keys into the store for everyone to read.
          type = lib.types.nullOr lib.types.externalPath;
          default = null;
          example = "/run/secrets/${user}-api-keys";
          description = ''
            File with the API keys that clients may use, one a line, read by systemd as root. None
            by default, as only this machine can connect.
          '';
        };

        memoryMax = lib.mkOption {
          type = lib.types.nullOr (lib.types.strMatching "[1-9][0-9]*[KMGT%]?");
          default = null;
          example = "16G";
          description = ''
            Most memory that the process may hold before the kernel ends it, and only it (systemd's
            `MemoryMax=`). It counts what the CPU holds, the mapped file included, and not what the
            GPU's driver allocates: context and parallel requests bound that. None by default.
          '';
        };

        autoStart = lib.mkOption {
          type = lib.types.bool;
          default = true;
          description = ''
            Whether to start when the board does. Off for one that takes the place of another:
            `systemctl start ${unit}-<name>`.
          '';
        };

        conflicts = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = [ "chat" ];
          description = ''
            Instances that stop before this one starts, and that stop it when they start: for models
            that do not fit into the memory together. They may share a port, so that clients find
            whichever runs at the same address. None by default.
          '';
        };

        settings = lib.mkOption {
          type = lib.types.attrsOf (lib.types.nullOr (lib.types.either scalar (lib.types.listOf scalar)));
          default = { };
          example = {
            alias = "qwen3";
          };
          description = ''
            Any other long options of `${baseNameOf program}`, without the dashes: true for an option
            without a value, a list for one given several times. What has an option above is set
            there.
          '';
        };
      }
      // options;
    };

  # The program's own names for the options above.
  argumentsOf =
    name: instance:
    {
      inherit (instance) host model port;
      # Where systemd puts what LoadCredential= reads.
      api-key-file =
        if instance.apiKeyFile == null then null else "/run/credentials/${unitOf name}/api-keys";
    }
    // arguments name instance;

  commandLine =
    name: instance:
    utils.escapeSystemdExecArgs (
      [ program ]
      ++ lib.cli.toCommandLine (option: {
        option = "--${option}";
        sep = null;
        explicitBool = false;
      }) (argumentsOf name instance // instance.settings)
    );

  serviceOf =
    name: instance:
    lib.mkMerge [
      (import ./wait-for-model.nix {
        inherit pkgs utils;
        model = awaited instance;
        remedy = "copy a GGUF file there, or set ${optionOf name}.model";
      })
      {
        wantedBy = lib.optional instance.autoStart "multi-user.target";
        after = [
          "network.target"
          # The parts of the GPU that are powered can only change before it is first used.
          "nvpmodel.service"
        ]
        # What stops does so before what takes its place starts. One of the two has to say so.
        ++ map unitOf (lib.filter (other: other < name && conflict name other) (lib.attrNames instances));
        conflicts = map unitOf instance.conflicts;

        serviceConfig = (import ./hardening.nix).gpu // {
          ExecStart = commandLine name instance;
          User = user;
          Group = user;
          CacheDirectory = "${unit}-${name}";
          LoadCredential = lib.optional (instance.apiKeyFile != null) "api-keys:${instance.apiKeyFile}";
          MemoryMax = lib.mkIf (instance.memoryMax != null) instance.memoryMax;
          # The kernel does not see what a process holds on the GPU, and would end another first.
          OOMScoreAdjust = 500;
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
          ];
        };
      }
      (service name instance)
    ];

  conflict = a: b: lib.elem a instances.${b}.conflicts || lib.elem b instances.${a}.conflicts;

  # Of some instances every two, once.
  pairs =
    names:
    lib.filter ({ a, b }: a < b) (
      lib.cartesianProduct {
        a = names;
        b = names;
      }
    );
  portUsers = lib.groupBy (name: toString instances.${name}.port) (lib.attrNames instances);

  isOpen = instance: !addresses.isLoopback instance.host;
  where = condition: lib.attrNames (lib.filterAttrs (_: condition) instances);
  scraped = where isScraped;
in
{
  option = lib.mkOption {
    type = lib.types.attrsOf (lib.types.submodule instance);
    default = {
      main = { };
    };
    description = ''
      The servers to run, each as `${unit}-<name>.service`. One called `main` by default, so that
      enabling this and copying a model to ${folder}/main.gguf gives a server.
    '';
  };

  config = {
    systemd.services = lib.mapAttrs' (
      name: instance: lib.nameValuePair "${unit}-${name}" (serviceOf name instance)
    ) instances;

    users.users.${user} = {
      isSystemUser = true;
      group = user;
    };
    users.groups.${user} = { };

    systemd.tmpfiles.settings."10-${user}".${folder}.d = {
      inherit user;
      group = user;
      mode = "0755";
    };

    networking.firewall.allowedTCPPorts = map (name: instances.${name}.port) (
      where (instance: instance.openFirewall)
    );

    # Where orin.telemetry is there and on. One job, in which a server is told from the others.
    services.prometheus.scrapeConfigs =
      lib.mkIf (config.orin.telemetry.enable or false && scraped != [ ])
        [
          {
            job_name = unit;
            static_configs = map (name: {
              targets = [
                (addresses.withPort (addresses.local instances.${name}.host) instances.${name}.port)
              ];
              labels = {
                instance = config.networking.hostName;
                server = name;
              };
            }) scraped;
          }
        ];

    warnings = map (
      name:
      "${optionOf name} listens on ${instances.${name}.host} and asks nobody for a key: set ${optionOf name}.apiKeyFile."
    ) (where (instance: isOpen instance && instance.apiKeyFile == null));

    assertions =
      lib.mapAttrsToList (number: names: {
        assertion = lib.all ({ a, b }: conflict a b) (pairs names);
        message = "orin.${feature}.instances: port ${number} is that of ${and' names}: give each its own orin.${feature}.instances.<name>.port.";
      }) portUsers
      ++ map (
        { a, b }:
        {
          assertion = conflict a b -> !(instances.${a}.autoStart && instances.${b}.autoStart);
          message = "${optionOf a} and ${b} conflict and both start with the board: set ${optionOf b}.autoStart = false.";
        }
      ) (pairs (lib.attrNames instances))
      ++ lib.concatLists (
        lib.mapAttrsToList (
          name: instance:
          let
            # The firewall, the wait for the model and the credentials go by the options.
            twice = lib.intersectLists (lib.attrNames instance.settings) (
              lib.attrNames (argumentsOf name instance)
            );
            unknown = lib.subtractLists (lib.remove name (lib.attrNames instances)) instance.conflicts;
          in
          [
            {
              assertion = builtins.match "/(home|root)/.*" (toString (awaited instance)) == null;
              message = "${optionOf name} reads ${toString (awaited instance)}, and services here see no home directories: move it to ${folder}.";
            }
            {
              assertion = twice == [ ];
              message = "${optionOf name}.settings has ${lib.concatStringsSep ", " twice}: set the option of ${optionOf name} instead.";
            }
            {
              assertion = unknown == [ ];
              message = "${optionOf name}.conflicts has ${lib.concatStringsSep ", " unknown}, no other instance: they are ${lib.concatStringsSep ", " (lib.attrNames instances)}.";
            }
            {
              assertion = instance.openFirewall -> isOpen instance;
              message = ''${optionOf name}.openFirewall opens nothing, as ${instance.host} is this machine alone: set ${optionOf name}.host = "0.0.0.0", or leave it out.'';
            }
          ]
        ) instances
      );
  };
}
