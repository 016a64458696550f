# modules/vllm with a server and a GPU that are stand-ins: the image is waited for, the key is
# asked for, nothing outside the cache can be written, and starting an instance stops the other.
self:
let
  # Answers on vLLM's paths, and says what it sees of its container.
  server =
    pkgs:
    pkgs.writeScriptBin "vllm" ''
      #!${pkgs.python3}/bin/python3
      import http.server
      import json
      import os
      import sys


      class Handler(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              key = os.environ.get("VLLM_API_KEY")
              allowed = self.path == "/health" or not key or self.headers["Authorization"] == f"Bearer {key}"
              self.send_response(200 if allowed else 401)
              self.end_headers()
              if allowed:
                  self.wfile.write(json.dumps(seen()).encode())


      def writable(folder):
          try:
              with open(f"{folder}/probe", "w"):
                  return True
          except OSError:
              return False


      def seen():
          status = dict(line.split(":\t", 1) for line in open("/proc/self/status"))
          return {
              "arguments": sys.argv[1:],
              "capabilities": status["CapEff"].strip(),
              "gpu": os.environ.get("FAKE_GPU"),
              "writable": [folder for folder in ("/", "/etc", "/cache", "/tmp") if writable(folder)],
          }


      port = int(sys.argv[sys.argv.index("--port") + 1])
      http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
    '';

  image =
    pkgs:
    pkgs.dockerTools.streamLayeredImage {
      name = "fake-vllm";
      tag = "1";
      contents = [
        pkgs.busybox
        pkgs.python3
        (server pkgs)
      ];
      extraCommands = "mkdir -p tmp cache run/secrets";
      config.Env = [ "PATH=/bin" ];
    };
in
{
  name = "containers";

  node.pkgsReadOnly = false;

  nodes.machine =
    { lib, pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];

      virtualisation.memorySize = 2048;
      virtualisation.diskSize = 4096;

      orin.vllm = {
        enable = true;
        instances = {
          chat = {
            image = "fake-vllm:1";
            autoStart = true;
            memory = "512m";
            apiKeyFile = "/run/vllm-key";
          };
          coder = {
            image = "fake-vllm:1";
            memory = "512m";
            model = "/srv/coder";
          };
        };
      };

      # A description of a GPU, as the generator would write it for a real one.
      hardware.nvidia-container-toolkit.enable = lib.mkForce false;
      virtualisation.docker.daemon.settings.features.cdi = true;
      environment.etc."cdi/fake.json".text = builtins.toJSON {
        cdiVersion = "0.5.0";
        kind = "nvidia.com/gpu";
        devices = [
          {
            name = "all";
            containerEdits.env = [ "FAKE_GPU=all" ];
          }
        ];
      };

      environment.etc."fake-vllm".source = image pkgs;
      systemd.tmpfiles.settings.model."/srv/coder".d.mode = "0755";
    };

  testScript = ''
    import json

    def get(path, options=""):
        return f"curl --silent --fail {options} http://127.0.0.1:8000{path}"

    machine.wait_for_unit("docker.service")

    with subtest("without a key, and then without an image, the journal says what to do"):
        machine.wait_until_succeeds("journalctl --unit vllm-chat | grep 'write a key there'")
        machine.succeed("install --mode 0400 /dev/stdin /run/vllm-key <<<secret")
        machine.succeed("systemctl restart --no-block vllm-chat")
        machine.wait_until_succeeds("journalctl --unit vllm-chat | grep 'cannot pull fake-vllm:1'")

    with subtest("with both it serves, to those who know the key"):
        machine.succeed("/etc/fake-vllm | docker load")
        machine.succeed("systemctl restart --no-block vllm-chat")
        machine.wait_until_succeeds(get("/health"))
        machine.fail(get("/v1/models"))
        machine.succeed(get("/v1/models", "--header 'Authorization: Bearer secret'"))

    with subtest("it has the GPU, no rights, and writes to its cache"):
        seen = json.loads(machine.succeed(get("/health")))
        assert seen["gpu"] == "all", seen
        assert int(seen["capabilities"], 16) == 0, seen
        assert seen["writable"] == ["/cache", "/tmp"], seen
        machine.succeed("test -e /var/lib/vllm/probe")

    with subtest("the key is in no command line"):
        machine.fail("docker inspect vllm-chat | grep --word-regexp secret")
        machine.fail("ps -ef | grep --word-regexp '[s]ecret'")

    with subtest("only this machine can connect"):
        machine.succeed("ss --listening --tcp --numeric | grep 127.0.0.1:8000")
        machine.fail("ss --listening --tcp --numeric | grep -F -e 0.0.0.0:8000 -e '*:8000'")

    with subtest("starting one instance stops the other"):
        machine.succeed("systemctl start vllm-coder")
        machine.wait_until_succeeds(get("/health") + " | grep /model")
        machine.fail("systemctl is-active vllm-chat")
        assert machine.succeed("docker ps --format '{{.Names}}'").split() == ["vllm-coder"]

    with subtest("what runs is what Docker calls healthy"):
        machine.wait_until_succeeds("docker inspect --format '{{.State.Health.Status}}' vllm-coder | grep '^healthy'")

    with subtest("Docker's client is sandboxed"):
        machine.succeed("systemd-analyze security --no-pager --threshold=25 vllm-coder.service")
  '';
}
