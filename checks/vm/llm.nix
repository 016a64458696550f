# modules/llm on a CPU: the service is ready when the model is, asks for the key, answers, is scraped,
# lets an answer under way finish, and gives way to another instance.
self:
let
  tinyModel = import ../tiny-model.nix;
in
{
  name = "llm";

  # The machine's packages are those of its modules' overlays.
  node.pkgsReadOnly = false;

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];

      virtualisation = {
        cores = 2;
        memorySize = 3072;
      };

      orin.telemetry.enable = true;
      orin.llm = {
        enable = true;
        instances = {
          main = {
            device = "cpu";
            contextSize = 256;
            parallel = 2;
            apiKeyFile = "/etc/llm-keys";
          };
          other = {
            model = "${tinyModel pkgs}";
            device = "cpu";
            contextSize = 256;
            conflicts = [ "main" ];
            autoStart = false;
          };
        };
      };

      environment.etc."llm-keys" = {
        text = "secret\n";
        mode = "0400";
      };
      environment.etc."tiny.gguf".source = tinyModel pkgs;
    };

  testScript = ''
    import json

    url = "http://127.0.0.1:8000"
    key = "--header 'Authorization: Bearer secret'"


    def ask(tokens: int, options: str = key) -> str:
        body = json.dumps({"model": "main", "prompt": "Hello", "max_tokens": tokens, "temperature": 0})
        return (
            "curl --fail --silent --header 'Content-Type: application/json'"
            f" {options} --data '{body}' {url}/v1/completions"
        )


    with subtest("without a model the journal says what to do"):
        machine.wait_until_succeeds(
            "journalctl --unit llm-server-main | grep 'no readable model at /var/lib/llm/main.gguf'"
        )

    with subtest("with one the service is ready when it answers"):
        machine.succeed(
            "install --owner=llm /etc/tiny.gguf /var/lib/llm/main.gguf",
            "systemctl restart llm-server-main.service",  # returns when it is ready
            f"curl --fail --silent {url}/health",
        )

    with subtest("it asks for the key, which the process alone can read"):
        machine.fail(ask(4, options=""))
        machine.fail(ask(4, options="--header 'Authorization: Bearer wrong'"))
        machine.fail("su llm --shell /bin/sh --command 'cat /etc/llm-keys'")

    with subtest("it answers"):
        answer = json.loads(machine.succeed(ask(4)))
        assert answer["object"] == "text_completion", answer
        assert 1 <= answer["usage"]["completion_tokens"] <= 4, answer

    with subtest("it keeps its kernels, and nothing else"):
        machine.succeed("test -s /var/cache/llm-server-main/tinygrad/cache.db")

    with subtest("Prometheus reads its metrics"):
        machine.wait_for_unit("prometheus.service")
        machine.wait_until_succeeds(
            "curl --fail --silent 'http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22llm-server%22%7D'"
            ' | grep \'"server":"main"\'.*\'"1"\'''
        )

    with subtest("nobody else can connect"):
        for line in machine.succeed("ss -Hltn sport = :8000").splitlines():
            assert line.split()[3].startswith("127."), line

    with subtest("it is sandboxed"):
        machine.succeed(
            "systemd-analyze security --no-pager --threshold=45 llm-server-main.service"
        )

    with subtest("an answer under way is finished before the service stops"):
        machine.succeed(f"{ask(200)} >/tmp/answer & sleep 1; systemctl stop llm-server-main; wait $!")
        assert json.loads(machine.succeed("cat /tmp/answer"))["choices"][0]["finish_reason"]
        machine.succeed("systemctl start llm-server-main.service")

    with subtest("another instance takes its place, on the same port"):
        machine.succeed("systemctl start llm-server-other.service")
        machine.fail("systemctl is-active llm-server-main.service")
        answer = json.loads(machine.succeed(f"curl --fail --silent {url}/v1/models"))
        assert "tiny" in answer["data"][0]["id"], answer
        machine.succeed("systemctl start llm-server-main.service")
        machine.fail("systemctl is-active llm-server-other.service")
  '';
}
