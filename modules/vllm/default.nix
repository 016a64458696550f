# vLLM in NVIDIA's container for JetPack 6: nixpkgs' vLLM is marked insecure, and for this GPU it would
# be hours of compiling.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}@args:
let
  isLocal = host: lib.hasPrefix "127." host || host == "localhost" || host == "[::1]";
in
{
  imports = [
    (import ../container-service.nix args {
      engine = "vllm";
      title = "vLLM";
      model = "RedHatAI/Qwen3-4B-quantized.w4a16";

      instanceOptions = {
        host = lib.mkOption {
          type = lib.types.str;
          default = "127.0.0.1";
          example = "0.0.0.0";
          description = ''
            Address to listen on. Only this machine by default. Docker opens any other past the
            firewall, so that one needs `apiKeyFile`.
          '';
        };

        apiKeyFile = lib.mkOption {
          type = lib.types.nullOr lib.types.externalPath;
          default = null;
          example = "/run/secrets/vllm-api-key";
          description = ''
            File of root's with the key that clients must send. None by default, as only this machine
            can connect.
          '';
        };
      };

      arguments = instance: {
        max-model-len = instance.contextSize;
        gpu-memory-utilization = builtins.toJSON instance.gpuMemoryUtilization;
      };

      mounts =
        instance:
        lib.optional (
          instance.apiKeyFile != null
        ) "type=bind,src=${instance.apiKeyFile},dst=/run/secrets/api-key,readonly";

      requiredFiles =
        name: instance:
        lib.optionalAttrs (instance.apiKeyFile != null) {
          ${instance.apiKeyFile} = "write a key there, or unset orin.vllm.instances.${name}.apiKeyFile";
        };
    })
  ];

  assertions = lib.mkIf config.orin.vllm.enable (
    lib.mapAttrsToList (name: instance: {
      assertion = isLocal instance.host || instance.apiKeyFile != null;
      message = "orin.vllm.instances.${name}.host is ${instance.host}, which lets the whole network in: set orin.vllm.instances.${name}.apiKeyFile.";
    }) config.orin.vllm.instances
  );
}
