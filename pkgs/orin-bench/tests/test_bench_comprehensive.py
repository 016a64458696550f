"""bench-comprehensive as a user runs it: rows, a file, a picture, and mistakes in one line."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from orin_bench import options
from orin_bench.ops.comprehensive import OPERATIONS, SIZES, app
from orin_bench.ops.sizes import MODELS
from orin_bench.ops.sizes import OPERATIONS as MADE
from orin_bench.roofline import Roofline
from orin_core.cli import UserError

ROOF = Roofline("CPU", 20e9, 1e-4, {"float32": 100e9})
FIGURES = {
    "case", "engine", "median_seconds", "p95_seconds", "spread", "seconds", "flop", "bytes",
    "flop_per_second", "bytes_per_second", "share_of_roofline", "relative_error", "largest_error",
    "sets", "compile_seconds", "memory_bytes",
}  # fmt: skip


def bench(*arguments: str) -> None:
    typer.main.get_command(app).main([*arguments], standalone_mode=False)


@pytest.fixture(autouse=True)
def default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is tinygrad's default already, and need not become it in this process."""
    monkeypatch.setenv("DEV", "CPU")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roofline that takes no seconds to measure, and steps of two sets."""
    monkeypatch.setattr("orin_bench.roofline.measure_roofline", lambda device, machine: ROOF)
    monkeypatch.setattr("orin_bench.ops.engines.set_count", lambda *_: 2)


@pytest.mark.usefixtures("short")
def test_prints_rows_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, plot = tmp_path / "result.json", tmp_path / "roofline.svg"
    bench(
        "--operation", "rms_norm,attention,matvec", "--device", "cpu", "--quick",
        "--repetitions", "2", "--json", str(file), "--plot", str(plot),
    )  # fmt: skip
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    document = json.loads(file.read_text())
    assert document["benchmark"] == "bench-comprehensive"
    assert document["settings"] == {"beam": 0, "warmup": 1, "repetitions": 2}
    rows = document["rows"]
    # --quick leaves the prompts out.
    assert [(row["case"]["operation"], row["case"]["dtype"]) for row in rows] == [
        ("rms_norm", "float32"),
        ("attention", "float32"),
        ("matvec", "Q8_0"),
        ("matvec", "Q6_K"),
        ("matvec", "Q4_K"),
    ]
    assert len(lines) == 2 + len(rows)
    assert {line.count("|") for line in lines} == {14}
    for row, line in zip(rows, lines[2:], strict=True):
        assert set(row) == FIGURES
        assert set(row["case"]) == {"operation", "size", "shape", "device", "dtype"}
        assert (row["case"]["size"], row["engine"]) == ("small", "tinygrad CPU")
        assert row["case"]["shape"] in line
        seconds = row["median_seconds"]
        assert len(row["seconds"]) == 2
        assert row["flop_per_second"] == pytest.approx(row["flop"] / seconds)
        assert row["bytes_per_second"] == pytest.approx(row["bytes"] / seconds)
        fastest = max(row["flop"] / 100e9, row["bytes"] / 20e9)
        assert row["share_of_roofline"] == pytest.approx(fastest / seconds)
        assert row["relative_error"] < 1e-6
        assert row["memory_bytes"] > row["sets"] * row["bytes"] * 0.9
        assert row["sets"] == 2
    norm = rows[0]
    assert (norm["flop"], norm["bytes"]) == (4 * 512 * 1024, 4 * (2 * 512 * 1024 + 1024))
    assert plot.read_text().startswith("<?xml")


def test_the_command_names_what_there_is() -> None:
    """Its help is printed before tinygrad, and so these tables, may be imported."""
    assert list(OPERATIONS) == list(MADE)
    assert list(SIZES) == list(MODELS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--operation softmax", "unknown operation 'softmax': choose all, matmul, conv2d"),
        ("--size huge", "unknown size 'huge': choose all, small, medium, large"),
        ("--dtype int8", "unknown dtype 'int8': choose all, float16, bfloat16, float32"),
        ("--device tpu", "unknown device 'tpu': choose auto, nv, cuda, cpu"),
        ("--versus jax", "unknown --versus 'jax': choose torch"),
        ("--json {}/no/such.json", "cannot be written"),
        ("--plot {}/roofline.gif", "a picture ends in .svg or .png"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        bench("--device", "cpu", *arguments.format(tmp_path).split())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pytorch_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: name == "torch")
    with pytest.raises(UserError, match="--versus torch compares on a GPU"):
        bench("--device", "cpu", "--versus", "torch")


@pytest.mark.usefixtures("short")
def test_a_type_that_the_device_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "orin_bench.ops.support.missing", lambda device, dtype: f"no {dtype} on {device}"
    )
    with pytest.raises(UserError, match="--dtype bfloat16 on CPU: no bfloat16 on CPU"):
        bench("--device", "cpu", "--dtype", "bfloat16", "--operation", "rope")


def test_a_case_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orin_core.memory.available", lambda device: 10**9)
    with pytest.raises(UserError, match=r"attention prefill .* float32 needs about 13.2 GB, and "):
        bench("--device", "cpu", "--operation", "attention", "--size", "large")


@pytest.mark.slow
def test_a_quick_run_is_quick(tmp_path: Path) -> None:
    """With a cache that is still empty: a minute and 4 GB on two cores."""
    start = time.monotonic()
    program = "from orin_bench.ops.comprehensive import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, "--quick", "--device", "cpu"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9
