# llm-server and download-model, which fetches what it serves.
{
  lib,
  callPackage,
  orin-llm,
  python3Packages,
}:
let
  second = 1000000000; # of nanoseconds, in which the format counts
in
callPackage ../container-image.nix { } {
  name = "llm-server";
  inherit (orin-llm.meta) description;
  packages = [ orin-llm ];

  config = {
    Entrypoint = [ "/bin/llm-server" ];
    Cmd = [
      "--model"
      "/models/model.gguf"
      "--host"
      "0.0.0.0"
    ];
    ExposedPorts."8000/tcp" = { };
    Healthcheck = {
      Test = [
        "CMD"
        (lib.getExe python3Packages.python)
        "-c"
        "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"
      ];
      Interval = 30 * second;
      StartPeriod = 600 * second; # loading and compiling a model; /health says 503 meanwhile
    };
  };
}
