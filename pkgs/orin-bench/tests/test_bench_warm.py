"""bench-warm as its user meets it, on the CPU, with kernels that are searched in seconds."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tinygrad import helpers
from tinygrad.codegen.opt import Opt, OptOps

from orin_bench.warm import check as checking
from orin_bench.warm import worker as watching
from orin_bench.warm.kernel import Kernel
from orin_bench.warm.profile import Profile
from orin_bench.warm.program import Program
from orin_bench.warm.worker import HangError, Worker, WorkerError
from orin_core.cli import UserError

# Two kernels: a product of 192 by 192 matrices with the sums of its rows, and their softmax.
SCRIPT = """
from tinygrad import Tensor, TinyJit

def main():
    Tensor.manual_seed(0)
    x, weight = Tensor.rand(192, 192).realize(), Tensor.rand(192, 192).realize()
    step = TinyJit(lambda x: (x @ weight).sum(1).contiguous().softmax().realize())
    for _ in range(6):
        step(x)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CACHEDB", str(tmp_path / "cache.db"))
    monkeypatch.setenv("DEV", "CPU")
    for name in ("BEAM", "JITBEAM", "JIT"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    return file


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """That of the script."""
    file = tmp_path_factory.mktemp("profile") / "script.py"
    file.write_text(SCRIPT)
    return Program([sys.executable, str(file)]).profile(2)


@pytest.fixture
def kernel(profile: Profile) -> Kernel:
    """The costliest of the script."""
    return profile.kernels[0]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all tests: after each failure it starts a new process."""
    worker = Worker()
    yield worker
    worker.close()


def warm(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "orin_bench.warm.command", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(warm(*arguments), capture_output=True, text=True, check=False)


def outcomes(file: Path) -> list[dict[str, Any]]:
    """What the cache says of each kernel."""
    with sqlite3.connect(file) as database:
        rows = database.execute(f"SELECT val FROM orin_warm_{helpers.VERSION}").fetchall()
    return [json.loads(row) for (row,) in rows]


def states(file: Path) -> list[str]:
    return [outcome["state"] for outcome in outcomes(file)]


def test_a_program_is_profiled_kernel_by_kernel(profile: Profile) -> None:
    (step,) = profile.steps
    assert step.replays == 5  # the first of six calls runs without the jit
    assert all(count == 5 for count in step.launches.values())
    assert set(step.launches) == set(profile.kernels)
    assert [kernel.total for kernel in profile.kernels] == sorted(
        (kernel.total for kernel in profile.kernels), reverse=True
    )
    assert profile.kernels[0].device == "CPU"
    assert profile.kernels[0].baseline
    assert not profile.kernels[0].fixed


def test_a_search_is_kept_and_measured(script: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    done = run("--budget", "4s", "--top", 1, sys.executable, script)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert "measured: the step" in done.stdout
    assert seconds < 4 + 20, "three runs of the program come on top"
    found = outcomes(tmp_path / "cache.db")
    assert len(found) > 1
    assert sum(outcome["before"] is not None for outcome in found) == 1, "one was searched"
    assert all(outcome["architecture"] for outcome in found), "and all are there"
    # The program finds all it needs for that beam, and is not searched with another.
    assert Program([sys.executable, str(script)]).steps(2).unsearched == 0
    assert Program([sys.executable, str(script)]).steps(3).unsearched == len(found)
    assert f"{tmp_path / 'cache.db'}: {len(found)} kernels" in run("status").stdout


def test_a_search_ends_in_time_and_computes_the_same(worker: Worker, kernel: Kernel) -> None:
    worker.check(kernel, [])  # which starts the process
    start = time.monotonic()
    found = worker.search(kernel, kernel.baseline, 2, start + 3)
    assert time.monotonic() - start < 3 + watching.GRACE
    assert found.failure is None
    assert len(found.timed) > 3
    assert worker.check(kernel, found.best(3)).wrong == 0


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (signal.SIGKILL, "crashed"),
        pytest.param(signal.SIGSTOP, "hung", marks=pytest.mark.slow),
    ],
)
def test_a_search_that_fails_leaves_what_it_found(
    worker: Worker,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    failure: str,
) -> None:
    worker.check(kernel, [])  # which starts the process
    monkeypatch.setattr(watching, "HANG", 2.0)
    receive = worker._receive
    seen = []

    def interfere(limit: float) -> Any:
        message = receive(limit)
        seen.append(message[0])
        if seen.count("trying") == 4:
            assert worker._process and worker._process.pid
            os.kill(worker._process.pid, number)
        return message

    monkeypatch.setattr(worker, "_receive", interfere)
    found = worker.search(kernel, (), 2, time.monotonic() + 25)
    assert found.failure == failure
    assert len(found.timed) >= 3
    monkeypatch.undo()
    assert worker.check(kernel, found.best(1)).wrong == 0  # by a new process


def test_an_optimization_that_does_not_apply_spoils_no_other(
    worker: Worker, kernel: Kernel
) -> None:
    checked = worker.check(kernel, [(Opt(OptOps.UPCAST, 0, 7),), kernel.baseline])
    assert checked.wrong == 1


def test_a_process_that_does_not_start_is_no_fault_of_the_kernel(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "START", 0.0)
    with pytest.raises(UserError, match="the process that searches hung as it started"):
        Worker().search(kernel, (), 2, time.monotonic() + 5)


def test_a_process_that_ended_meanwhile_is_replaced(worker: Worker, kernel: Kernel) -> None:
    worker.check(kernel, [])
    assert worker._process and worker._process.pid
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.join()
    with pytest.raises(WorkerError, match="crashed"):
        worker.check(kernel, [])
    assert worker.check(kernel, []).wrong == 0


def test_a_check_that_hangs_is_ended(
    worker: Worker, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.check(kernel, [])
    assert worker._process and worker._process.pid
    os.kill(worker._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(watching, "CHECK", 0.2)
    with pytest.raises(HangError):
        worker.check(kernel, [])


def test_a_candidate_with_wrong_results_is_not_taken(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = (Opt(OptOps.UPCAST, 0, 2),), (Opt(OptOps.UPCAST, 0, 4),)
    outputs = checking.Run.outputs

    def falsify(run: checking.Run, inputs: Any) -> Any:
        results = [values.copy() for values in outputs(run, inputs)]
        if run.opts == wrong:
            results[0][-1] += 1.0
        return results

    # Without this the baseline might win, and the test would show nothing.
    monkeypatch.setattr(checking.Run, "outputs", falsify)
    monkeypatch.setattr(checking, "GAIN", float("inf"))
    monkeypatch.setattr(checking, "_fastest", last)
    checked = checking.check(kernel, [wrong, right])
    assert checked.wrong == 1
    assert checked.opts == right
    checked = checking.check(kernel, [right, wrong])
    assert checked.opts == right


def last(runs: list[checking.Run]) -> checking.Run:
    for run in runs:
        run.seconds = run.launch()
    return runs[-1]


def test_other_commands_are_refused_in_one_line(script: Path, tmp_path: Path) -> None:
    headless = tmp_path / "headless"
    headless.write_text("echo without a #! line\n")
    headless.chmod(0o755)
    cases: list[tuple[list[object], str]] = [
        (["nosuch-command"], "unknown command 'nosuch-command'"),
        ([script], f"unknown command '{script}': python {script} runs it"),
        ([sys.executable, "-c", "print(1)"], "replays no kernel with TinyJit"),
        ([headless], f"{headless}: cannot be run: Exec format error"),
    ]
    for words, message in cases:
        done = run(*words)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_command_that_fails_says_why_once(script: Path) -> None:
    script.write_text("raise SystemExit('no such weights')")
    done = run(sys.executable, script)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == "no such weights"
    assert second.endswith("ended with status 1")


@pytest.mark.parametrize(
    ("beam", "remedy"), [(7, "give the same with --beam"), (0, "it would use nothing")]
)
def test_a_command_that_asks_for_another_beam_is_refused(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beam: int, remedy: str
) -> None:
    # Said by a sitecustomize.py of the user's, which still runs.
    (tmp_path / "own").mkdir()
    setting = f"import os; os.environ['JITBEAM'] = '{beam}'"
    (tmp_path / "own" / "sitecustomize.py").write_text(setting)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"), prepend=os.pathsep)
    with pytest.raises(UserError, match=f"asks for a beam of {beam}: {remedy}"):
        Program([sys.executable, str(script)]).profile(2)


def interrupted(
    command: list[str], ready: Callable[[str], bool], number: signal.Signals
) -> tuple[int, str, str]:
    """Start `command`, send it the signal once a line it prints is `ready`, and wait."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout and process.stderr
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            process.send_signal(number)
    watchdog.cancel()
    return process.wait(), "".join(lines), process.stderr.read()


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(script: Path, tmp_path: Path) -> None:
    command = warm("--budget", "40s", sys.executable, script)
    code, output, _ = interrupted(command, lambda line: " begun" in line, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert "measured" not in output
    assert "begun" in states(tmp_path / "cache.db")
    time.sleep(1)
    assert not processes(tmp_path / "cache.db"), "no process goes on without its parent"

    done = run("--budget", "40s", sys.executable, script)
    assert done.returncode == 0, done.stderr
    begun = [line for line in output.splitlines() if " begun" in line]
    kernel = begun[0].split()[1]
    rows = [line for line in done.stdout.splitlines() if f"| {kernel} " in line]
    assert len(rows) == 1, "the search that was finished is not repeated"
    finished = [state for state in states(tmp_path / "cache.db") if state in ("faster", "kept")]
    assert finished

    again = run("--budget", "3s", sys.executable, script)
    known = [line for line in again.stdout.splitlines() if line.startswith(("| r_", "| E_"))]
    known = [row for row in known if row.split("|")[7].strip() == "-"]
    assert len(known) == len(finished), "none that is finished is searched again"


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_found(script: Path, tmp_path: Path) -> None:
    command = warm("--budget", "40s", sys.executable, script)
    code, _, errors = interrupted(command, lambda line: " begun" in line, signal.SIGINT)
    assert code == 130
    assert " kernels were searched and are kept in " in errors.splitlines()[0]
    assert errors.splitlines()[1:] == ["command.py: stopped"]
    assert "begun" in states(tmp_path / "cache.db")
    time.sleep(1)
    assert not processes(tmp_path / "cache.db")


@pytest.mark.slow
def test_the_gain_is_real(script: Path) -> None:
    script.write_text(SCRIPT.replace("192", "384").replace("range(6)", "range(30)"))
    done = run("--budget", "30s", sys.executable, script)
    measured = done.stdout.splitlines()[-1]
    assert float(measured.split(" times as fast")[0].split()[-1]) > 1.2, done.stdout


def processes(cache: Path) -> list[str]:
    """The command lines of running processes that use this cache."""
    lines = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and str(cache).encode() in (folder / "environ").read_bytes():
                lines.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # another's, or it has ended meanwhile
            continue
    return lines
