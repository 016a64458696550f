# modules/llama-cpp: the units as systemd reads them, what Prometheus is told, and what is refused.
{
  lib,
  configure,
  contains,
  gpuSandbox,
  hasLines,
  refuses,
  scrapeTargets,
  unit,
  ...
}:
let
  llama = configure { llama = true; };
  instances = instances: llama { orin.llama = { inherit instances; }; };

  default = llama { };
  main = unit default "llama-cpp-main.service";

  two = instances {
    chat = {
      model = "/var/lib/llama/100% qwen.gguf";
      host = "0.0.0.0";
      apiKeyFile = "/run/secrets/keys";
      openFirewall = true;
      memoryMax = "32G";
      draftModel = "/var/lib/llama/small.gguf";
      metrics = true;
      settings = {
        alias = [
          "a"
          "b"
        ];
        mlock = true;
        jinja = false;
      };
    };
    coder = {
      conflicts = [ "chat" ];
      host = "0.0.0.0";
      autoStart = false;
    };
    embed.port = 8081;
    all = {
      port = 8082;
      modelsDir = "/var/lib/llama";
    };
  };
  chat = unit two "llama-cpp-chat.service";

  # Everything that can be wrong, at once.
  wrong = instances {
    a.settings = {
      gpu-layers = 12;
      port = 9000;
      jinja = true;
    };
    b.model = "/home/ada/m.gguf";
  };
in
{
  "without instances there is one, with all of the GPU and only for this machine" = hasLines [
    (
      ''ExecStart="${lib.getExe' default.orin.llama.package "llama-server"}" "--ctx-size" "8192" "--flash-attn" "auto" ''
      + ''"--gpu-layers" "99" "--host" "127.0.0.1" "--model" "/var/lib/llama/main.gguf" "--parallel" "1" "--port" "8080"''
    )
    "User=llama"
  ] main;
  "the firewall stays shut" = !lib.elem 8080 default.networking.firewall.allowedTCPPorts;
  "it is sandboxed, but for the GPU" = hasLines gpuSandbox main && !contains "DeviceAllow" main;
  "it starts after the power mode" = contains "nvpmodel.service" main;
  "a missing model is a line in the journal and a slow retry" =
    hasLines [
      "Restart=on-failure"
      "RestartSec=30"
      "StartLimitIntervalSec=0"
    ] main
    && contains ''-require-model" "/var/lib/llama/main.gguf" "copy a GGUF file there, or set orin.llama.instances.main.model"'' main;

  "instances are apart" =
    two.systemd.units ? "llama-cpp-embed.service" && !(two.systemd.units ? "llama-cpp-main.service");
  "an instance's model is named after it" = contains ''"--model" "/var/lib/llama/embed.gguf"'' (
    unit two "llama-cpp-embed.service"
  );
  "what systemd would expand is escaped" = contains ''"/var/lib/llama/100%% qwen.gguf"'' chat;
  "keys are read by systemd" =
    hasLines [ "LoadCredential=api-keys:/run/secrets/keys" ] chat
    && contains ''"--api-key-file" "/run/credentials/llama-cpp-chat.service/api-keys"'' chat;
  "settings become options" =
    contains ''"--alias" "a" "--alias" "b"'' chat
    && contains ''"--mlock"'' chat
    && !contains "jinja" chat;
  "a draft model, metrics and a cap on memory are options" =
    contains ''"--model-draft" "/var/lib/llama/small.gguf"'' chat
    && contains ''"--metrics"'' chat
    && hasLines [ "MemoryMax=32G" ] chat;
  "a folder of models takes the place of the model" =
    let
      text = unit two "llama-cpp-all.service";
    in
    contains ''"--models-dir" "/var/lib/llama"'' text
    && contains ''-require-model" "/var/lib/llama" "'' text
    && !contains ''"--model"'' text;
  "an instance takes the place of those it conflicts with, on their port" =
    let
      text = unit two "llama-cpp-coder.service";
    in
    hasLines [
      "After=network.target nvpmodel.service llama-cpp-chat.service"
      "Conflicts=llama-cpp-chat.service"
    ] text
    && !contains "WantedBy" text;
  "Prometheus scrapes those that it may, where there is one" =
    let
      watched =
        configure
          {
            llama = true;
            telemetry = true;
          }
          {
            orin.llama.instances = {
              main = { };
              embed.port = 8081;
              silent = {
                port = 8082;
                metrics = false;
              };
              secret = {
                port = 8083;
                apiKeyFile = "/run/secrets/keys";
              };
            };
          };
    in
    scrapeTargets watched "llama-cpp" == {
      main = "127.0.0.1:8080";
      embed = "127.0.0.1:8081";
    }
    && contains ''"--metrics"'' (unit watched "llama-cpp-main.service")
    && !contains ''"--metrics"'' main;
  "the owner gets the commands" = lib.any (
    package: lib.getName package == "llama-cpp-orin"
  ) default.environment.systemPackages;
  "models have a place" = default.systemd.tmpfiles.settings."10-llama"."/var/lib/llama" ? d;
  "one firewall port where asked" =
    lib.intersectLists [ 8080 8081 ] two.networking.firewall.allowedTCPPorts == [ 8080 ];
  "no assertion fails" = !refuses [ "orin.llama" ] two;

  "two on one port are refused" = refuses [
    "port 8080 is that of a and b"
    "instances.<name>.port"
  ] wrong;
  "a setting that has an option is refused" = refuses [
    "a.settings has gpu-layers, port"
    "set the option"
  ] wrong;
  "a model in a home directory is refused" = refuses [
    "/home/ada/m.gguf"
    "move it"
  ] wrong;
}
