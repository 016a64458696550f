# llm-server: language models in tinygrad, as many instances as there are models.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.orin.llm;
  beamCache = config.orin.performance.beamCache or null;

  server =
    import ../gguf-server.nix
      {
        inherit
          config
          lib
          pkgs
          utils
          ;
      }
      {
        feature = "llm";
        unit = "llm-server";
        user = "llm";
        port = 8000;
        program = lib.getExe' cfg.package "llm-server";

        options = {
          device = lib.mkOption {
            type = lib.types.enum [
              "auto"
              "cpu"
              "cuda"
              "nv"
            ];
            default = "cuda";
            description = ''
              What tinygrad computes on. `cuda` by default, and not `auto`: that would go on with the
              CPU, and a line in the journal, should the GPU not answer.
            '';
          };

          contextSize = lib.mkOption {
            type = lib.types.ints.positive;
            default = 8192;
            example = 32768;
            description = ''
              Most tokens of one conversation, prompt and answer together. 8192 by default: the
              131072 of many models would fill the memory with their cache.
            '';
          };

          parallel = lib.mkOption {
            type = lib.types.ints.positive;
            default = 8;
            description = ''
              Requests answered at a time; more wait. 8 by default: the weights, read once for all
              of them, are most of what a token costs.
            '';
          };

          cacheTokens = lib.mkOption {
            type = lib.types.nullOr lib.types.ints.positive;
            default = null;
            example = 65536;
            description = ''
              Tokens whose keys and values are kept, by the requests under way and for prompts that
              begin alike. By default four times `contextSize`.
            '';
          };

          corsOrigins = lib.mkOption {
            type = lib.types.listOf lib.types.str;
            default = [ ];
            example = [ "https://chat.example.org" ];
            description = "Web pages whose scripts may ask the server. None by default.";
          };

          grace = lib.mkOption {
            type = lib.types.ints.unsigned;
            default = 30;
            description = ''
              Seconds that the answers under way get to finish when the service stops. 30 by
              default: most do, and a reboot does not wait for the longest.
            '';
          };

          beam = lib.mkOption {
            type = lib.types.ints.unsigned;
            default = 0;
            example = 2;
            description = ''
              Width of tinygrad's kernel search (`JITBEAM`); 0 for none. What
              {option}`orin.performance.beamCache` holds for this width is taken; what it lacks is
              searched once, which delays the first start by minutes to hours. 0 by default.
            '';
          };
        };

        arguments = _: instance: {
          inherit (instance) device grace parallel;
          context = instance.contextSize;
          cache-tokens = instance.cacheTokens;
          cors-origin = instance.corsOrigins;
        };

        isScraped = _: true;

        service = name: instance: {
          description = "llm-server (${name})";

          environment = {
            # tinygrad keeps the kernels that it compiled and searched there.
            XDG_CACHE_HOME = "/var/cache/llm-server-${name}";
          }
          // lib.optionalAttrs (instance.beam > 0) { JITBEAM = toString instance.beam; };

          serviceConfig = {
            Type = "notify"; # when the model is loaded
            # The first start compiles every kernel, and may search for them.
            TimeoutStartSec = if instance.beam > 0 then "infinity" else "30min";
            TimeoutStopSec = instance.grace + 15;
            ExecStartPre = lib.optional (instance.beam > 0 && beamCache != null) (
              utils.escapeSystemdExecArgs [
                (lib.getExe' pkgs.orin-bench "bench-warm")
                "import"
                "--trust"
                "${beamCache}"
              ]
            );
          };
        };
      };
in
{
  options.orin.llm = {
    enable = lib.mkEnableOption "llm-server, an OpenAI-compatible server in tinygrad";

    package = lib.mkPackageOption pkgs "orin-llm" { };

    instances = server.option // {
      example = lib.literalExpression ''
        {
          chat = {
            model = "/var/lib/llm/qwen3-8b-q8_0.gguf";
            contextSize = 32768;
          };
          coder = {
            conflicts = [ "chat" ];
            autoStart = false;
          };
        }
      '';
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      server.config
      { environment.systemPackages = [ cfg.package ]; } # download-model, bench-llm
    ]
  );
}
