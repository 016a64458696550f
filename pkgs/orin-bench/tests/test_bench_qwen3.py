"""bench-qwen3-beam: searches in processes of their own, what they cost, and when they pay."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orin_bench import session as session_module
from orin_bench.llm import qwen3_beam, sweep, width
from orin_bench.llm.phase import Phase, Task
from orin_bench.llm.search import Search
from orin_bench.llm.source import Source
from orin_bench.llm.sweep import COLUMNS, Gain
from orin_bench.llm.table import Measured
from orin_bench.llm.width import Prepared, Request, UnfinishedError, Width
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_core import memory
from orin_core.cli import UserError
from orin_nn.gguf.random_model import random_model, write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'bench-qwen3-beam'; "
    "from orin_bench.llm.qwen3_beam import main; main()",
]
TASK = Task(8, 4, 12)
ROOF = Roofline("CPU", 1e10, 1e-4, {"float32": 1e11})


def measured(seconds: list[float], phase: Phase = TASK.phases[1]) -> Measured:
    return Measured("orin_nn CPU", "CPU", phase, random_model(TINY_QWEN3, "F16"), seconds)


def test_a_search_pays_after_the_tokens_that_save_its_seconds() -> None:
    gain = Gain(measured([0.3, 0.3, 0.3]), measured([0.1, 0.1, 0.1]), 600)
    assert gain.speed == pytest.approx(3)
    assert gain.tokens == pytest.approx(3000)


def test_tokens_of_a_prompt_are_counted_one_by_one() -> None:
    """A step of eight saves 0.2 seconds."""
    reading = TASK.phases[0]
    gain = Gain(measured([0.3], reading), measured([0.1], reading), 600)
    assert gain.tokens == pytest.approx(3000 * 8)


@pytest.mark.parametrize(
    "after",
    [
        [0.3, 0.3, 0.3, 0.3],  # the same
        [0.4, 0.4, 0.4, 0.4],  # slower
        [0.1, 0.3, 0.28, 0.5],  # faster in the median, but who knows
    ],
)
def test_no_gain_never_pays(after: list[float]) -> None:
    assert Gain(measured([0.3, 0.31, 0.29, 0.3]), measured(after), 600).tokens == math.inf


class FakeWidth:
    """A width whose steps take a second, and half of one with beam 2; beam 4 does not finish."""

    closed: ClassVar[list[int]] = []

    def __init__(self, request: Request) -> None:
        self.request = request

    def prepare(self) -> list[width.WidthEngine]:
        if self.request.beam == 4:
            raise UnfinishedError("orin_nn CPU with beam 4 hung")
        search = Search(3, 1, 60.0) if self.request.beam else Search()
        prepared = Prepared(1.5, 44, search, 7_000_000)
        return [width.WidthEngine(self, index, prepared) for index in (0, 1)]  # type: ignore[arg-type]

    def run(self, index: int, count: int) -> list[float]:
        if self.request.beam == 8:
            raise UnfinishedError("orin_nn CPU with beam 8 died")
        return [0.5 if self.request.beam == 2 else 1.0] * count

    def close(self) -> None:
        self.closed.append(self.request.beam)


class NoWatch:
    def __init__(self) -> None:
        from orin_core.conditions import Conditions

        self.before = Conditions()

    def stop(self) -> Any:
        return self.before


def swept(
    beams: Sequence[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[sweep.Result], Session]:
    monkeypatch.setattr(sweep, "Width", FakeWidth)
    monkeypatch.setattr(session_module, "Watch", NoWatch)
    FakeWidth.closed.clear()
    session = Session("bench-qwen3-beam", COLUMNS, json=None, settings={}, rooflines=[ROOF])
    source = Source.random(TINY_QWEN3, "F16")
    file = tmp_path / "model.gguf"
    requests = [Request(file, "qwen3", "orin_nn", "CPU", beam, TASK, 60.0) for beam in beams]
    results = sweep.sweep(session, source, requests, ROOF, warmup=1, repetitions=3)
    return results, session


def test_widths_are_compared_with_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results, session = swept([0, 1, 2, 4], tmp_path, monkeypatch)
    assert [(each.beam, each.measured.phase.name) for each in results] == [
        *((beam, "pp8") for beam in (0, 1, 2)),
        *((beam, "tg4 @ d8") for beam in (0, 1, 2)),
    ]
    table = capsys.readouterr().out.partition("\n| model")[2].splitlines()[2:]
    ends = [[cell.strip() for cell in line.split("|")[-5:-1]] for line in table]
    assert ends[3:] == [
        ["-", "0.0", "-", "-"],
        ["3 of 4", "60.0", "1.00x", "never"],
        ["3 of 4", "60.0", "2.00x", "120 tokens"],
    ]
    assert ends[2] == ["3 of 4", "60.0", "2.00x", "960 tokens"]
    rows = session.document["rows"]
    assert [row["case"]["beam"] for row in rows] == [0, 1, 2] * 2
    assert rows[5]["pays_after_tokens"] == pytest.approx(120)
    assert rows[4]["pays_after_tokens"] is None
    assert (rows[5]["searched"], rows[5]["unsearched"], rows[5]["search_seconds"]) == (3, 1, 60)
    assert (rows[5]["kernels_per_token"], rows[2]["kernels_per_token"]) == (44, None)
    assert session.document["unfinished"] == ["orin_nn CPU with beam 4 hung"]
    assert sorted(FakeWidth.closed) == [0, 1, 2, 4]
    picture = tmp_path / "sweep.svg"
    sweep.draw(picture, results)
    assert "orin_nn CPU" in picture.read_text()


def test_a_width_that_dies_while_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, session = swept([0, 8], tmp_path, monkeypatch)
    assert results == []
    assert session.document["unfinished"] == ["orin_nn CPU with beam 8 died"]
    assert sorted(FakeWidth.closed) == [0, 8]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "qwen3.gguf"
    write_random(path, TINY_QWEN3, "F16")
    return path


def test_a_width_has_a_cache_of_its_own_and_is_ended(file: Path) -> None:
    made = Width(Request(file, "llama", "orin_nn", "CPU", 3, TASK, 60.0))
    process, environment = made._process, dict[str, str]()
    while "JITBEAM" not in environment:  # until then it is a copy of this process
        assert process.is_alive()
        entries = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
        environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    assert (environment["JITBEAM"], environment["BEAM"], environment["DEV"]) == ("3", "0", "CPU")
    folder = Path(environment["CACHEDB"]).parent
    assert folder.is_dir() and environment["XDG_CACHE_HOME"] == str(folder)
    assert os.environ.get("JITBEAM") != "3"
    # What its process refuses is the user's mistake.
    with pytest.raises(UserError, match="a qwen3 model, and this benchmark is of llama"):
        made.prepare()
    made.close()
    assert not process.is_alive()
    assert not folder.exists()


def test_a_process_that_dies(file: Path) -> None:
    made = Width(Request(file, "qwen3", "orin_nn", "CPU", 1, TASK, 60.0))
    os.kill(made._process.pid or 0, signal.SIGKILL)
    with pytest.raises(UnfinishedError) as caught:
        made.prepare()
    assert str(caught.value) == "orin_nn CPU with beam 1 died (-9) outside of a search"
    made.close()


def test_a_search_that_hangs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(width, "GRACE", 0.0)
    made = Width(Request(file, "qwen3", "orin_nn", "CPU", 1, TASK, 0.0))
    made._last = Search(2, 0, 0.0, running=True)  # as if it had said so
    with pytest.raises(UnfinishedError, match="hung in a search, after 2 kernels in 0 s"):
        made.prepare()
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["orin_nn", "tinygrad.llm"])
def test_sweeps_a_file(engine: str, file: Path, tmp_path: Path) -> None:
    result, picture = tmp_path / "result.json", tmp_path / "sweep.png"
    done = subprocess.run(
        [
            *COMMAND, "--model", file, "--engine", engine, "--device", "cpu", "--beams", "1",
            "--budget", "4s", "--prompt", "8", "--generate", "4", "--repetitions", "2",
            "--json", result, "--plot", picture,
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(result.read_text())
    assert document["unfinished"] == []
    rows = document["rows"]
    assert [(row["case"]["beam"], row["case"]["test"]) for row in rows] == [
        (0, "pp8"), (1, "pp8"), (0, "tg4 @ d8"), (1, "tg4 @ d8"),
    ]  # fmt: skip
    assert [row["engine"] for row in rows] == [f"{engine} CPU"] * 4
    assert [len(row["seconds"]) for row in rows] == [2, 2, 8, 8]
    for row in (rows[1], rows[3]):
        assert row["searched"] + row["unsearched"] > 5
        assert 0 < row["search_seconds"] < 15
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--bogus", "No such option"),
        ("--beams 0,x", "--beams '0,x': give whole numbers up to 64, as 0,1,2"),
        ("--beams 65", "--beams '65': give whole numbers"),
        ("--budget soon", "--budget 'soon': give a duration such as 90s, 20m or 1h30m"),
        ("--engine vllm", "unknown engine 'vllm': choose all, orin_nn, tinygrad.llm"),
        ("--quantization Q2_K", "unknown quantization 'Q2_K': choose F32, F16"),
        ("--model {} --blocks 1", "--blocks cuts random weights: --model is run as it is"),
        ("--model {}/none", "none: "),
        ("--blocks 29", "--blocks 29: random weights, qwen3 0.60B has 28"),
        ("--prompt 50000", "more than the model's context of 40960"),
        ("--plot speed.gif", "a picture ends in .svg or .png"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: str,
    words: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, errors = fail(arguments.format(file).split(), monkeypatch, capsys)
    assert code == 2
    assert words in errors
    assert errors.startswith("bench-qwen3-beam: ")
    assert errors.count("\n") == 1


def test_another_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "llama.gguf"
    write_random(path, TINY_LLAMA, "F16")
    code, errors = fail(["--model", str(path)], monkeypatch, capsys)
    assert code == 2
    assert f"{path}: a llama model, and this benchmark is of qwen3" in errors


def test_a_model_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All widths of an engine are in memory together."""
    monkeypatch.setattr(memory, "available", lambda device: 1_500_000_000)
    code, errors = fail(["--blocks", "28", "--beams", "0,1,2"], monkeypatch, capsys)
    assert code == 2
    assert ", with a context of 40, 3 times, needs about 3.8 GB, and CPU has 1.5 GB" in errors
    assert "or fewer --beams" in errors


def fail(
    arguments: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    """The exit code and the errors of the command, within this process."""
    for name, value in {"DEV": "CPU", "JITBEAM": "0", "BEAM": "0"}.items():
        monkeypatch.setenv(name, value)  # the command may change them
    monkeypatch.setattr(sys, "argv", ["bench-qwen3-beam", "--device", "cpu", *arguments])
    with pytest.raises(SystemExit) as ended:
        qwen3_beam.main()
    out, errors = capsys.readouterr()
    assert out == ""
    return int(ended.value.code or 0), errors


@pytest.mark.slow
def test_a_quick_run_is_quick(tmp_path: Path) -> None:
    """With a cache that is still empty: a minute and 4 GB on two cores."""
    start = time.monotonic()
    subprocess.run(
        [*COMMAND, "--quick", "--device", "cpu"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9
