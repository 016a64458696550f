"""The Dockerfiles: linted, pinned, without root, and installing from the lock alone."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from containers_support import ROOT, program

FOLDER = ROOT / "containers"
FILES = ["Dockerfile", "Dockerfile.jetson"]
MAIN = (FOLDER / "Dockerfile").read_text()


def instructions(file: str, name: str) -> list[str]:
    return re.findall(rf"(?m)^{name} +(.*)", (FOLDER / file).read_text())


@pytest.mark.parametrize("file", FILES)
def test_hadolint_finds_nothing(file: str) -> None:
    done = subprocess.run(
        [program("hadolint"), "--config", FOLDER / ".hadolint.yaml", FOLDER / file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", FILES)
def test_bases_are_pinned(file: str) -> None:
    bases = [line.split(" AS ")[0] for line in instructions(file, "FROM")]
    arguments = dict(line.split("=", 1) for line in instructions(file, "ARG") if "=" in line)
    images = {arguments["BASE"] if base == "${BASE}" else base for base in bases}
    for image in images:
        _, _, tag = image.partition(":")
        assert tag and "latest" not in tag and re.search(r"\d", tag), image


@pytest.mark.parametrize("file", FILES)
def test_what_runs_is_not_root_and_is_watched(file: str) -> None:
    assert instructions(file, "USER")[-1] == "10001:10001"
    assert len(instructions(file, "HEALTHCHECK")) == 1
    assert "/health" in (FOLDER / file).read_text().split("HEALTHCHECK")[1]
    assert len(instructions(file, "FROM")) >= 2  # what builds does not ship


def test_the_same_base_image_everywhere() -> None:
    (base,) = (line for line in instructions("Dockerfile", "ARG") if line.startswith("BASE="))
    image = base.removeprefix("BASE=")
    quickstart = (FOLDER / "quickstart").read_text()
    assert image in (FOLDER / ".env.example").read_text()
    assert all(f'"{part}"' in quickstart for part in re.split("(?=@)", image))
    (vllm,) = (line for line in instructions("Dockerfile.jetson", "ARG") if "BASE=" in line)
    assert vllm.removeprefix("BASE=") == (ROOT / "pkgs/vllm-jetson/vllm.image").read_text().strip()


def own_packages() -> list[Path]:
    return [ROOT / folder for folder in re.findall(r"COPY (pkgs/\S+) \1", MAIN)]


def test_the_packages_bring_all_of_ours_that_they_need() -> None:
    names = {package.name for package in own_packages()}
    assert {"orin-llm", "orin-bench"} <= names
    for package in own_packages():
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        needed = {re.split(r"[\[<>=]", need)[0] for need in project["dependencies"]}
        assert {need for need in needed if need.startswith("orin-")} <= names
        # Not sought in an index, where anybody could have put one of that name.
        assert {need for need in needed if need.startswith("orin-")} <= {"orin-core", "orin-nn"}
    assert r"printf 'orin-core\norin-nn\n' >own" in MAIN


def test_the_lock_has_all_that_they_need() -> None:
    locked = set(re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements.lock").read_text()))
    for package in own_packages():
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        names = {re.split(r"[\[<>=]", need)[0] for need in project["dependencies"]}
        assert {name for name in names if not name.startswith("orin-")} <= locked
    assert "--require-hashes" in MAIN and "--no-build " in MAIN


def test_what_builds_the_packages_is_locked_too() -> None:
    lock = (FOLDER / "build.lock").read_text()
    for package in own_packages():
        build = tomllib.loads((package / "pyproject.toml").read_text())["build-system"]
        assert all(re.search(rf"(?m)^{need}==.*\\\n +--hash", lock) for need in build["requires"])
    assert "--build-constraints build.lock" in MAIN


def test_the_context_has_what_is_copied_and_no_more() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / path).exists() for path in kept)
    expected = {
        f"pkgs/{package.name}/{part}"
        for package in own_packages()
        for part in ("src", "pyproject.toml")
    }
    assert kept == expected | {"requirements.lock", "containers/build.lock"}


@pytest.mark.slow
def test_the_packages_install_from_the_lock_alone(tmp_path: Path) -> None:
    """The two steps of the Dockerfile, in an environment of their own; needs an index."""
    python = tmp_path / "venv/bin/python"
    uv = program("uv")
    subprocess.run([uv, "venv", "--python", sys.executable, tmp_path / "venv"], check=True)
    step = MAIN.split("RUN printf", 1)[1].split("\n\n")[0]
    (tmp_path / "requirements.lock").symlink_to(ROOT / "requirements.lock")
    (tmp_path / "build.lock").symlink_to(FOLDER / "build.lock")
    (tmp_path / "pkgs").symlink_to(ROOT / "pkgs")
    script = f"printf{step}".replace("/opt/orinix/bin/python", str(python)).replace("uv ", f"{uv} ")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)
    done = subprocess.run(
        [python.parent / "llm-server", "--help"], capture_output=True, check=False
    )
    assert done.returncode == 0
