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
  telemetry = config.orin.telemetry.enable or false;

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
        feature = "llama";
        unit = "llama-cpp";
        user = "llama";
        port = 8080;
        program = lib.getExe' cfg.package "llama-server";

        options = {
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
              Tokens of context, divided among the parallel slots; 0 takes what the model was
              trained with. 8192 by default: the 131072 of many models would fill the memory with
              their cache.
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

          modelsDir = lib.mkOption {
            type = lib.types.nullOr lib.types.path;
            default = null;
            example = "/var/lib/llama";
            description = ''
              Folder of GGUF files to serve in place of the one `model`: each is loaded when a
              request first names it. `settings.models-max` says how many stay in memory, four
              unless told otherwise. None by default.
            '';
          };

          draftModel = lib.mkOption {
            type = lib.types.nullOr lib.types.path;
            default = null;
            example = "/var/lib/llama/qwen3-0.6b-q8_0.gguf";
            description = ''
              GGUF file of a small model of the same vocabulary, which guesses the next tokens for
              the large one to check all at once (speculative decoding). None by default: it takes
              memory, and gains most where answers are predictable, such as code.
            '';
          };

          metrics = lib.mkOption {
            type = lib.types.bool;
            default = telemetry;
            defaultText = lib.literalExpression "config.orin.telemetry.enable";
            description = ''
              Whether to answer at `/metrics`. By default where orin.telemetry is on, whose
              Prometheus then reads them, unless there is an `apiKeyFile`: llama-server asks for a
              key there too.
            '';
          };
        };

        arguments = _: instance: {
          inherit (instance) metrics parallel;
          gpu-layers = instance.gpuLayers;
          ctx-size = instance.contextSize;
          flash-attn = instance.flashAttention;
          model-draft = instance.draftModel;
          model = if instance.modelsDir == null then instance.model else null;
          models-dir = instance.modelsDir;
        };

        awaited = instance: if instance.modelsDir == null then instance.model else instance.modelsDir;

        # With a folder of models llama-server wants to be told whose metrics are meant.
        isScraped = instance: instance.metrics && instance.apiKeyFile == null && instance.modelsDir == null;

        service = name: _: {
          description = "llama.cpp server (${name})";
          environment.LLAMA_CACHE = "/var/cache/llama-cpp-${name}";
          # llama-server does not notify systemd; GET /health is 503 until it is ready.
          serviceConfig.Type = "exec";
        };
      };
in
{
  options.orin.llama = {
    enable = lib.mkEnableOption "llama.cpp's OpenAI-compatible server";

    package = lib.mkPackageOption pkgs "llama-cpp" { };

    instances = server.option // {
      example = lib.literalExpression ''
        {
          chat.model = "/var/lib/llama/qwen3-14b-q4_k_m.gguf";
          coder = {
            conflicts = [ "chat" ];
            autoStart = false;
          };
          embed = {
            port = 8081;
            settings.embeddings = true;
          };
        }
      '';
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      server.config
      {
        environment.systemPackages = [
          pkgs.llama-cpp-orin
          pkgs.orin-llm # download-model
        ];
      }
    ]
  );
}
