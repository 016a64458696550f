# modules/tabby: what it makes of services.tabbyapi.
{
  lib,
  configure,
  contains,
  gpuSandbox,
  hasLines,
  unit,
  ...
}:
let
  tabby = configure { tabby = true; };
  default = tabby { };
  loaded = tabby {
    services.tabbyapi.settings.model = {
      model_name = "qwen";
      max_seq_len = 4096;
    };
  };

  input =
    name: package: lib.findFirst (input: lib.getName input == name) null package.propagatedBuildInputs;
  torch = input "torch" (input "exllamav2" default.services.tabbyapi.package);
in
{
  "it listens on this machine only, on a port of its own" =
    default.services.tabbyapi.settings.network.host == "127.0.0.1"
    && default.services.tabbyapi.settings.network.port == 5000
    && !default.services.tabbyapi.openFirewall;
  "it is sandboxed, but for the GPU" =
    hasLines (gpuSandbox ++ [ "RestrictAddressFamilies=AF_INET" ]) (unit default "tabbyapi.service")
    && !contains "DeviceAllow" (unit default "tabbyapi.service");
  "it starts after the power mode" = hasLines [ "After=nvpmodel.service" ] (
    unit default "tabbyapi.service"
  );
  "the package is for this board, with CUDA" =
    default.services.tabbyapi.package.stdenv.hostPlatform.isAarch64
    && default.services.tabbyapi.package.passthru.cudaSupport;
  "the InfiniBand stack stays out" =
    lib.intersectLists (map lib.getName torch.buildInputs) [
      "libcufile"
      "libnvshmem"
    ] == [ ];
  "a missing model is a line in the journal and a slow retry" =
    hasLines [
      "Restart=on-failure"
      "RestartSec=30"
      "StartLimitIntervalSec=0"
    ] (unit loaded "tabbyapi.service")
    && contains ''-require-model" "/var/lib/tabbyapi/models/qwen"'' (unit loaded "tabbyapi.service");
  "a user's settings win" = loaded.services.tabbyapi.settings.model.max_seq_len == 4096;
}
