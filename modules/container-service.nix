# A server of language models in a container, as many instances as there are models: what vLLM and
# MLC share. One runs at a time, since each takes its share of the one memory: starting an instance
# stops the other. Returns a module with orin.<engine>.
#
#   engine           its name: of the option, the units, and the files in pkgs/vllm-jetson
#   title            its name in sentences
#   model            what the first instance serves
#   instanceOptions  options that only this engine has
#   arguments        instance -> the server's long options
#   mounts           instance -> [ string ], for docker's --mount
#   requiredFiles    name -> instance -> { path = what to do where it is missing; }
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
{
  engine,
  title,
  model,
  instanceOptions,
  arguments,
  mounts,
  requiredFiles,
}:
let
  cfg = config.orin.${engine};
  files = "${cfg.package}/share/vllm-jetson";

  # One argument a line, with the shell's quoting in none of them.
  flags =
    name: lib.splitString "\n" (lib.trim (builtins.readFile (../pkgs/vllm-jetson + "/${name}.flags")));

  scalar =
    with lib.types;
    oneOf [
      bool
      int
      float
      str
    ];

  instance.options = {
    model = lib.mkOption {
      type = lib.types.str;
      default = model;
      description = ''
        What to serve: a repository on Hugging Face, fetched at the first start, or the absolute path
        of a folder. The default is a small model, so that enabling this gives a server.
      '';
    };

    image = lib.mkOption {
      type = lib.types.str;
      default = lib.trim (builtins.readFile (../pkgs/vllm-jetson + "/${engine}.image"));
      description = ''
        Image to run, one made for JetPack 6 and the GPU's capability 8.7. Pinned by default: the
        tags called latest have moved on to a CUDA that JetPack 6's driver cannot run.
      '';
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 8000;
      description = "Port to listen on. All instances may share one, as one runs at a time.";
    };

    contextSize = lib.mkOption {
      type = lib.types.ints.positive;
      default = 8192;
      example = 32768;
      description = ''
        Tokens of the longest prompt and its answer together. 8192 by default: what many models could
        take would not fit the memory.
      '';
    };

    gpuMemoryUtilization = lib.mkOption {
      type = lib.types.numbers.between 0.05 0.95;
      default = 0.6;
      description = ''
        Share of the board's memory, which CPU and GPU have in common, that ${title} takes for
        weights and cache. 0.6 by default, 38 of 64 GB: the rest is for the system and for reading
        the weights.
      '';
    };

    memory = lib.mkOption {
      type = lib.types.strMatching "[0-9]+[gm]";
      default = "48g";
      description = ''
        Cap on the container's own processes, without swap, so that a leak ends the server and not
        the board. It does not see what the GPU's driver allocates; `gpuMemoryUtilization` does.
      '';
    };

    autoStart = lib.mkOption {
      type = lib.types.bool;
      default = lib.length (lib.attrNames cfg.instances) == 1;
      defaultText = "true for an only instance";
      description = "Whether to start with the board. One instance at most can.";
    };

    tokenFile = lib.mkOption {
      # Not `path`, which would copy ./token into the store for everyone to read.
      type = lib.types.nullOr lib.types.externalPath;
      default = null;
      example = "/run/secrets/hugging-face-token";
      description = ''
        File of root's with a token of Hugging Face, for models behind a licence. None by default.
      '';
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf (lib.types.nullOr (lib.types.either scalar (lib.types.listOf scalar)));
      default = { };
      description = ''
        Any other long options of the server, without the dashes: true for an option without a
        value, a list for one given several times. What has an option above is set there.
      '';
    };
  }
  // instanceOptions;

  unitOf = name: "${engine}-${name}";
  others = name: lib.remove (unitOf name) (lib.attrNames config.orin.containers.servers);

  isFolder = instance: lib.hasPrefix "/" instance.model;

  bind =
    source: target:
    # Unlike --volume, which makes a folder of whatever is missing.
    "type=bind,src=${source},dst=${target},readonly";

  container = name: instance: {
    serviceName = unitOf name;
    inherit (instance) autoStart image;
    pull = "never"; # it has been pulled before, with a word about what went wrong
    log-driver = "none"; # the unit's journal has it
    ports = [ "${instance.host or "127.0.0.1"}:${toString instance.port}:8000" ];
    volumes = [ "/var/lib/${engine}:/cache" ];
    devices = [ "nvidia.com/gpu=all" ];
    environment = lib.mkIf (instance.tokenFile != null) {
      HF_TOKEN_PATH = "/run/secrets/hugging-face-token";
    };
    extraOptions =
      flags "container"
      ++ flags engine
      ++ [
        "--memory=${instance.memory}"
        "--memory-swap=${instance.memory}"
      ]
      ++ map (mount: "--mount=${mount}") (
        [ (bind "${files}/serve-${engine}" "/serve") ]
        ++ lib.optional (isFolder instance) (bind instance.model "/model")
        ++ lib.optional (instance.tokenFile != null) (
          bind instance.tokenFile "/run/secrets/hugging-face-token"
        )
        ++ mounts instance
      );
    cmd = [
      "/serve"
      (if isFolder instance then "/model" else instance.model)
    ]
    ++ lib.cli.toCommandLine (option: {
      option = "--${option}";
      sep = null;
      explicitBool = false;
    }) (arguments instance // instance.settings);
  };

  requireFile = pkgs.writeShellScript "require-file" ''
    if [[ ! -e $1 ]]; then
      echo "$1 is missing: $2. Next look in 30 s." >&2
      exit 66 # EX_NOINPUT
    fi
  '';

  requireImage = pkgs.writeShellScript "require-image" ''
    docker image inspect "$1" >/dev/null 2>&1 && exit
    echo "pulling $1, once; it has several gigabytes"
    if ! docker pull --quiet "$1"; then
      echo "cannot pull $1: check its name and the network, bring it in with docker load, or set $2. Next try in 30 s." >&2
      exit 69 # EX_UNAVAILABLE
    fi
  '';

  dropCaches = pkgs.writeShellScript "drop-caches" "echo 1 >/proc/sys/vm/drop_caches";

  required =
    name: instance:
    lib.optionalAttrs (isFolder instance) {
      ${instance.model} =
        "copy a folder with a model there, or set orin.${engine}.instances.${name}.model";
    }
    // lib.optionalAttrs (instance.tokenFile != null) {
      ${instance.tokenFile} =
        "write a token of Hugging Face there, or unset orin.${engine}.instances.${name}.tokenFile";
    }
    // requiredFiles name instance;

  service = name: instance: {
    conflicts = map (unit: "${unit}.service") (others name);
    # Where one stops for another to start, the stop comes first; a word about it needs one direction.
    after = map (unit: "${unit}.service") (lib.filter (unit: unit < unitOf name) (others name)) ++ [
      "nvidia-container-toolkit-cdi-generator.service"
      # The parts of the GPU that are powered can only change before it is first used.
      "nvpmodel.service"
    ];
    startLimitIntervalSec = 0;

    environment.DOCKER_CONFIG = "/run/${unitOf name}"; # Docker's client would look for a home

    # The client of Docker, which runs none of the model's code: that is in the container.
    serviceConfig = lib.mapAttrs (_: lib.mkDefault) (import ./hardening.nix).base // {
      ExecStartPre = lib.mkAfter (
        lib.mapAttrsToList (
          path: remedy:
          # "+", here and below: as root outside of the sandbox, which sees every folder.
          "+"
          + utils.escapeSystemdExecArgs [
            requireFile
            path
            remedy
          ]
        ) (required name instance)
        ++ [
          (utils.escapeSystemdExecArgs [
            requireImage
            instance.image
            "orin.${engine}.instances.${name}.image"
          ])
          # CUDA on a Jetson does not count the page cache as free, and a server that finds less
          # memory than its share gives up.
          "+${dropCaches}"
        ]
      );
      RestartSec = 30;
      RestrictAddressFamilies = [ "AF_UNIX" ];
      RuntimeDirectory = unitOf name;
    };
  };
in
{
  imports = [ ./containers ];

  options.orin.${engine} = {
    enable = lib.mkEnableOption "${title}'s OpenAI-compatible server, in a container";

    package = lib.mkPackageOption pkgs "vllm-jetson" { };

    instances = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule instance);
      default = {
        main = { };
      };
      example = lib.literalExpression ''
        {
          chat.autoStart = true;
          coder = {
            model = "/var/lib/models/coder";
            contextSize = 32768;
          };
        }
      '';
      description = ''
        The servers, each `${engine}-<name>.service`. One at a time runs: starting one stops the
        other. One called `main` by default.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    orin.containers = {
      enable = lib.mkDefault true;
      servers = lib.mapAttrs' (
        name: instance: lib.nameValuePair (unitOf name) instance.autoStart
      ) cfg.instances;
    };

    environment.systemPackages = [ cfg.package ];

    virtualisation.oci-containers = {
      backend = "docker";
      containers = lib.mapAttrs' (
        name: instance: lib.nameValuePair (unitOf name) (container name instance)
      ) cfg.instances;
    };

    systemd.services = lib.mapAttrs' (
      name: instance: lib.nameValuePair (unitOf name) (service name instance)
    ) cfg.instances;

    systemd.tmpfiles.settings."10-${engine}"."/var/lib/${engine}".d.mode = "0700";

    assertions = lib.mapAttrsToList (
      name: instance:
      let
        twice = lib.intersectLists (lib.attrNames instance.settings) (
          lib.attrNames (arguments instance)
          ++ [
            "host"
            "port"
          ]
        );
      in
      {
        assertion = twice == [ ];
        message = "orin.${engine}.instances.${name}.settings has ${lib.concatStringsSep ", " twice}: set the option of orin.${engine}.instances.${name} instead.";
      }
    ) cfg.instances;
  };
}
