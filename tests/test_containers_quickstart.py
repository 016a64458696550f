"""containers/quickstart against a Docker that remembers and a server that answers: all of it, each
thing that can be missing, and that a second call changes nothing."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from containers_support import ROOT, FakeDocker

SPECIFICATIONS = "info --format {{range .CDISpecDirs}}"
RUNTIMES = "info --format {{json .Runtimes}}"

SERVER = """
import http.server, json, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.answer(int(sys.argv[2]) if self.path == "/health" else 404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        pathlib.Path(sys.argv[3]).write_text(
            json.dumps({"key": self.headers["Authorization"], **json.loads(body)})
        )
        if sys.argv[4] == "broken":
            self.answer(500, {"error": {"message": "no kernel"}})
        else:
            message = {"content": "<think>\\n\\n</think>\\n\\nA small computer."}
            self.answer(200, {"choices": [{"message": message}]})

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Quickstart:
    """A copy of containers/, and what calls the quickstart in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "containers"
        (folder / "bin").mkdir()
        self.docker = FakeDocker(folder / "bin")
        self.asked = folder / "asked"
        shutil.copytree(
            ROOT / "containers",
            self.folder,
            ignore=shutil.ignore_patterns(".env", "secrets", "models"),
        )
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        api, tls, prometheus = (port.getsockname()[1] for port in ports)
        for port in ports:
            port.close()
        self.port = api
        example = self.folder / ".env.example"
        text = example.read_text().replace("API_PORT=8080", f"API_PORT={api}")
        text = text.replace("API_TLS_PORT=8443", f"API_TLS_PORT={tls}")
        example.write_text(text.replace("PROMETHEUS_PORT=9090", f"PROMETHEUS_PORT={prometheus}"))
        self.docker.answers = {
            "info --format {{.ServerVersion}}": {"out": "28.2.2"},
            "info --format {{.DockerRootDir}}": {"out": str(folder)},
            "compose version": {"out": "2.40.3"},
            "compose run": {"out": "/models/Qwen3-0.6B-Q8_0.gguf"},
        }
        self.serve()

    def serve(self, health: int = 200, kind: str = "well") -> None:
        """What `docker compose up` starts."""
        arguments = [str(self.port), str(health), str(self.asked), kind]
        self.docker.answers["compose up"] = {"start": [sys.executable, "-c", SERVER, *arguments]}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.folder / "quickstart", *arguments],
            env=self.docker.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refusal(self, *arguments: str) -> str:
        """The last line of a call that fails, with nothing else that looks like an error."""
        done = self(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip().splitlines()[-1]

    @property
    def settings(self) -> dict[str, str]:
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    made = Quickstart(tmp_path)
    yield made
    made.docker.stop()


@pytest.fixture
def module() -> ModuleType:
    """The script, imported."""
    loader = importlib.machinery.SourceFileLoader("quickstart", f"{ROOT}/containers/quickstart")
    spec = importlib.util.spec_from_loader("quickstart", loader)
    assert spec
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded


def test_serves_asks_and_says_how_to_stop(quickstart: Quickstart) -> None:
    done = quickstart("--question", "What are you?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\nWhat are you?\n\nA small computer.\n\n"
    assert f"serving http://127.0.0.1:{quickstart.port}/v1" in done.stderr
    assert "--down" in done.stderr.splitlines()[-1]

    order = ["compose build", "compose run --rm -T download qwen3-0.6b", "compose up --detach"]
    calls = quickstart.docker.calls
    places = [next(i for i, call in enumerate(calls) if call.startswith(part)) for part in order]
    assert places == sorted(places)

    asked = json.loads(quickstart.asked.read_text())
    key = quickstart.folder / "secrets/api-key"
    assert asked["key"] == f"Bearer {key.read_text().strip()}" and len(asked["key"]) > 40
    assert asked["model"] == "Qwen3-0.6B-Q8_0"
    assert key.parent.stat().st_mode & 0o777 == 0o700  # keeps other users of the machine out
    assert quickstart.settings["COMPOSE_FILE"] == "compose.yaml"
    assert "Docker reaches no GPU here: using the CPU" in done.stderr


def test_a_second_call_keeps_key_and_settings(quickstart: Quickstart) -> None:
    assert quickstart().returncode == 0
    env, key = quickstart.folder / ".env", quickstart.folder / "secrets/api-key"
    env.write_text(env.read_text().replace("CONTEXT=8192", "CONTEXT=4096"))
    before = env.read_text(), key.read_text()
    # What runs holds its ports.
    quickstart.docker.answers |= {"compose ps": {"out": "0123456789ab"}, "compose up": {}}
    assert quickstart().returncode == 0
    assert (env.read_text(), key.read_text()) == before


def test_another_model_is_served_under_its_own_file(quickstart: Quickstart) -> None:
    example = quickstart.folder / ".env.example"
    example.write_text(example.read_text().replace("MODEL=qwen3-0.6b", "MODEL=qwen3-1.7b"))
    quickstart.docker.answers["compose run"] = {"out": "/models/Qwen3-1.7B-Q8_0.gguf"}
    assert quickstart().returncode == 0
    assert quickstart.settings["MODEL_FILE"] == "Qwen3-1.7B-Q8_0.gguf"
    assert json.loads(quickstart.asked.read_text())["model"] == "Qwen3-1.7B-Q8_0"


def test_the_gpu_by_its_description(quickstart: Quickstart, tmp_path: Path) -> None:
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/nvidia.yaml").write_text("kind: nvidia.com/gpu\n")
    quickstart.docker.answers[SPECIFICATIONS] = {"out": f"/nowhere\n{tmp_path}/cdi"}
    assert quickstart().returncode == 0
    assert quickstart.settings["COMPOSE_FILE"] == "compose.yaml:compose.cdi.yaml"
    assert quickstart.settings["DEVICE"] == "cuda"
    assert "cuda" in quickstart.settings["BASE"]


def test_the_gpu_by_nvidias_runtime(quickstart: Quickstart) -> None:
    quickstart.docker.answers[RUNTIMES] = {"out": '{"nvidia":{"path":"nvidia"},"runc":{}}'}
    assert quickstart().returncode == 0
    assert quickstart.settings["COMPOSE_FILE"] == "compose.yaml:compose.nvidia.yaml"


def test_the_gpu_may_be_left_alone(quickstart: Quickstart) -> None:
    quickstart.docker.answers[RUNTIMES] = {"out": '{"nvidia":{}}'}
    assert quickstart().returncode == 0
    quickstart.docker.stop()
    assert quickstart("--cpu").returncode == 0
    assert quickstart.settings["COMPOSE_FILE"] == "compose.yaml"
    assert quickstart.settings["DEVICE"] == "cpu"


def test_a_gpu_that_is_gone_is_missed(quickstart: Quickstart) -> None:
    quickstart.docker.answers[RUNTIMES] = {"out": '{"nvidia":{}}'}
    assert quickstart().returncode == 0
    quickstart.docker.stop()
    del quickstart.docker.answers[RUNTIMES]
    assert "wants the GPU, which Docker cannot reach" in quickstart.refusal()


def test_a_jetson_without_its_gpu_says_how_to_get_it(
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / ".env.example").write_text((ROOT / "containers/.env.example").read_text())
    (tmp_path / "nvmap").touch()
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "NVMAP", tmp_path / "nvmap")
    monkeypatch.setattr(module, "find_gpu", lambda: None)
    assert module.configure(cpu=False)["DEVICE"] == "cpu"
    assert "cannot reach this Jetson's GPU" in capfd.readouterr().err

    (tmp_path / ".env").unlink()
    monkeypatch.setattr(module, "find_gpu", lambda: "compose.nvidia.yaml")
    settings = module.configure(cpu=False)
    assert "l4t-jetpack" in settings["BASE"]
    assert settings["GPU_GROUP"] == str((tmp_path / "nvmap").stat().st_gid)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"info --format {{.ServerVersion}}": {"code": 1}}, "daemon does not answer: start it"),
        (
            {"info --format {{.ServerVersion}}": {"code": 1, "err": "permission denied while"}},
            "you may not use Docker: run this with sudo",
        ),
        ({"compose version": {"code": 1}}, "Compose plugin is missing: install"),
        ({"compose version": {"out": "v2.17.2"}}, "Docker Compose is v2.17.2: update it"),
        ({"compose build": {"code": 17}}, "the image was not built: see above"),
        ({"compose run": {"code": 2}}, "copy Qwen3-0.6B-Q8_0.gguf into"),
        (
            {"compose up": {"code": 1}, "compose logs": {"out": "llm-server: not a GGUF file"}},
            "not ready within 900 s (llm-server: not a GGUF file)",
        ),
    ],
)
def test_what_docker_lacks(
    quickstart: Quickstart, answers: dict[str, dict[str, object]], words: str
) -> None:
    quickstart.docker.answers |= answers
    assert words in quickstart.refusal()


def test_without_docker(quickstart: Quickstart, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, quickstart.folder / "quickstart"],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("quickstart: docker is not installed")


def test_a_port_that_is_taken(quickstart: Quickstart) -> None:
    with socket.create_server(("127.0.0.1", quickstart.port)):
        assert f"port {quickstart.port} is taken: stop what listens" in quickstart.refusal()


def test_ports_and_addresses_that_are_none(quickstart: Quickstart) -> None:
    example = quickstart.folder / ".env.example"
    text = example.read_text()
    example.write_text(text.replace(f"API_PORT={quickstart.port}", "API_PORT=http"))
    assert "API_PORT=http is no port: correct it in" in quickstart.refusal()
    (quickstart.folder / ".env").unlink()
    example.write_text(text.replace("API_LISTEN=127.0.0.1", "API_LISTEN=192.0.2.1"))
    assert "API_LISTEN=192.0.2.1 is no address of this machine" in quickstart.refusal()


def test_too_little_disk(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "output", lambda *_: "/")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=3e9))
    with pytest.raises(SystemExit):
        module.check_disk({"DEVICE": "cpu"})
    assert "/ has 3 GB free, and images and model take 6: make room" in capfd.readouterr().err


def test_a_server_that_stays_unhealthy(quickstart: Quickstart) -> None:
    quickstart.serve(health=503)
    assert "not ready within 1 s (/health says 503)" in quickstart.refusal("--timeout", "1")


def test_a_server_that_cannot_answer(quickstart: Quickstart) -> None:
    quickstart.serve(kind="broken")
    assert "the server answered 500" in quickstart.refusal()


def test_down(quickstart: Quickstart) -> None:
    assert quickstart().returncode == 0
    done = quickstart("--down")
    assert done.returncode == 0 and "stopped" in done.stderr
    assert quickstart.docker.calls[-1] == "compose down"


def test_down_before_anything_was_up(quickstart: Quickstart) -> None:
    assert quickstart("--down").returncode == 0
    assert "compose down" not in quickstart.docker.calls
