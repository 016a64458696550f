"""./orin itself: what it lists, finds and refuses, from any folder and in one with a space."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def finish(
    launcher: Path, *arguments: str, folder: Path = ROOT, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, launcher, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_lists_every_command_in_one_line(tmp_path: Path) -> None:
    done = finish(ROOT / "orin", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    commands = {line.split()[1] for line in lines}
    assert {"bench-cnn", "check-nix", "demo", "jetson-top", "lint", "test"} <= commands
    assert all(len(line.split(maxsplit=2)) == 3 for line in lines)


def test_an_unknown_command_is_one_line() -> None:
    done = finish(ROOT / "orin", "bench-cnm")
    assert done.returncode == 2
    assert done.stderr == "orin: unknown command 'bench-cnm'; ./orin lists them\n"


def test_runs_a_command_from_another_folder_with_its_arguments(tmp_path: Path) -> None:
    done = finish(ROOT / "orin", "orin-tune", "pin", "--path.sysfs", "nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("orin-tune: no Jetson GPU in nowhere/")


def test_a_checkout_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file where .venv should be stands in for permissions, which root does not feel."""
    checkout = tmp_path / "a checkout"
    (checkout / "pkgs/p/src").mkdir(parents=True)
    shutil.copy(ROOT / "orin", checkout)
    (checkout / "requirements.lock").touch()
    (checkout / ".orin.lock").mkdir()
    project = '[project]\nname = "p"\n[project.scripts]\nrun-p = "p:main"\n'
    (checkout / "pkgs/p/pyproject.toml").write_text(project)
    done = finish(checkout / "orin", "run-p")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "cannot prepare .venv" in done.stderr.splitlines()[-1]


def package_with_servers(tmp_path: Path) -> tuple[Path, Path]:
    """A checkout whose command run-p would like servers, and a folder with stand-ins for apt-get
    and systemctl, which say what they were told."""
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    package = checkout / "pkgs/p"
    (package / "src").mkdir(parents=True)
    shutil.copy(ROOT / "orin", checkout)
    (checkout / "requirements.lock").touch()
    (package / "src/p.py").write_text('"""run-p: p."""\ndef main():\n    print("ran")\n')
    (package / "pyproject.toml").write_text(
        '[project]\nname = "p"\n[project.scripts]\nrun-p = "p:main"\n'
        '[tool.orin]\nprograms = ["sh", "no-such-server"]\n'
    )
    programs.mkdir()
    for name in ("apt-get", "systemctl"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/told\n')
        (programs / name).chmod(0o755)
    return checkout, programs


def test_installs_the_servers_a_command_would_like(tmp_path: Path) -> None:
    """As root, where apt-get is."""
    if os.geteuid() != 0:
        pytest.skip("only root installs")
    checkout, programs = package_with_servers(tmp_path)
    done = finish(checkout / "orin", "run-p", path=f"{programs}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    told = (tmp_path / "told").read_text()
    assert "apt-get install --yes --no-install-recommends no-such-server\n" in told
    assert ("systemctl disable --now no-such-server" in told) == Path(
        "/run/systemd/system"
    ).exists()
    (tmp_path / "told").unlink()
    finish(checkout / "orin", "run-p", "--help", path=f"{programs}:{os.environ['PATH']}")
    assert not (tmp_path / "told").exists()  # help needs no server


def test_goes_on_where_the_servers_cannot_be_installed(tmp_path: Path) -> None:
    """As root without the network."""
    if os.geteuid() != 0:
        pytest.skip("only root installs")
    checkout, programs = package_with_servers(tmp_path)
    (programs / "apt-get").write_text("#!/bin/sh\necho no network >&2\nexit 100\n")
    done = finish(checkout / "orin", "run-p", path=f"{programs}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert "orin: going on without them" in done.stderr
