# MLC LLM in a container. Its server knows no keys, and so listens on this machine alone; a proxy
# that checks them can publish it.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}@args:
{
  imports = [
    (import ../container-service.nix args {
      engine = "mlc";
      title = "MLC LLM";
      model = "HF://mlc-ai/Qwen3-4B-q4f16_1-MLC";
      instanceOptions = { };

      arguments = instance: {
        overrides = "context_window_size=${toString instance.contextSize};gpu_memory_utilization=${builtins.toJSON instance.gpuMemoryUtilization}";
      };

      mounts = _: [ ];
      requiredFiles = _: _: { };
    })
  ];
}
