"""containers/compose.yaml as Compose itself reads it, the proxy in front of a server, and what
Prometheus is told."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers_support import ROOT, program

FOLDER = ROOT / "containers"
SERVERS = ("llm-server", "api", "prometheus")
GPU_FILES = ("compose.cdi.yaml", "compose.nvidia.yaml")


def compose(*files: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` makes of files and the settings of .env.example."""
    arguments = [argument for file in ("compose.yaml", *files) for argument in ("-f", file)]
    arguments += ["--env-file", ".env.example", "--profile", "*"]
    return subprocess.run(
        [program("docker-compose"), *arguments, "config", "--format", "json"],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def read(*files: str, **settings: str) -> dict[str, Any]:
    done = compose(*files, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services, by name, without a GPU."""
    found: dict[str, dict[str, Any]] = read()["services"]
    return found


def test_there_are_the_servers_and_the_download(services: dict[str, Any]) -> None:
    assert set(services) == {*SERVERS, "download"}
    assert services["download"]["profiles"] == ["download"]  # by hand only


@pytest.mark.parametrize("name", [*SERVERS, "download"])
def test_a_service_has_no_more_rights_than_it_needs(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "api" else [])
    assert not service.get("privileged") and "network_mode" not in service
    assert int(service["mem_limit"]) > 0 and service["pids_limit"] > 0


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_watched_and_started_again(services: dict[str, Any], name: str) -> None:
    assert services[name]["healthcheck"]["test"][0] == "CMD"
    assert services[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["api", "prometheus"])
def test_foreign_images_are_pinned(services: dict[str, Any], name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", services[name]["image"])


def test_ports_are_this_machines_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["published"] for port in ports} == {"8080", "8443", "9090"}
    assert "ports" not in services["llm-server"]


def test_the_server_has_no_way_out(services: dict[str, Any]) -> None:
    assert list(services["llm-server"]["networks"]) == ["inside"]
    assert read()["networks"]["inside"]["internal"]


def test_the_endpoint_waits_for_the_model(services: dict[str, Any]) -> None:
    assert services["api"]["depends_on"]["llm-server"]["condition"] == "service_healthy"


def test_the_key_is_a_file(services: dict[str, Any]) -> None:
    assert services["llm-server"]["secrets"][0]["source"] == "api-key"
    assert "--api-key-file=/run/secrets/api-key" in services["llm-server"]["command"]


def test_llm_server_takes_the_command(services: dict[str, Any]) -> None:
    """Its own parser reads every option; what it says is about the model, which is not here."""
    done = subprocess.run(
        [sys.executable, "-m", "orin_llm.server.command", *services["llm-server"]["command"][1:]],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "/models/Qwen3-0.6B-Q8_0.gguf: no such file" in done.stderr


def test_models_are_written_by_the_download_alone(services: dict[str, Any]) -> None:
    def models(name: str) -> dict[str, Any]:
        volumes: list[dict[str, Any]] = services[name]["volumes"]
        return next(volume for volume in volumes if volume["target"] == "/models")

    assert models("llm-server")["read_only"] and not models("download").get("read_only")
    assert models("llm-server")["source"] == models("download")["source"] == "models"


def test_models_may_be_a_folder() -> None:
    volumes = read(MODELS="./models")["services"]["llm-server"]["volumes"]
    assert {"bind", "volume"} == {volume["type"] for volume in volumes}


@pytest.mark.parametrize("file", GPU_FILES)
def test_the_gpu_is_added_and_nothing_lost(services: dict[str, Any], file: str) -> None:
    with_gpu = read(file, GPU_GROUP="26")["services"]["llm-server"]
    added = {
        name: with_gpu[name]
        for name in with_gpu
        if with_gpu[name] != services["llm-server"].get(name)
    }
    assert added.pop("group_add") == ["26"]
    if file == "compose.cdi.yaml":
        assert [device["source"] for device in added.pop("devices")] == ["nvidia.com/gpu=all"]
    else:
        assert added.pop("runtime") == "nvidia"
        assert added.pop("environment")["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert added == {}


def test_a_missing_env_file_says_what_to_do() -> None:
    done = subprocess.run(
        [program("docker-compose"), "-f", "compose.yaml", "--env-file", "/dev/null", "config"],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and "copy .env.example to .env" in done.stderr


def test_every_variable_is_in_the_example_and_no_other() -> None:
    used = {
        name
        for file in ("compose.yaml", *GPU_FILES)
        for name in re.findall(r"\$\{(\w+)", (FOLDER / file).read_text())
    }
    example = (FOLDER / ".env.example").read_text()
    assert used | {"COMPOSE_FILE"} == set(re.findall(r"(?m)^(\w+)=", example))


def test_prometheus_scrapes_the_server() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "config", FOLDER / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "targets: [llm-server:8000]" in (FOLDER / "prometheus.yml").read_text()


UPSTREAM = """
import http.server, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        for part in (b"first", b"second"):
            self.wfile.write(part)
            self.wfile.flush()
            time.sleep(0.5 if self.path == "/v1/stream" else 0)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Caddy with our Caddyfile, before a server that streams."""
    caddy, folder = program("caddy"), tmp_path_factory.mktemp("caddy")
    port, upstream, health = free_port(), free_port(), free_port()
    text = (FOLDER / "Caddyfile").read_text()
    text = text.replace("llm-server:8000", f"127.0.0.1:{upstream}")
    text = text.replace("http_port 8080", f"http_port {port}").replace("8081", str(health))
    (folder / "Caddyfile").write_text(text)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SITE": "http://"}
    command = [caddy, "run", "--adapter=caddyfile", f"--config={folder / 'Caddyfile'}"]
    with (
        subprocess.Popen([sys.executable, "-c", UPSTREAM, str(upstream)]) as server,
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running,
    ):
        try:
            for _ in range(100):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    urllib.request.urlopen(f"http://127.0.0.1:{health}/", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            server.terminate()


def test_the_endpoint_passes_the_api_on(proxy: str) -> None:
    with urllib.request.urlopen(f"{proxy}/v1/models", timeout=5) as response:
        assert response.read() == b"firstsecond"


def test_the_endpoint_passes_tokens_on_as_they_come(proxy: str) -> None:
    with urllib.request.urlopen(f"{proxy}/v1/stream", timeout=5) as response:
        assert response.read1(5) == b"first"
        first = time.monotonic()
        assert response.read(6) == b"second"
        assert time.monotonic() - first > 0.2


@pytest.mark.parametrize("path", ["/metrics", "/", "/docs", "/v2/models"])
def test_the_endpoint_shows_nothing_else(proxy: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{proxy}{path}", timeout=5)
    assert caught.value.code == 404


@pytest.mark.parametrize("site", ["http://", "localhost", "orin.example.org"])
def test_caddy_takes_every_kind_of_site(site: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [program("caddy"), "validate", "--adapter=caddyfile", f"--config={FOLDER / 'Caddyfile'}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SITE": site},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
