# modules/llama-cpp on a CPU: two instances answer, each its own questions, one with a key; and the
# commands over llama.cpp find it.
self:
let
  tinyModel = import ../tiny-model.nix;
in
{
  name = "llama-cpp";

  # The machine's packages are those of its modules' overlays.
  node.pkgsReadOnly = false;

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ self.nixosModules.default ];

      virtualisation = {
        cores = 2;
        memorySize = 2048;
      };

      orin.llama = {
        enable = true;
        instances = {
          main = {
            contextSize = 256;
            apiKeyFile = "/etc/llama-keys";
          };
          embed = {
            model = "${tinyModel pkgs}";
            contextSize = 256;
            port = 8081;
            metrics = true;
            settings = {
              embeddings = true;
              pooling = "mean"; # which a model for embeddings would say itself
            };
          };
        };
      };

      environment.etc."llama-keys" = {
        text = "secret\n";
        mode = "0400";
      };
      environment.etc."tiny.gguf".source = tinyModel pkgs;
    };

  testScript = ''
    import json

    key = "--header 'Authorization: Bearer secret'"


    def post(port: int, path: str, body: dict, options: str = "") -> str:
        return (
            "curl --fail --silent --header 'Content-Type: application/json'"
            f" {options} --data '{json.dumps(body)}' http://127.0.0.1:{port}{path}"
        )


    question = {"prompt": "Hello", "max_tokens": 4}

    with subtest("without a model the journal says what to do"):
        machine.wait_until_succeeds(
            "journalctl --unit llama-cpp-main | grep 'no readable model at /var/lib/llama/main.gguf'"
        )

    with subtest("with one it answers whoever has the key"):
        machine.succeed(
            "install --owner=llama /etc/tiny.gguf /var/lib/llama/main.gguf",
            "systemctl restart llama-cpp-main.service",
        )
        machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8080/health")
        machine.fail(post(8080, "/v1/completions", question))
        answer = json.loads(machine.succeed(post(8080, "/v1/completions", question, key)))
        assert 1 <= answer["usage"]["completion_tokens"] <= 4, answer

    with subtest("the other instance embeds, and counts"):
        machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8081/health")
        answer = json.loads(machine.succeed(post(8081, "/v1/embeddings", {"input": "Hello"})))
        assert answer["data"][0]["embedding"], answer
        machine.succeed("curl --fail --silent http://127.0.0.1:8081/metrics | grep llamacpp:")

    with subtest("they are sandboxed"):
        machine.succeed(
            "systemd-analyze security --no-pager --threshold=45 llama-cpp-main.service"
        )

    with subtest("the commands find llama.cpp"):
        machine.succeed("llama-benchmark /etc/tiny.gguf -p 16 -n 4 -r 1 | grep '| *pp16 |'")
        machine.fail("qwen3-server 2>/tmp/said")
        machine.succeed("grep 'download-model get' /tmp/said")
  '';
}
