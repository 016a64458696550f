"""llama-bench is asked for the same phases, and a program that is none is refused in one line."""

import os
import sys
from pathlib import Path

import pytest

from fake_llama_bench import fake_llama_bench, write_program
from orin_bench.llm import llama_bench as module
from orin_bench.llm.llama_bench import LlamaBench
from orin_bench.llm.phase import Phase, Task
from orin_core.cli import UserError
from orin_nn.gguf.random_model import random_model, write_random
from orin_nn.gguf.shapes import TINY_LLAMA

MODEL = random_model(TINY_LLAMA, "F16")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_LLAMA, "F16")
    return path


def test_it_is_asked_for_both_phases(tmp_path: Path, file: Path) -> None:
    program, log = fake_llama_bench(tmp_path)
    bench = LlamaBench(program)
    reading, generating = (
        bench.measure(file, MODEL, "CPU", phase, 2) for phase in Task(512, 128, 640).phases
    )
    assert reading.seconds == pytest.approx([512e-6, 1024e-6])
    assert reading.rates == pytest.approx([1e6, 5e5])
    assert generating.seconds == pytest.approx([10e-6, 20e-6])  # of a token
    assert generating.rates == pytest.approx([1e5, 5e4])
    assert (reading.engine, generating.apart) == ("llama.cpp", False)
    threads, size = len(os.sched_getaffinity(0)), file.stat().st_size
    shared = f"-m {file} -r 2 -o json"
    assert log.read_text().splitlines() == [
        f"{shared} -p 512 -n 0 -ngl 0 -t {threads} {size} ",
        f"{shared} -p 0 -n 128 -d 512 -ngl 0 -t {threads} {size} ",
    ]


def test_on_a_gpu_all_layers_are(tmp_path: Path, file: Path) -> None:
    program, log = fake_llama_bench(tmp_path, "CUDA")
    LlamaBench(program).measure(file, MODEL, "CUDA", Phase(8, 0, False), 1)
    assert " -p 8 -n 0 -ngl 99 " in log.read_text()


def refusal(program: Path, file: Path, device: str = "CPU") -> str:
    with pytest.raises(UserError) as caught:
        LlamaBench(program).measure(file, MODEL, device, Phase(8, 0, False), 3)
    start = f"--versus llama-bench={program}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_one_without_a_gpu(tmp_path: Path, file: Path) -> None:
    program, _ = fake_llama_bench(tmp_path)
    assert refusal(program, file, "CUDA") == ("it was built for the CPU alone: choose --device cpu")


def test_its_own_error_is_passed_on(tmp_path: Path) -> None:
    program, _ = fake_llama_bench(tmp_path)
    text = tmp_path / "text.gguf"
    text.write_text("no model")
    assert refusal(program, text) == f"it failed: llama_bench: error: failed to load model '{text}'"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("print('GNU something')", "not llama.cpp's llama-bench"),
        ("raise SystemExit(3)", "it failed: exit code 3"),
        ("print('--n-gen')", "its answer is not that of a llama-bench"),
        (
            "import sys; print('--n-gen' if '--help' in sys.argv else '[{\"samples_ns\": [1, 2],"
            ' "backends": "CPU"}]\')',
            "it did not measure 3 repetitions",
        ),
        (
            "import sys; print('--n-gen' if '--help' in sys.argv else '[]')",
            "its answer is not that of a llama-bench",
        ),
    ],
)
def test_another_program(source: str, reason: str, tmp_path: Path, file: Path) -> None:
    program = write_program(tmp_path, f"#!{sys.executable}\n{source}\n")
    assert refusal(program, file) == reason


def test_no_program(tmp_path: Path, file: Path) -> None:
    program = write_program(tmp_path, "\x7fELF not really")
    assert refusal(program, file) == "it cannot be run: Exec format error"


def test_a_program_that_waits(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    program = write_program(tmp_path, f"#!{sys.executable}\nimport time; time.sleep(20)\n")
    assert refusal(program, file) == "it did not answer within 0 s"
