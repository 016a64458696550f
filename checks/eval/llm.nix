# modules/llm: the units as systemd reads them, what Prometheus is told, and what is refused.
{
  lib,
  configure,
  contains,
  gpuSandbox,
  hasLines,
  refuses,
  scrapeTargets,
  self,
  unit,
  ...
}:
let
  llm = configure { llm = true; };
  instances = instances: llm { orin.llm = { inherit instances; }; };

  default = llm { };
  main = unit default "llm-server-main.service";

  # Everything that can be asked for, at once.
  asked = instances {
    chat = {
      model = "/srv/qwen3.gguf";
      host = "0.0.0.0";
      port = 8100;
      openFirewall = true;
      apiKeyFile = "/run/secrets/keys";
      device = "nv";
      contextSize = 32768;
      parallel = 4;
      cacheTokens = 65536;
      corsOrigins = [
        "https://a.example.org"
        "https://b.example.org"
      ];
      grace = 60;
      memoryMax = "24G";
      settings = {
        alias = "qwen3";
        queue = 16;
        deadline = 120;
      };
    };
    coder = {
      port = 8100;
      conflicts = [ "chat" ];
      autoStart = false;
    };
  };
  chat = unit asked "llm-server-chat.service";
  coder = unit asked "llm-server-coder.service";

  # Beside Prometheus, and kernels that the board ships.
  watched =
    configure
      {
        llm = true;
        telemetry = true;
      }
      {
        orin.performance.beamCache = builtins.toFile "beam-cache.json" (
          builtins.toJSON {
            format = "orinix beam cache";
            tinygrad = self.nixosConfigurations.nixos.pkgs.tinygrad.version;
            kernels = [ ];
          }
        );
        orin.llm.instances = {
          main = { };
          searched = {
            host = "::";
            port = 8001;
            beam = 2;
          };
        };
      };
  searched = unit watched "llm-server-searched.service";

  # Everything that can be wrong, at once.
  wrong = instances {
    a = {
      host = "0.0.0.0";
      conflicts = [
        "a"
        "b"
        "z"
      ];
    };
    b = {
      model = "/home/ada/m.gguf";
      settings = {
        context = 1;
        device = "cpu";
        queue = 2;
      };
    };
    c = {
      port = 8001;
      openFirewall = true;
    };
    d.port = 8001;
  };
in
{
  "without instances there is one, on the GPU and only for this machine" = hasLines [
    (
      ''ExecStart="${lib.getExe' default.orin.llm.package "llm-server"}" "--context" "8192" "--device" "cuda" ''
      + ''"--grace" "30" "--host" "127.0.0.1" "--model" "/var/lib/llm/main.gguf" "--parallel" "8" "--port" "8000"''
    )
    "User=llm"
    "WantedBy=multi-user.target"
  ] main;
  "it is sandboxed, but for the GPU" =
    hasLines (gpuSandbox ++ [ "RestrictAddressFamilies=AF_INET" ]) main && !contains "DeviceAllow" main;
  "it starts after the power mode" = contains "nvpmodel.service" main;
  "systemd waits for the model, and for the answers under way" =
    hasLines [
      "TimeoutStartSec=30min"
      "TimeoutStopSec=45"
      "Type=notify"
    ] main
    && hasLines [ "TimeoutStopSec=75" ] chat
    && contains ''"--grace" "60"'' chat;
  "compiled kernels are kept" = hasLines [
    ''Environment="XDG_CACHE_HOME=/var/cache/llm-server-main"''
    "CacheDirectory=llm-server-main"
  ] main;
  "a missing model is a line in the journal and a slow retry" =
    hasLines [
      "Restart=on-failure"
      "RestartSec=30"
      "StartLimitIntervalSec=0"
    ] main
    && contains ''-require-model" "/var/lib/llm/main.gguf" "copy a GGUF file there, or set orin.llm.instances.main.model"'' main;
  "models have a place, and the owner the commands to fetch them" =
    default.systemd.tmpfiles.settings."10-llm"."/var/lib/llm" ? d
    && lib.elem default.orin.llm.package default.environment.systemPackages;

  "options become arguments" = hasLines [
    (
      ''ExecStart="${lib.getExe' default.orin.llm.package "llm-server"}" "--alias" "qwen3" ''
      + ''"--api-key-file" "/run/credentials/llm-server-chat.service/api-keys" "--cache-tokens" "65536" "--context" "32768" ''
      + ''"--cors-origin" "https://a.example.org" "--cors-origin" "https://b.example.org" "--deadline" "120" "--device" "nv" ''
      + ''"--grace" "60" "--host" "0.0.0.0" "--model" "/srv/qwen3.gguf" "--parallel" "4" "--port" "8100" "--queue" "16"''
    )
    "LoadCredential=api-keys:/run/secrets/keys"
    "MemoryMax=24G"
  ] chat;
  "no memory is capped unasked" = !contains "MemoryMax" main;
  "the firewall opens where asked" =
    lib.elem 8100 asked.networking.firewall.allowedTCPPorts
    && !lib.elem 8000 default.networking.firewall.allowedTCPPorts;
  "no assertion fails" = !refuses [ "orin.llm" ] asked;

  "one instance takes the place of the other, on its port" =
    hasLines [ "Conflicts=llm-server-chat.service" ] coder
    && contains "After=network.target nvpmodel.service llm-server-chat.service" coder
    && contains "WantedBy" chat
    && !contains "WantedBy" coder;

  "the kernel search is off, and takes what the board ships where it is on" =
    !contains "JITBEAM" main
    && !contains "bench-warm" (unit watched "llm-server-main.service")
    && hasLines [
      ''Environment="JITBEAM=2"''
      "TimeoutStartSec=infinity"
    ] searched
    && contains ''/bin/bench-warm" "import" "--trust"'' searched
    && contains "require-model" searched;
  "Prometheus scrapes every instance, where there is one" =
    scrapeTargets watched "llm-server" == {
      main = "127.0.0.1:8000";
      searched = "[::1]:8001";
    }
    && !default.services.prometheus.enable;

  "a server without a key that others reach is warned of" =
    lib.any (contains "set orin.llm.instances.a.apiKeyFile") wrong.warnings
    && !lib.any (contains "orin.llm") (asked.warnings ++ default.warnings);
  "two on one port are refused" = refuses [
    "port 8001 is that of c and d"
    "instances.<name>.port"
  ] wrong;
  "two that conflict and both start are refused" = refuses [
    "orin.llm.instances.a and b conflict"
    "b.autoStart = false"
  ] wrong;
  "a conflict with nobody, or with itself, is refused" = refuses [
    "a.conflicts has a, z, no other instance"
  ] wrong;
  "a setting that has an option is refused" = refuses [
    "b.settings has context, device"
    "set the option"
  ] wrong;
  "a model in a home directory is refused" = refuses [
    "/home/ada/m.gguf"
    "move it to /var/lib/llm"
  ] wrong;
  "a firewall that would open nothing is refused" = refuses [
    "c.openFirewall opens nothing"
    "host"
  ] wrong;
}
