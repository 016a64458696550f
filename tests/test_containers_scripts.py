"""run-vllm-docker and run-mlc-docker: what they check, what they run, and the flags they share."""

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers_support import ROOT, FakeDocker, program

FOLDER = ROOT / "pkgs/vllm-jetson"
RUNTIMES = "info --format {{range $name, $_ := .Runtimes}}"
SPECIFICATIONS = "info --format {{range .CDISpecDirs}}"
SHARED = (FOLDER / "container.flags").read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """A Docker with a description of the GPU."""
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/nvidia.json").write_text('{"kind": "nvidia.com/gpu"}')
    (tmp_path / "bin").mkdir()
    fake = FakeDocker(tmp_path / "bin")
    fake.answers = {SPECIFICATIONS: {"out": f"{tmp_path}/cdi\n"}}
    return fake


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def finish(
    docker: FakeDocker, *arguments: str, command: str = "run-vllm-docker", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FOLDER / command, "--utilization", "0.001", *arguments],
        env=docker.environment | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def command_of(docker: FakeDocker, *arguments: str, **environment: str) -> list[str]:
    """The command that --dry-run prints."""
    done = finish(docker, "--dry-run", "--port", "18765", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


def refusal(docker: FakeDocker, *arguments: str, command: str = "run-vllm-docker") -> str:
    done = finish(docker, *arguments, command=command)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"{command}: ")
    assert not any(call.startswith("run ") for call in docker.calls)
    return lines[0]


def test_runs_the_model_with_the_flags_of_the_nixos_module(docker: FakeDocker) -> None:
    done = finish(docker, "--port", "18765", "some/model", "--", "--seed", "1")
    assert done.returncode == 0, done.stderr
    (command,) = (call for call in docker.calls if call.startswith("run "))
    assert all(flag in command for flag in SHARED)
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(SHARED)
    assert "--device=nvidia.com/gpu=all" in command
    assert "--publish=127.0.0.1:18765:8000" in command
    assert "--memory=48g --memory-swap=48g" in command
    image = (FOLDER / "vllm.image").read_text().strip()
    assert command.endswith(
        f"{image} /serve some/model --gpu-memory-utilization 0.001 --max-model-len 8192 --seed 1"
    )


def test_a_dry_run_starts_nothing(docker: FakeDocker) -> None:
    assert command_of(docker)[:2] == ["docker", "run"]
    assert not any(call.startswith(("run ", "pull ")) for call in docker.calls)


def test_the_key_is_in_no_command_line(docker: FakeDocker, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sesame\n")
    command = command_of(docker, "--listen", "0.0.0.0", "--api-key-file", str(key))
    assert "--env=VLLM_API_KEY" in command
    assert "--publish=0.0.0.0:18765:8000" in command
    assert "sesame" not in " ".join(command)


def test_the_token_is_passed_by_name(docker: FakeDocker) -> None:
    command = command_of(docker, HF_TOKEN="hf_sesame")
    assert "--env=HF_TOKEN" in command and "hf_sesame" not in " ".join(command)


def test_a_folder_is_mounted_to_be_read(docker: FakeDocker, tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    folder.mkdir()
    command = command_of(docker, str(folder))
    assert f"--mount=type=bind,src={folder},dst=/model,readonly" in command
    assert command[command.index("/serve") + 1] == "/model"


def test_mlc_gets_its_own_arguments(docker: FakeDocker) -> None:
    done = finish(docker, "--dry-run", "--port", "18765", command="run-mlc-docker")
    words = shlex.split(done.stdout)
    assert words[-2:] == ["--overrides", "context_window_size=8192;gpu_memory_utilization=0.001"]
    assert (FOLDER / "mlc.image").read_text().strip() in words


def test_nvidias_runtime_will_do(docker: FakeDocker) -> None:
    docker.answers = {RUNTIMES: {"out": "io.containerd.runc.v2\nnvidia\nrunc"}}
    assert "--runtime=nvidia" in command_of(docker)


def test_without_docker(docker: FakeDocker, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for name in ("bash", "env", "dirname", "readlink", "cat", "awk", "grep"):
        (tmp_path / "few" / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        [FOLDER / "run-vllm-docker"],
        env=os.environ | {"PATH": str(tmp_path / "few")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "docker is not installed: on NixOS set orin.containers.enable" in done.stderr


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"info": {"code": 1}}, "cannot talk to the Docker daemon: start it"),
        ({SPECIFICATIONS: {"out": "/nowhere"}}, "Docker cannot reach the GPU"),
        ({SPECIFICATIONS: {"code": 1}}, "Docker cannot reach the GPU"),
        ({"ps": {"out": "vllm"}}, "vllm is running, and two would fight for the memory: stop it"),
    ],
)
def test_what_docker_lacks(docker: FakeDocker, answers: dict[str, object], words: str) -> None:
    docker.answers |= answers  # type: ignore[arg-type]
    assert words in refusal(docker, "--port", "18765")


def test_an_image_that_cannot_be_pulled(docker: FakeDocker) -> None:
    docker.answers |= {"image inspect": {"code": 1}, "pull": {"code": 1}}
    assert "cannot pull some:1: check the name and the network" in (
        finish(docker, "--port", "18765", "--image", "some:1").stderr
    )
    assert not any(call.startswith("run ") for call in docker.calls)


def test_an_image_that_is_there_is_not_pulled(docker: FakeDocker) -> None:
    finish(docker, "--port", "18765")
    assert not any(call.startswith("pull") for call in docker.calls)


def test_a_port_that_is_taken(docker: FakeDocker, port: int) -> None:
    assert f"port {port} is taken" in refusal(docker, "--port", str(port))


def test_more_memory_than_there_is(docker: FakeDocker) -> None:
    line = refusal(docker, "--port", "18765", "--utilization", "0.99999")
    assert "MiB are free: stop another program, or lower it" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "http"], "--port http is no port"),
        (["--port", "70000"], "--port 70000 is no port"),
        (["--port"], "--port needs a value"),
        (["--utilization", "60"], "--utilization 60 is no share of the memory"),
        (["--memory", "much"], "--memory much is no size"),
        (["--context", "long"], "--context long is no number of tokens"),
        (["--gpu"], "unknown option --gpu; --help lists them"),
        (["--api-key-file", "/nowhere/key"], "cannot read /nowhere/key"),
        (["--api-key-file", "/dev/null"], "/dev/null is empty: write a key into it"),
        (["--listen", "0.0.0.0"], "lets the network in, past the firewall: add --api-key-file"),
    ],
)
def test_what_is_mistyped(docker: FakeDocker, arguments: list[str], words: str) -> None:
    assert words in refusal(docker, *arguments)


def test_mlc_knows_no_keys(docker: FakeDocker, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame")
    line = refusal(docker, "--api-key-file", f"{tmp_path}/key", command="run-mlc-docker")
    assert "MLC's server knows no keys" in line


@pytest.mark.parametrize("command", ["run-vllm-docker", "run-mlc-docker"])
def test_help_shows_an_example(docker: FakeDocker, command: str) -> None:
    done = finish(docker, "--help", command=command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}: ") and f"\n  {command} " in done.stdout


def serve(script: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a script of the image makes of its arguments, with servers that print theirs."""
    for name in ("vllm", "python3"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$0 $* key=$VLLM_API_KEY"\n')
        (tmp_path / name).chmod(0o755)
    text = (FOLDER / script).read_text()
    text = text.replace("/run/secrets/api-key", f"{tmp_path}/api-key")
    return subprocess.run(
        ["sh", "-c", text, "serve", "some/model", "--seed", "1"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_image_reads_the_key_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("sesame\n")
    line = serve("serve-vllm", tmp_path).stdout
    assert "vllm serve some/model --seed 1 --host 0.0.0.0 --port 8000 key=sesame" in line


def test_without_a_file_the_key_is_the_environments(tmp_path: Path) -> None:
    assert "key=sesame" in serve("serve-vllm", tmp_path, VLLM_API_KEY="sesame").stdout


def test_an_empty_key_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "api-key").touch()
    done = serve("serve-vllm", tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "write a key into it" in done.stderr


def test_a_key_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "api-key").mkdir()  # stands in for permissions, which root does not feel
    done = serve("serve-vllm", tmp_path)
    assert done.returncode and not done.stdout


def test_mlc_serves_on_the_containers_port(tmp_path: Path) -> None:
    line = serve("serve-mlc", tmp_path).stdout
    assert "-m mlc_llm serve some/model --seed 1 --host 0.0.0.0 --port 8000" in line


def test_shellcheck_finds_nothing() -> None:
    scripts = [path for path in FOLDER.iterdir() if path.name.startswith(("run", "serve"))]
    done = subprocess.run(
        [program("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR", *scripts],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("engine", ["vllm", "mlc"])
def test_images_are_pinned_for_jetpack_6(engine: str) -> None:
    name, _, tag = (FOLDER / f"{engine}.image").read_text().strip().partition(":")
    assert name and "r36.4" in tag and "latest" not in tag
