"""bench-mixed-precision as a user runs it: speed beside accuracy, and types that are missing."""

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
from orin_bench.ops.mixed_precision import DTYPES, OPERATIONS, app
from orin_bench.ops.operation import WIDTHS
from orin_bench.ops.support import missing
from orin_bench.roofline import Roofline
from orin_core.cli import UserError

ROOF = Roofline("CPU", 20e9, 1e-4, {"float32": 100e9})


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
def test_speed_stands_beside_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    bench(
        "--operation", "matmul", "--size", "64,96", "--dtype", "float32,tf32,float16,int8",
        "--device", "cpu", "--repetitions", "3", "--json", str(file),
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "missing tf32 on CPU (no tensor cores)" in out
    document = json.loads(file.read_text())
    assert document["settings"]["missing"] == "tf32 on CPU (no tensor cores)"
    rows = document["rows"]
    assert [(row["case"]["shape"], row["case"]["dtype"]) for row in rows] == [
        (f"{size} x {size} x {size}", dtype)
        for size in (64, 96)
        for dtype in ("float32", "float16", "int8")
    ]
    for plain, half, eight in (rows[:3], rows[3:]):
        assert plain["speedup_over_float32"] == 1
        for row in (half, eight):
            ratio = plain["median_seconds"] / row["median_seconds"]
            assert row["speedup_over_float32"] == pytest.approx(ratio)
            assert row["share_of_roofline"] is None  # no peak is known for it
        assert plain["relative_error"] < 1e-6 < 1e-4 < half["relative_error"] < 1e-3
        assert 3e-3 < eight["relative_error"] < 3e-2
        assert plain["largest_error"] < half["largest_error"] < eight["largest_error"]
        size = int(plain["case"]["shape"].split()[0])
        assert (plain["bytes"], eight["bytes"]) == (12 * size**2, (1 + 1 + 4) * size**2)


def test_a_device_computes_in_float32() -> None:
    assert missing("CPU", "float32") is None
    assert missing("CPU", "tf32") == "no tensor cores"


def test_a_type_that_does_not_compile_is_missing_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        subprocess.run(["sh", "-c", "echo no such type >&2; exit 1"], check=True)

    monkeypatch.setattr("tinygrad.Tensor.realize", refuse)
    assert missing("CPU", "bfloat16") == "does not compile (CalledProcessError)"
    assert capfd.readouterr().err == ""


def test_every_type_has_a_width() -> None:
    assert list(DTYPES) == list(WIDTHS)
    assert list(OPERATIONS) == ["matmul", "conv2d"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--operation attention", "unknown operation 'attention': choose all, matmul, conv2d"),
        ("--dtype float64", "unknown dtype 'float64': choose all, float32, tf32, float16"),
        ("--dtype tf32", "--dtype tf32: missing here: tf32 on CPU (no tensor cores)"),
        ("--size 0", "--size '0': give whole numbers up to 65536"),
        ("--size 1,x", "--size '1,x': give whole numbers"),
        ("--device tpu", "unknown device 'tpu': choose auto, nv, cuda, cpu"),
        ("--versus jax", "unknown --versus 'jax': choose torch"),
        ("--json {}/no/such.json", "cannot be written"),
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


def test_a_product_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orin_core.memory.available", lambda device: 16 * 10**9)
    with pytest.raises(UserError, match=r"matmul 65536 x 65536 x 65536 float32 needs about 51.5"):
        bench("--device", "cpu", "--size", "65536", "--dtype", "float32")


@pytest.mark.slow
def test_a_quick_run_is_quick(tmp_path: Path) -> None:
    """With a cache that is still empty: a minute and 4 GB on two cores."""
    start = time.monotonic()
    program = "from orin_bench.ops.mixed_precision import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, "--quick", "--device", "cpu"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert time.monotonic() - start < 60
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 4e9
