"""./orin itself: what it lists, finds and refuses, from any folder and in one with a space."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def finish(
    launcher: Path, *arguments: str, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, launcher, *arguments],
        cwd=folder,
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
