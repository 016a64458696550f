"""The command jetson-sim, in a process of its own as its users run it."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orin_telemetry.sim import cli
from orin_telemetry.sim.scenario import SCENARIOS
from sim_tree import Reader, fill

COMMAND = [sys.executable, "-m", "orin_telemetry.sim.cli"]


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command here, as its console script would: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jetson-sim", *map(str, arguments)])
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            with pytest.raises(SystemExit) as end:
                cli.main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert isinstance(end.value.code, int)
        return end.value.code, *capfd.readouterr()

    return call


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_duration_ends_it_and_leaves_the_files(run: Run, tmp_path: Path) -> None:
    code, out, errors = run(tmp_path, "--scenario", "training", "--duration", 20, "--speed", 40)
    assert (code, errors) == (0, "")
    assert f"jetson-exporter --path.sysfs {tmp_path}/sys --path.procfs {tmp_path}/proc" in (out)
    assert "jetson-top --path.sysfs" in out
    assert float(Reader(tmp_path).text("proc/uptime").split()[0]) % 86400 == pytest.approx(20)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)]
)
def test_a_signal_ends_it_cleanly(number: signal.Signals, code: int) -> None:
    process = start("--speed", 5)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    match = re.search(r"--path.rootfs (\S+)", lines[2])
    assert match is not None
    folder = Path(match[1])
    before = Reader(folder).text("proc/uptime")
    time.sleep(0.5)
    assert Reader(folder).text("proc/uptime") != before
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not folder.parent.exists()


def test_nohup_keeps_it_alive(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["nohup", *COMMAND, str(tmp_path), "--duration", "1.5"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert float(Reader(tmp_path).text("proc/uptime").split()[0]) % 86400 == pytest.approx(1.5)


@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_gets_one_live_line(columns: int) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    process = subprocess.Popen(
        [*COMMAND, "--speed", "100", "--duration", "20", "--scenario", "thermal-runaway"],
        stdout=slave,
        stderr=slave,
        env={key: value for key, value in os.environ.items() if key != "COLUMNS"},
    )
    os.close(slave)
    output = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        output += part
    os.close(master)
    assert process.wait(timeout=10) == 0
    text = output.decode()
    live = text[text.index("\r ") :]
    assert "\n" not in live.rstrip(), "one line, written over and over"
    lines = live.rstrip("\r\n").split("\r")[1:]
    assert {len(line) for line in lines} == {columns - 1}
    whole = r" +\d+\.\d s  GPU +\d+% +\d+\.\d MHz +\d+\.\d W  \w+ +\d+\.\d C  [a-z ]+"
    assert all(re.fullmatch(whole, line) for line in lines) == (columns == 120)


def test_list_and_help_name_every_scenario(run: Run) -> None:
    code, listed, _ = run("--list")
    assert code == 0
    assert [line.split()[0] for line in listed.splitlines()] == list(SCENARIOS)
    shown = re.sub(r"[\s│]+", " ", run("--help")[1])
    assert all(name in shown for name in SCENARIOS)
    assert "Silent sensors are FIFOs" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "picnic"], "there are idle, llm-decode,"),
        (["--speed", "0"], "'--speed'"),
        (["--speed", "nan"], "'--speed'"),
        (["--duration", "-3"], "'--duration'"),
        (["/etc"], "/etc holds files"),
        (["/etc/passwd"], "/etc/passwd is not a directory"),
        (["/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    code, out, errors = run(*arguments)
    assert (code, out) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_directory_that_goes_away_is_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "board", "--scenario", "training")
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    (tmp_path / "board").rename(tmp_path / "gone")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert errors.startswith(f"cli.py: {tmp_path}/board/")
    assert errors.count("\n") == 1


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "board", "--scenario", "training")
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    fill(tmp_path / "board")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert errors.startswith(f"cli.py: {tmp_path}/board: No space left on device; make room")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--list"], ["--duration", "0.2"]])
def test_a_full_output_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20
        )
    assert done.returncode == 2
    assert done.stderr == ("cli.py: standard output: No space left on device; send it elsewhere\n")


def test_it_says_once_that_it_cannot_keep_pace(tmp_path: Path) -> None:
    process = start(tmp_path, "--speed", 1e6)
    assert process.stderr is not None
    line = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert "cannot keep" in line
    assert rest == ""
    assert process.returncode == 0
