"""jetson-top as its users run it: in a terminal, and into a pipe."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.tree import Tree
from orin_telemetry.top.units import DASH
from sim_tree import fill

TOP = [sys.executable, "-m", "orin_telemetry.top.cli"]
PATIENCE_S = 15.0


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOP, *arguments], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--path.sysfs", "/nowhere"], "--path.sysfs /nowhere: no such directory"),
        (["--simulate", "nothing"], "no such scenario; there are idle, llm-decode"),
        (["--interval", "0"], "--interval"),
        (["--interval", "nan"], "--interval"),
        (["--simulate", "idle", "--path.sysfs", "/sys"], "name one of them"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    done = top(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_a_pipe_gets_one_snapshot() -> None:
    done = top("--interval", "0.3")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "# NVIDIA Jetson AGX Orin Developer Kit\n\nSIMULATED, scenario tour." in done.stdout
    for title in ("Board", "CPU", "Temperatures", "Rails", "Engines", "GPU memory"):
        assert f"\n## {title}\n\n| " in done.stdout
    assert "Failing" not in done.stdout
    (busy,) = (line for line in done.stdout.splitlines() if line.startswith("| CPU load"))
    assert busy.split("|")[2].strip().endswith(" %")


def test_a_snapshot_of_sensors_that_fail(tmp_path: Path) -> None:
    board = Board("sensor-loss")
    board.step(35)
    with Tree(tmp_path / "board") as tree:
        tree.write(board)
        done = top("--once", "--interval", "0.3", *paths(tmp_path / "board"))
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert ["gpu", DASH, "99.0 °C", DASH] in rows
    (rail,) = (row for row in rows if row[:1] == ["VDD_CPU_CV"])
    assert rail[2:] == [DASH] * 3
    assert ["module power", DASH] in rows
    assert any(row[:1] == ["power"] and "not a number" in row[1] for row in rows)


def test_ascii_and_a_full_output_are_no_tracebacks() -> None:
    arguments = [*TOP, "--once", "--interval", "0.3", "--simulate", "sensor-loss"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(arguments, env=ascii_only, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ?C" in done.stdout
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr == "cli.py: standard output: No space left on device; send it elsewhere\n"


def test_a_pipe_that_somebody_closed_is_no_news() -> None:
    arguments = [*TOP, "--once", "--interval", "0.3", "--simulate", "idle"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def paths(root: Path) -> list[str]:
    return [
        *("--path.sysfs", str(root / "sys")),
        *("--path.procfs", str(root / "proc")),
        *("--path.rootfs", str(root)),
    ]


class Terminal:
    """A shell in tmux, 80 by 24, without colours of its own."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")
        self.wait("$")

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        self.tmux("send-keys", key)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait(self, *parts: str) -> str:
        """The screen once it has all parts."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            screen = self.screen()
            if all(part in screen for part in parts):
                return screen
            time.sleep(0.05)
        pytest.fail(f"never saw {parts} but\n{self.screen()}")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        if "CI" in os.environ:
            pytest.fail("tmux is missing")
        pytest.skip("tmux is missing")
    terminal = Terminal(tmp_path / "tmux")
    yield terminal
    terminal.tmux("kill-server")


def test_a_throttling_board_at_80_by_24(terminal: Terminal, tmp_path: Path) -> None:
    board = Board("thermal-runaway")
    board.step(80)
    with Tree(tmp_path / "board") as tree:
        tree.write(board)
        terminal.type(" ".join([*TOP, *paths(tmp_path / "board"), "; echo left $?"]))
        screen = terminal.wait("THROTTLING cpu gpu", "MAXN", "306 of 1300 MHz", "collectors answer")
    lines = screen.rstrip("\n").split("\n")
    assert len(lines) == 24
    assert lines[-1].startswith(" 1 Overview 2 CPU 3 Power 4 Thermal 5 Engines 6 Collectors")
    assert lines[-1].endswith("q Quit")
    assert "SIMULATED" not in screen
    for key, mark in zip("23456", ("governor", "energy", "stops", "nvdec", "answers"), strict=True):
        terminal.press(key)
        assert "THROTTLING" in terminal.wait(mark)
    terminal.press("q")
    screen = terminal.wait("left 0")
    assert "THROTTLING" not in screen  # the shell's own screen is back
    terminal.type("stty -a | grep -c ' echo '")
    terminal.wait("\n1\n")


def test_a_signal_ends_it_and_nothing_stays_behind(terminal: Terminal, tmp_path: Path) -> None:
    before = set(Path("/dev/shm").glob("jetson-top-*"))
    command = " ".join([*TOP, "--simulate", "llm-decode"])
    terminal.type(f"sh -c 'echo $$ > {tmp_path}/pid; exec {command}'; echo left $?")
    terminal.wait("SIMULATED llm-decode", "MAXN")
    folders = set(Path("/dev/shm").glob("jetson-top-*")) - before
    assert folders
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert "MAXN" not in terminal.wait("left 0")
    assert not any(folder.exists() for folder in folders)


def test_a_full_disk_ends_it_with_one_line(terminal: Terminal) -> None:
    before = set(Path("/dev/shm").glob("jetson-top-*"))
    terminal.type(" ".join([*TOP, "--simulate", "training", "; echo left $?"]))
    terminal.wait("SIMULATED training", "MAXN")
    (folder,) = set(Path("/dev/shm").glob("jetson-top-*")) - before
    fill(folder / "board")
    screen = terminal.wait("left 2")
    assert "MAXN" not in screen  # the shell's own screen is back
    assert f"cli.py: {folder}/board: No space left on device; make room" in screen.replace("\n", "")
    assert "Traceback" not in screen
    terminal.type("stty -a | grep -c ' echo '")
    terminal.wait("\n1\n")
    assert not folder.exists()


def test_a_crash_is_no_success(terminal: Terminal, tmp_path: Path) -> None:
    """A page that cannot be drawn: the program says so with its exit code."""
    script = tmp_path / "crash.py"
    script.write_text(
        "from orin_telemetry.top import cli, frame\n"
        "frame.head = lambda state, width: 1 // 0\n"
        "cli.main()\n"
    )
    terminal.type(f"{sys.executable} {script} --simulate idle; code=$?; clear; echo left $code")
    terminal.wait("left 1")
