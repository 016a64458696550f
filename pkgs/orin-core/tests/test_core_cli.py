"""Mistakes end in one line and exit code 2, Ctrl-C cleanly, bugs with their traceback."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, time, typer
from orin_core.cli import UserError, run

app = typer.Typer(add_completion=False)

@app.command()
def command(how: str, count: int = 1) -> None:
    if how == "mistake":
        raise UserError("file.txt: is\\nmissing; make it")
    if how == "bug":
        raise ValueError("unforeseen")
    if how == "sleep":
        print("ready", flush=True)
        time.sleep(60)
    if how == "three":
        raise typer.Exit(3)

sys.argv[0] = "prog"
run(app)
"""


def finish(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=600
    )


def test_success_is_silent() -> None:
    done = finish("well")
    assert (done.returncode, done.stderr) == (0, "")


def test_own_exit_code_is_kept() -> None:
    assert finish("three").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mistake"], "file.txt: is missing; make it"),
        (["well", "--bogus"], "--bogus"),
        (["well", "--count", "many"], "--count"),
        ([], "how"),
    ],
)
def test_mistake_is_one_line(arguments: list[str], words: str) -> None:
    done = finish(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("prog: ")
    assert words.lower() in done.stderr.lower()


def test_bug_keeps_its_traceback() -> None:
    done = finish("bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "unforeseen" in done.stderr


def test_ctrl_c_ends_cleanly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "sleep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "prog: stopped" in errors
