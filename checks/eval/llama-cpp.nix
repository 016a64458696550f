# modules/llama-cpp: the units as systemd reads them, and what is refused.
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
  llama = configure { llama = true; };
  instances = instances: llama { orin.llama = { inherit instances; }; };

  default = llama { };
  main = unit default "llama-cpp-main.service";

  two = instances {
    chat = {
      model = "/var/lib/llama/100% qwen.gguf";
      apiKeyFile = "/run/secrets/keys";
      openFirewall = true;
      settings = {
        alias = [
          "a"
          "b"
        ];
        metrics = true;
        jinja = false;
      };
    };
    embed.port = 8081;
  };
  chat = unit two "llama-cpp-chat.service";
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
    && contains ''"--metrics"'' chat
    && !contains "jinja" chat;
  "models have a place" = default.systemd.tmpfiles.settings."10-llama"."/var/lib/llama" ? d;
  "one firewall port where asked" =
    lib.intersectLists [ 8080 8081 ] two.networking.firewall.allowedTCPPorts == [ 8080 ];
  "no assertion fails" = !refuses [ "orin.llama" ] two;

  "two on one port are refused" =
    refuses [ "port 8080 is that of a and b" "instances.<name>.port" ]
      (instances {
        a = { };
        b = { };
      });
  "a setting that has an option is refused" =
    refuses [ "a.settings has gpu-layers, port" "set the option" ]
      (instances {
        a.settings = {
          gpu-layers = 12;
          port = 9000;
          jinja = true;
        };
      });
  "a model in a home directory is refused" = refuses [ "/home/ada/m.gguf" "move it" ] (instances {
    a.model = "/home/ada/m.gguf";
  });
}
