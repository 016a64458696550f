# modules/mlc: what is MLC's own; checks/eval/vllm.nix has what both share.
{
  lib,
  configure,
  contains,
  hasLines,
  refuses,
  unit,
  ...
}:
let
  config = configure { mlc = true; } {
    orin.mlc.instances = {
      main.contextSize = 4096;
      small = {
        gpuMemoryUtilization = 0.25;
        settings.mode = "interactive";
      };
    };
  };
  inherit (config.virtualisation.oci-containers) containers;
in
{
  "it serves with its own script, image and limits" =
    containers.mlc-main.cmd == [
      "/serve"
      "HF://mlc-ai/Qwen3-4B-q4f16_1-MLC"
      "--overrides"
      "context_window_size=4096;gpu_memory_utilization=0.6"
    ]
    && lib.hasInfix "r36.4" containers.mlc-main.image
    && contains "share/vllm-jetson/serve-mlc,dst=/serve,readonly" (
      lib.concatStringsSep " " containers.mlc-main.extraOptions
    );
  "an instance has settings of its own" =
    lib.hasSuffix "--mode interactive --overrides context_window_size=8192;gpu_memory_utilization=0.25" (
      lib.concatStringsSep " " containers.mlc-small.cmd
    );
  "it listens on this machine only, having no keys" =
    containers.mlc-main.ports == [ "127.0.0.1:8000:8000" ];
  "its cache is its own" = containers.mlc-main.volumes == [ "/var/lib/mlc:/cache" ];
  "instances stop one another" = hasLines [ "Conflicts=mlc-small.service" ] (
    unit config "mlc-main.service"
  );
  "of several none starts with the board unasked" =
    config.systemd.services.mlc-main.wantedBy == [ ]
    && config.systemd.services.mlc-small.wantedBy == [ ];
  "no assertion fails" = !refuses [ "orin." ] config;
}
