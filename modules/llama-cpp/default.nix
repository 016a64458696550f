# llama.cpp's server, as many instances as there are models: one for chat, one for embeddings, ...
# services.llama-cpp of nixpkgs runs one, and its sandbox hides the GPU of a Jetson.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.orin.llama;

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
          default = "/var/lib/llama/${name}.gguf";
          defaultText = lib.literalExpression ''"/var/lib/llama/<name>.gguf"'';
          description = ''
            GGUF file to serve. The default is named after the instance, so that copying a file
            there is all there is to do.
          '';
        };

        host = lib.mkOption {
          type = lib.types.str;
          default = "127.0.0.1";
          example = "0.0.0.0";
          description = "Address to listen on. Only this machine by default: the server has no users.";
        };

        port = lib.mkOption {
          type = lib.types.port;
          default = 8080;
          description = "Port to listen on: llama-server's own by default. Each instance needs its own.";
        };

        openFirewall = lib.mkOption {
          type = lib.types.bool;
          default = false;
          description = "Whether to open the port in the firewall. Off by default, like `host`.";
        };

        gpuLayers = lib.mkOption {
          type = lib.types.ints.unsigned;
          default = 99;
          description = ''
            How many layers of the model the GPU computes. 99, more than a model that fits has, by
            default: CPU and GPU share one memory, so a layer left to the CPU saves nothing.
          '';
        };

        contextSize = lib.mkOption {
          type = lib.types.ints.unsigned;
          default = 8192;
          example = 32768;
          description = ''
            Tokens of context, divided among the parallel slots; 0 takes what the model was trained
            with. 8192 by default: the 131072 of many models would fill the memory with their cache.
          '';
        };

        parallel = lib.mkOption {
          type = lib.types.ints.positive;
          default = 1;
          description = ''
            Requests answered at a time. 1 by default: the whole context for the one owner.
          '';
        };

        flashAttention = lib.mkOption {
          type = lib.types.enum [
            "on"
            "off"
            "auto"
          ];
          default = "auto";
          description = ''
            Flash attention. `auto` by default: on where llama.cpp has a kernel for the model.
          '';
        };

        apiKeyFile = lib.mkOption {
          # Not `path`, which would copy ./keys into the store for everyone to read.
          type = lib.types.nullOr lib.types.externalPath;
          default = null;
          example = "/run/secrets/llama-api-keys";
          description = ''
            File with the API keys that clients may use, one a line, read by systemd as root. None
            by default, as only this machine can connect.
          '';
        };

        settings = lib.mkOption {
          type = lib.types.attrsOf (lib.types.nullOr (lib.types.either scalar (lib.types.listOf scalar)));
          default = { };
          example = {
            alias = "qwen3";
            jinja = true;
            metrics = true;
            cache-type-k = "q8_0";
          };
          description = ''
            Any other long options of `llama-server`, without the dashes: true for an option without
            a value, a list for one given several times. What has an option above is set there.
          '';
        };
      };
    };

  # llama-server's own names for the options above.
  options = name: instance: {
    inherit (instance)
      host
      model
      parallel
      port
      ;
    gpu-layers = instance.gpuLayers;
    ctx-size = instance.contextSize;
    flash-attn = instance.flashAttention;
    # Where systemd puts what LoadCredential= reads.
    api-key-file =
      if instance.apiKeyFile == null then null else "/run/credentials/llama-cpp-${name}.service/api-keys";
  };

  commandLine =
    name: instance:
    utils.escapeSystemdExecArgs (
      [ (lib.getExe' cfg.package "llama-server") ]
      ++ lib.cli.toCommandLine (option: {
        option = "--${option}";
        sep = null;
        explicitBool = false;
      }) (options name instance // instance.settings)
    );

  service =
    name: instance:
    lib.mkMerge [
      (import ../wait-for-model.nix {
        inherit pkgs utils;
        inherit (instance) model;
        remedy = "copy a GGUF file there, or set orin.llama.instances.${name}.model";
      })
      {
        description = "llama.cpp server (${name})";
        wantedBy = [ "multi-user.target" ];
        after = [
          "network.target"
          # The parts of the GPU that are powered can only change before it is first used.
          "nvpmodel.service"
        ];

        environment.LLAMA_CACHE = "/var/cache/llama-cpp-${name}";

        serviceConfig = (import ../hardening.nix).gpu // {
          Type = "exec"; # llama-server does not notify systemd; GET /health is 503 until it is ready
          ExecStart = commandLine name instance;
          User = "llama";
          Group = "llama";
          CacheDirectory = "llama-cpp-${name}";
          LoadCredential = lib.optional (instance.apiKeyFile != null) "api-keys:${instance.apiKeyFile}";
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
            "AF_UNIX"
          ];
        };
      }
    ];

  portUsers = lib.groupBy (name: toString cfg.instances.${name}.port) (lib.attrNames cfg.instances);
in
{
  options.orin.llama = {
    enable = lib.mkEnableOption "llama.cpp's OpenAI-compatible server";

    package = lib.mkPackageOption pkgs "llama-cpp" { };

    instances = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule instance);
      default = {
        main = { };
      };
      example = lib.literalExpression ''
        {
          chat.model = "/var/lib/llama/qwen3-14b-q4_k_m.gguf";
          embed = {
            port = 8081;
            settings.embeddings = true;
          };
        }
      '';
      description = ''
        The servers to run, each as `llama-cpp-<name>.service`. One called `main` by default, so
        that enabling this and copying a model to /var/lib/llama/main.gguf gives a server.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services = lib.mapAttrs' (
      name: instance: lib.nameValuePair "llama-cpp-${name}" (service name instance)
    ) cfg.instances;

    users.users.llama = {
      isSystemUser = true;
      group = "llama";
    };
    users.groups.llama = { };

    systemd.tmpfiles.settings."10-llama"."/var/lib/llama".d = {
      user = "llama";
      group = "llama";
      mode = "0755";
    };

    networking.firewall.allowedTCPPorts = lib.mapAttrsToList (_: instance: instance.port) (
      lib.filterAttrs (_: instance: instance.openFirewall) cfg.instances
    );

    assertions =
      lib.mapAttrsToList (port: names: {
        assertion = lib.length names == 1;
        message = "orin.llama.instances: port ${port} is that of ${lib.concatStringsSep " and " names}: give each its own orin.llama.instances.<name>.port.";
      }) portUsers
      ++ lib.mapAttrsToList (name: instance: {
        assertion = builtins.match "/(home|root)/.*" (toString instance.model) == null;
        message = "orin.llama.instances.${name}.model is ${toString instance.model}, and services here see no home directories: move it to /var/lib/llama.";
      }) cfg.instances
      ++ lib.mapAttrsToList (
        name: instance:
        let
          twice = lib.intersectLists (lib.attrNames instance.settings) (
            lib.attrNames (options name instance)
          );
        in
        {
          # The firewall, the wait for the model and the credentials go by the options.
          assertion = twice == [ ];
          message = "orin.llama.instances.${name}.settings has ${lib.concatStringsSep ", " twice}: set the option of orin.llama.instances.${name} instead.";
        }
      ) cfg.instances;
  };
}
