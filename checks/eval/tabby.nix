# modules/tabby: what it makes of services.tabbyapi.
{
  lib,
  configure,
  contains,
  gpuSandbox,
  hasLines,
  refuses,
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
  engines = map (name: input name default.services.tabbyapi.package) [
    "exllamav2"
    "exllamav3"
  ];
  attention = input "flash-attention" (lib.last engines);
  capabilities = package: package.env.TORCH_CUDA_ARCH_LIST or package.TORCH_CUDA_ARCH_LIST;

  asked = tabby {
    orin.tabby = {
      apiTokensFile = "/run/secrets/tokens.yml";
      memoryMax = "16G";
    };
    services.tabbyapi = {
      openFirewall = true;
      settings.network.host = "0.0.0.0";
      settings.network.port = 5001;
    };
  };
  text = unit asked "tabbyapi.service";
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
  "its kernels are for this GPU, those of EXL3 and of attention included" = lib.all (
    package: package.meta.available && capabilities package == "8.7"
  ) (engines ++ [ attention ]);
  "there is one PyTorch, without the InfiniBand stack" =
    let
      torches = map (input "torch") (engines ++ [ attention ]);
    in
    lib.length (lib.unique (map (torch: torch.drvPath) torches)) == 1
    &&
      lib.intersectLists (map lib.getName (lib.head torches).buildInputs) [
        "libcufile"
        "libnvshmem"
      ] == [ ];
  "models have a place from the first start on" = hasLines [
    "StateDirectory=tabbyapi"
    "StateDirectory=tabbyapi/models"
  ] (unit default "tabbyapi.service");
  "compiled kernels are kept" = hasLines [
    ''Environment="TRITON_CACHE_DIR=/var/lib/tabbyapi/.cache/triton"''
  ] (unit default "tabbyapi.service");
  "keys are read by systemd, and put where TabbyAPI looks" =
    hasLines [ "LoadCredential=api-tokens:/run/secrets/tokens.yml" ] text
    && contains "/bin/install --mode=0600 /run/credentials/tabbyapi.service/api-tokens /var/lib/tabbyapi/api_tokens.yml" text
    && !contains "api-tokens" (unit default "tabbyapi.service");
  "memory is capped where asked" =
    hasLines [ "MemoryMax=16G" ] text && !contains "MemoryMax" (unit default "tabbyapi.service");
  "the firewall opens where asked" =
    lib.elem 5001 asked.networking.firewall.allowedTCPPorts
    && !lib.elem 5000 default.networking.firewall.allowedTCPPorts;
  "no assertion fails" = !refuses [ "tabby" ] asked && !refuses [ "TabbyAPI" ] asked;
  "a server that the network reaches without a key is refused" =
    refuses [ "disable_auth" "0.0.0.0" ]
      (tabby {
        services.tabbyapi.settings.network = {
          host = "0.0.0.0";
          disable_auth = true;
        };
      });
  "a missing model is a line in the journal and a slow retry" =
    hasLines [
      "Restart=on-failure"
      "RestartSec=30"
      "StartLimitIntervalSec=0"
    ] (unit loaded "tabbyapi.service")
    && contains ''-require-model" "/var/lib/tabbyapi/models/qwen"'' (unit loaded "tabbyapi.service");
  "a user's settings win" = loaded.services.tabbyapi.settings.model.max_seq_len == 4096;
}
