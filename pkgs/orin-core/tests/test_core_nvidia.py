"""nvidia-smi, in a version that says what a test wants."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orin_core import nvidia
from orin_core.machine import facts

# Answers the known fields of the file beside it, as driver 580 does: one unknown field, no answer.
PROGRAM = """#!{python} -S
import sys, time
options = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
known = dict(line.split("=") for line in open("{answers}").read().splitlines())
fields = options["query-gpu"].split(",")
known["index"] = options["id"]
for field in fields:
    if field not in known:
        sys.exit(f'Field "{{field}}" is not a valid field to query.')
while True:
    print(", ".join(known[field] for field in fields), flush=True)
    open("{answers}.said", "w").close()
    if "loop-ms" not in options:
        break
    time.sleep(int(options["loop-ms"]) / 1000)
"""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what nvidia-smi answers, a line FIELD=VALUE each."""
    answers = tmp_path / "answers"
    program = tmp_path / "nvidia-smi"
    program.write_text(PROGRAM.format(python=sys.executable, answers=answers))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return answers


def test_values_in_the_order_asked_for(answers: Path) -> None:
    answers.write_text("name=NVIDIA H200\nclocks.sm=1980 MHz\npower.draw=[N/A]\n")
    assert nvidia.query(["clocks.sm", "name"]) == ["1980 MHz", "NVIDIA H200"]
    assert nvidia.query(["clocks.sm", "bogus"]) is None


@pytest.mark.parametrize(
    ("visible", "index"), [(None, "0"), ("", "0"), ("3, 1", "3"), ("GPU-8f6a", "GPU-8f6a")]
)
def test_asks_for_the_gpu_that_cuda_shows(
    visible: str | None, index: str, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.write_text("name=NVIDIA H200\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvidia.query(["index"]) == [index]


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert nvidia.query(["name"]) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1980 MHz", 1980.0),
        ("76.32 W", 76.32),
        ("34", 34.0),
        ("[N/A]", None),
        ("N/A", None),
        ("[Not Supported]", None),
        ("[Unknown Error]", None),
        ("", None),
    ],
)
def test_numbers(value: str, number: float | None) -> None:
    assert nvidia.number(value) == number


def test_a_loop_says_what_it_saw(answers: Path) -> None:
    answers.write_text("clocks_event_reasons.active=0x04\n")
    loop = nvidia.Loop("clocks_event_reasons.active", every_seconds=0.01)
    said = answers.with_name("answers.said")
    deadline = time.monotonic() + 10
    while not said.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loop.stop() == ["0x04"]


def test_a_loop_does_not_outlive_its_program(answers: Path) -> None:
    """Killed without a chance to stop it: the pipe it writes to is gone, and so is it."""
    answers.write_text("name=H200\n")
    start = "from orin_core.nvidia import Loop; loop = Loop('name', 0.05); print(loop._process.pid)"
    code = f"{start}; import os; os.kill(os.getpid(), 9)"
    done = subprocess.run(
        [sys.executable, "-u", "-c", code], capture_output=True, text=True, timeout=60
    )
    loop = Path("/proc", done.stdout.strip(), "cmdline")
    deadline = time.monotonic() + 10
    while loop.exists() and b"nvidia-smi" in loop.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_facts_of_the_gpu(answers: Path) -> None:
    answers.write_text("name=NVIDIA H200\ndriver_version=580.159.04\npower.limit=[N/A]\n")
    known = facts()
    assert known["gpu"] == "NVIDIA H200"
    assert known["driver"] == "580.159.04"
    assert "power limit" not in known


def test_facts_of_a_board(tmp_path: Path) -> None:
    for name, text in {
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3\nmore\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    known = facts(tmp_path, lambda fields: None)
    assert known["machine"] == "NVIDIA Jetson AGX Orin Developer Kit"
    assert known["compatible"] == "nvidia,p3737-0000+p3701-0005 nvidia,tegra234"
    assert known["l4t"] == "# R36 (release), REVISION: 4.3"
    assert known["cpu"] == "ARMv8 Processor rev 1 (v8l)"
    assert "gpu" not in known
    assert {"kernel", "python", "tinygrad"} <= known.keys()
