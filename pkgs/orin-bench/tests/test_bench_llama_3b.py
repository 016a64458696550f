"""bench-llama-3b as a user runs it: a table, a file, a picture, and mistakes in one line."""

import json
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fake_llama_bench import fake_llama_bench
from orin_bench.llm import llama_3b
from orin_bench.roofline import Roofline
from orin_core import memory
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'bench-llama-3b'; from orin_bench.llm.llama_3b import main; main()",
]


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_random(folder / "tiny.gguf", TINY_LLAMA, "Q8_0")
    write_random(folder / "qwen3.gguf", TINY_QWEN3, "Q8_0")
    whole = (folder / "tiny.gguf").read_bytes()
    (folder / "cut.gguf").write_bytes(whole[:-1000])
    (folder / "text.gguf").write_text("no model")
    name = struct.pack("<Q", 5)
    (folder / "fauna.gguf").write_bytes(changed(whole, name + b"llama", name + b"fauna"))
    # How a tensor is listed: its name, two dimensions, and the number of its quantization.
    listed = b"blk.1.ffn_down.weight" + struct.pack("<IQQ", 2, 512, 256)
    q8_0, q3_k = (struct.pack("<I", kind) for kind in (8, 11))
    (folder / "q3_k.gguf").write_bytes(changed(whole, listed + q8_0, listed + q3_k))
    return folder


def test_prints_rows_and_writes_them(files: Path, tmp_path: Path) -> None:
    """Two repetitions of our transformer, with llama-bench beside it."""
    program, asked = fake_llama_bench(tmp_path)
    file, picture = tmp_path / "result.json", tmp_path / "result.svg"
    done = subprocess.run(
        [
            *COMMAND, "--model", files / "tiny.gguf", "--device", "cpu", "--prompt", "24",
            "--generate", "5", "--repetitions", "2", "--json", file, "--plot", picture,
            "--versus", f"llama-bench={program}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    head, _, table = done.stdout.partition("\n| model")
    assert head.startswith("# bench-llama-3b\n")
    assert f"weights {files / 'tiny.gguf'}, prompt 24, generate 5, context 29, beam 0" in head
    document = json.loads(file.read_text())
    rows = document["rows"]
    assert [(row["engine"], row["case"]["test"]) for row in rows] == [
        ("orin_nn CPU", "pp24"),
        ("orin_nn CPU", "tg5 @ d24"),
        ("llama.cpp", "pp24"),
        ("llama.cpp", "tg5 @ d24"),
    ]
    for row, line in zip(rows, table.splitlines()[2:], strict=True):
        assert row["case"]["model"] == "random weights, llama 0.00B Q8_0"
        assert line.startswith("| random weights, llama 0.00B Q8_0 | Q8_0 ")
        assert f"{row['tokens_per_second']:.2f} ± " in line
    reading, generating, *others = rows
    assert (len(reading["seconds"]), len(generating["seconds"])) == (2, 10)
    assert generating["kernels_per_token"] > 20
    assert generating["compile_seconds"] > 0
    assert (generating["search_seconds"], reading["kernels_per_token"]) == (0, None)
    # 2.7 MB of weights in 8.5 bits, and some for what is computed with them.
    assert 1.5e6 < generating["memory_bytes"] < 30e6
    (roof,) = document["rooflines"]
    step = generating["median_seconds"]
    assert generating["share_of_bandwidth"] == pytest.approx(
        generating["bytes_per_token"] / step / roof["bandwidth"]
    )
    assert [len(row["seconds"]) for row in others] == [2, 2]
    assert others[1]["p99_seconds"] is None
    assert len(asked.read_text().splitlines()) == 2
    assert picture.read_text().startswith("<?xml")


class Run:
    """The command within this process, without its measurements of the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        for name, value in {"DEV": "CPU", "JITBEAM": "0", "BEAM": "0"}.items():
            monkeypatch.setenv(name, value)  # the command may change them
        roof = Roofline("CPU", 1e10, 1e-4, {"float32": 1e11})
        monkeypatch.setattr("orin_bench.roofline.measure_roofline", lambda device, machine: roof)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["bench-llama-3b", "--device", "cpu", *arguments])
        with pytest.raises(SystemExit) as ended:
            llama_3b.main()
        return int(ended.value.code or 0), *self.capsys.readouterr()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def test_random_weights_say_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every row, beside how many blocks they are; and llama-bench gets the same ones."""
    monkeypatch.setattr(llama_3b, "LLAMA_3_2_3B", TINY_LLAMA)
    program, asked = fake_llama_bench(tmp_path)
    versus = ["--versus", f"llama-bench={program}"]
    code, out, errors = run("--quick", "--blocks", "1", "--quantization", "q4_k,F16", *versus)
    assert (code, errors) == (0, "")
    label = "random weights, llama 0.00B, 1 of 2 blocks: not comparable"
    rows = out.partition("\n| model")[2].splitlines()[2:]
    assert len(rows) == 8
    assert all(row.startswith(f"| {label} | ") for row in rows)
    assert [row.split("|")[2].strip() for row in rows] == ["Q4_K"] * 4 + ["F16"] * 4
    assert [row.split("|")[4].strip() for row in rows[:2]] == ["pp16", "tg4 @ d16"]
    sizes = [int(line.split()[-1]) for line in asked.read_text().splitlines()]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]
    assert not any(Path(line.split()[1]).exists() for line in asked.read_text().splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--bogus", "No such option"),
        ("--device tpu", "unknown device 'tpu': choose auto, nv, cuda, cpu"),
        ("--model {}/none.gguf", "none.gguf: "),
        ("--model {}/text.gguf", "text.gguf: "),
        ("--model {}/cut.gguf", "cut.gguf: incomplete, 1000 of its "),
        ("--model {}/q3_k.gguf", "tensor blk.1.ffn_down.weight is stored as Q3_K, which is not"),
        ("--model {}/fauna.gguf", "architecture 'fauna' is not supported, only llama and qwen3"),
        ("--model {}/qwen3.gguf", "qwen3.gguf: a qwen3 model, and this benchmark is of llama"),
        ("--model {}/tiny.gguf --quantization F16", "--quantization is for random weights"),
        ("--model {}/tiny.gguf --blocks 3", "--blocks 3: random weights, llama 0.00B Q8_0 has 2"),
        (
            "--model {}/tiny.gguf --prompt 250 --generate 7",
            "--prompt 250 and --generate 7 are 257 tokens, more than the model's context of 256",
        ),
        (
            "--prompt 50 --generate 7 --context 56",
            "--prompt 50 and --generate 7 are 57 tokens, more than --context 56",
        ),
        ("--context 131073", "--context 131073: the model was made for 131072"),
        ("--quantization Q3_K", "unknown quantization 'Q3_K': choose all, F32, F16, BF16, Q8_0"),
        ("--versus torch", "--versus torch"),
        ("--versus vllm", "unknown --versus 'vllm': choose torch and llama-bench=PATH"),
        ("--versus llama-bench=/none", "--versus llama-bench=/none: not a program"),
        ("--plot speed.pdf", "a picture ends in .svg or .png"),
        ("--json {}/no/such.json", "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(arguments: str, words: str, files: Path, run: Run) -> None:
    code, out, errors = run(*arguments.format(files).split())
    assert (code, out) == (2, "")
    assert words in errors
    assert errors.startswith("bench-llama-3b: ")
    assert errors.count("\n") == 1


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has such a device")
def test_a_device_that_is_not_there(run: Run) -> None:
    code, out, errors = run("--device", "cuda")
    assert (code, out) == (2, "")
    assert errors.startswith("bench-llama-3b: device cuda does not work here: ")
    assert errors.count("\n") == 1


def test_llama_bench_takes_whole_files_only(files: Path, tmp_path: Path, run: Run) -> None:
    program, _ = fake_llama_bench(tmp_path)
    model = ["--model", str(files / "tiny.gguf"), "--blocks", "1"]
    code, _, errors = run(*model, "--versus", f"llama-bench={program}")
    assert code == 2
    assert errors == (
        "bench-llama-3b: --versus llama-bench runs the whole file: give no --blocks\n"
    )


def test_a_model_that_does_not_fit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is allocated, with the estimate."""
    monkeypatch.setattr(memory, "available", lambda device: 4_100_000_000)
    code, out, errors = run("--blocks", "28")
    assert (code, out) == (2, "")
    assert errors == (
        "bench-llama-3b: random weights, llama 3.21B, Q6_K, with a context of 40 needs about 4.2 "
        "GB, and CPU has 4.1 GB left; choose a smaller model, --quantization or --context, or the "
        "first --blocks\n"
    )


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
