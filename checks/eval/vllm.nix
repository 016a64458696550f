# modules/vllm: the units as systemd reads them, what Docker is told, and what is refused.
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
  vllm = configure { vllm = true; };
  instances = instances: vllm { orin.vllm = { inherit instances; }; };

  default = vllm { };
  main = unit default "vllm-main.service";
  # One line, without the shell's quotes.
  run =
    config: name:
    lib.replaceStrings [ "'" " \\\n " ] [ "" "" ] config.systemd.services."vllm-${name}".script;
  container = config: name: config.virtualisation.oci-containers.containers."vllm-${name}";

  two = instances {
    chat = {
      autoStart = true;
      host = "0.0.0.0";
      port = 8100;
      apiKeyFile = "/run/secrets/keys";
      tokenFile = "/run/secrets/token";
      gpuMemoryUtilization = 0.5;
      settings.enable-prefix-caching = true;
    };
    coder.model = "/var/lib/models/coder";
  };
  chat = unit two "vllm-chat.service";
  coder = unit two "vllm-coder.service";
  flags =
    name:
    lib.splitString "\n" (lib.trim (builtins.readFile (../../pkgs/vllm-jetson + "/${name}.flags")));
in
{
  "without instances there is one, in Docker, that starts with the board" =
    default.virtualisation.oci-containers.backend == "docker"
    && default.systemd.services.vllm-main.wantedBy == [ "multi-user.target" ];
  "it has the GPU, and listens on this machine only" =
    contains "--device=nvidia.com/gpu=all" (run default "main")
    && contains "-p 127.0.0.1:8000:8000" (run default "main")
    && !contains "--privileged" (run default "main")
    && !contains "--network=host" (run default "main");
  "it may write to its cache and nowhere else, and has no rights" =
    lib.all (flag: lib.elem flag (container default "main").extraOptions) [
      "--read-only"
      "--cap-drop=ALL"
      "--security-opt=no-new-privileges"
    ]
    && (container default "main").volumes == [ "/var/lib/vllm:/cache" ];
  "it has the flags that run-vllm-docker has" = lib.all (
    flag: lib.elem flag (container default "main").extraOptions
  ) (flags "container" ++ flags "vllm");
  "its memory is capped, and its share of the board's" =
    contains "--memory=48g" (run default "main")
    && contains "--memory-swap=48g" (run default "main")
    && contains "--gpu-memory-utilization 0.6" (run default "main")
    && contains "--max-model-len 8192" (run default "main");
  "the image is pinned, and for this board" =
    let
      inherit (container default "main") image;
    in
    lib.hasInfix ":" image && lib.hasInfix "r36.4" image && !lib.hasInfix "latest" image;
  "an image that cannot be pulled is a line in the journal and a slow retry" =
    hasLines [
      "Restart=on-failure"
      "RestartSec=30"
      "StartLimitIntervalSec=0"
    ] main
    && contains "-require-image\"" main
    && contains "\"orin.vllm.instances.main.image\"" main
    && contains "--pull never" (run default "main");
  "it starts after the power mode and the GPU's description" =
    contains "nvpmodel.service" main && contains "nvidia-container-toolkit-cdi-generator.service" main;
  "Docker's client is sandboxed" = hasLines [
    "CapabilityBoundingSet="
    "NoNewPrivileges=true"
    "PrivateDevices=true"
    "ProtectSystem=strict"
    "RestrictAddressFamilies=AF_UNIX"
  ] main;
  "the cache is root's" =
    default.systemd.tmpfiles.settings."10-vllm"."/var/lib/vllm".d.mode == "0700";
  "the command for hand use is there" =
    lib.elem default.orin.vllm.package default.environment.systemPackages;

  "instances stop one another" =
    hasLines [ "Conflicts=vllm-coder.service" ] chat
    && hasLines [ "Conflicts=vllm-chat.service" ] coder
    && contains "vllm-chat.service" coder;
  "one alone starts with the board" =
    two.systemd.services.vllm-chat.wantedBy == [ "multi-user.target" ]
    && two.systemd.services.vllm-coder.wantedBy == [ ];
  "MLC's instances count among them" =
    let
      both = configure {
        vllm = true;
        mlc = true;
      } { orin.mlc.instances.main.autoStart = false; };
    in
    hasLines [ "Conflicts=mlc-main.service" ] (unit both "vllm-main.service")
    && hasLines [ "Conflicts=vllm-main.service" ] (unit both "mlc-main.service");
  "the key is a file that the container reads, and in no command line" =
    contains "--mount=type=bind,src=/run/secrets/keys,dst=/run/secrets/api-key,readonly" (
      run two "chat"
    )
    && !contains "--api-key" (run two "chat")
    && contains "\"/run/secrets/keys\" \"write a key there" chat;
  "so is the token of Hugging Face" =
    contains "src=/run/secrets/token,dst=/run/secrets/hugging-face-token,readonly" (run two "chat")
    && contains "HF_TOKEN_PATH=/run/secrets/hugging-face-token" (run two "chat");
  "a folder is mounted to be read" =
    contains "src=/var/lib/models/coder,dst=/model,readonly" (run two "coder")
    && contains "/serve /model" (run two "coder")
    && contains "copy a folder with a model there" coder;
  "settings become options" = contains "--enable-prefix-caching" (
    lib.concatStringsSep " " (container two "chat").cmd
  );
  "where it is told to, it listens elsewhere" = contains "-p 0.0.0.0:8100:8000" (run two "chat");
  "no assertion fails" = !refuses [ "orin." ] two;

  "two that start with the board are refused" =
    refuses [ "vllm-a and vllm-b" "autoStart" ]
      (instances {
        a.autoStart = true;
        b.autoStart = true;
      });
  "so are vLLM's and MLC's" = refuses [ "mlc-main and vllm-main" "autoStart" ] (
    configure {
      vllm = true;
      mlc = true;
    } { }
  );
  "the network without a key is refused" =
    refuses [ "main.host is 0.0.0.0" "apiKeyFile" ]
      (instances {
        main.host = "0.0.0.0";
      });
  "a setting that has an option is refused" =
    refuses [ "main.settings has max-model-len, port" "set the option" ]
      (instances {
        main.settings = {
          max-model-len = 12;
          port = 9000;
          seed = 1;
        };
      });
}
