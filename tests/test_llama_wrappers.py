"""qwen3-server, qwen3-coder and llama-benchmark, over stubs that only say how they were called."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / "pkgs"
COMMANDS = PACKAGES / "llama-cpp-orin"
CATALOGUE = PACKAGES / "orin-llm" / "src" / "orin_llm" / "models" / "catalogue.toml"
PROGRAMS = {
    "qwen3-server": "llama-server",
    "qwen3-coder": "llama-cli",
    "llama-benchmark": "llama-bench",
}
DEFAULTS = {
    "qwen3-server": "Qwen3-8B-Q4_K_M.gguf",
    "qwen3-coder": "Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf",
    "llama-benchmark": "Qwen3-8B-Q4_K_M.gguf",
}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder to call the commands in, with the stubs in `bin`."""
    (tmp_path / "bin").mkdir()
    for program in PROGRAMS.values():
        stub = tmp_path / "bin" / program
        stub.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\nexit 7\n')
        stub.chmod(0o755)
    return tmp_path


def call(
    folder: Path, command: str, *arguments: str, installed: bool = True, model: str | None = None
) -> subprocess.CompletedProcess[str]:
    tools = {Path(found).parent for name in ("bash", "dirname") if (found := shutil.which(name))}
    path = [folder / "bin"] if installed else []
    environment = {"PATH": ":".join(map(str, [*path, *tools])), "HOME": str(folder)}
    if model is not None:
        environment["MODEL"] = model
    return subprocess.run(
        [COMMANDS / command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
    )


def gguf(path: Path) -> str:
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    return str(path)


def given(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The words that the program was called with."""
    assert done.stderr == ""
    assert done.returncode == 7  # the program's own
    return done.stdout.splitlines()


def option(words: list[str], name: str) -> str:
    """What an option is in the end: the last one wins."""
    return words[len(words) - words[::-1].index(name)]


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_missing_model_is_one_line_with_the_remedy(bench: Path, command: str) -> None:
    done = call(bench, command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{command}: no {DEFAULTS[command]} ")
    name = line.partition("download-model get ")[2].partition(",")[0]
    models = {
        model["name"]: model["file"] for model in tomllib.loads(CATALOGUE.read_text())["model"]
    }
    assert models[name] == DEFAULTS[command]


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_model_that_is_named_and_missing_is_named_back(bench: Path, command: str) -> None:
    for done in (call(bench, command, "no such.gguf"), call(bench, command, model="no such.gguf")):
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{command}: no model at no such.gguf: download-model get ")


@pytest.mark.parametrize("content", [b"", b"GG", b"\x80\x02\x00\x00ab", b"<html>"])
def test_what_is_no_gguf_file_is_refused(bench: Path, content: bytes) -> None:
    (bench / "m.gguf").write_bytes(content)
    done = call(bench, "qwen3-server", "m.gguf")
    assert done.returncode == 2
    assert "m.gguf is no GGUF file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_is_no_model(bench: Path) -> None:
    assert "no model at ." in call(bench, "qwen3-server", ".").stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_model_of_somebody_else_is_named(bench: Path) -> None:
    Path(gguf(bench / "m.gguf")).chmod(0)
    assert "cannot read m.gguf" in call(bench, "qwen3-server", "m.gguf").stderr


@pytest.mark.parametrize("command", PROGRAMS)
def test_the_usual_model_is_found_here(bench: Path, command: str) -> None:
    gguf(bench / DEFAULTS[command])
    assert option(given(call(bench, command)), "--model") == f"./{DEFAULTS[command]}"


@pytest.mark.parametrize("command", PROGRAMS)
def test_the_usual_model_is_found_where_download_model_puts_it(bench: Path, command: str) -> None:
    (bench / "models").mkdir()
    model = gguf(bench / "models" / DEFAULTS[command])
    assert option(given(call(bench, command)), "--model") == model


@pytest.mark.parametrize("command", PROGRAMS)
def test_the_environment_and_then_the_first_argument_win(bench: Path, command: str) -> None:
    gguf(bench / DEFAULTS[command])
    one, two = gguf(bench / "one model.gguf"), gguf(bench / "two.gguf")
    assert option(given(call(bench, command, model=one)), "--model") == one
    assert option(given(call(bench, command, two, model=one)), "--model") == two


def test_the_server_takes_all_of_the_gpu_and_stays_on_this_machine(bench: Path) -> None:
    words = given(call(bench, "qwen3-server", gguf(bench / "m.gguf")))
    assert option(words, "--gpu-layers") == "99"
    assert "--host" not in words  # llama-server's own default is 127.0.0.1


@pytest.mark.parametrize("command", ["qwen3-server", "qwen3-coder"])
def test_options_come_last_as_they_are(bench: Path, command: str) -> None:
    model = gguf(bench / "m.gguf")
    extra = ["--ctx-size", "512", "--system-prompt", "two  words $HOME *", ""]
    words = given(call(bench, command, model, *extra))
    assert words[-len(extra) :] == extra
    assert option(words, "--ctx-size") == "512"


def test_options_alone_leave_the_model_as_it_is(bench: Path) -> None:
    gguf(bench / DEFAULTS["qwen3-server"])
    words = given(call(bench, "qwen3-server", "--port", "8081"))
    assert option(words, "--model") == f"./{DEFAULTS['qwen3-server']}"
    assert words[-2:] == ["--port", "8081"]


def test_the_benchmark_has_tests_of_its_own_only_where_none_are_asked_for(bench: Path) -> None:
    model = gguf(bench / "m.gguf")
    words = given(call(bench, "llama-benchmark", model))
    assert option(words, "--n-prompt") == "512,2048"
    assert option(words, "--output") == "md"
    words = given(call(bench, "llama-benchmark", model, "-p", "1024", "-n", "0"))
    assert words[-4:] == ["-p", "1024", "-n", "0"]
    assert "--n-prompt" not in words and "--n-gen" not in words


@pytest.mark.parametrize("command", PROGRAMS)
def test_help_shows_an_example_and_needs_nothing(bench: Path, command: str) -> None:
    done = call(bench, command, "--help", installed=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}: ")
    assert f"  {command} [MODEL] [options of {PROGRAMS[command]}]" in done.stdout
    assert DEFAULTS[command] in done.stdout


@pytest.mark.skipif(
    any(shutil.which(program) for program in PROGRAMS.values()), reason="llama.cpp is installed"
)
@pytest.mark.parametrize("command", PROGRAMS)
def test_a_program_that_is_not_installed_is_named(bench: Path, command: str) -> None:
    done = call(bench, command, gguf(bench / "m.gguf"), installed=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{command}: {PROGRAMS[command]} is not installed: ")


def test_a_link_to_a_command_works_from_anywhere(bench: Path) -> None:
    (bench / "elsewhere").symlink_to(COMMANDS / "qwen3-server")
    done = subprocess.run([bench / "elsewhere", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("qwen3-server: ")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", "--check-sourced", *PROGRAMS],
        cwd=COMMANDS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
