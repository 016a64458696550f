"""Device choice in a process of its own, because tinygrad reads the environment once."""

import os
import shutil
import subprocess
import sys

import pytest

SELECT = """
import sys
from orin_core.cli import UserError
from orin_core.device import select
try:
    print(select(sys.argv[1]))
except UserError as error:
    sys.exit(f"mistake: {error}")
from tinygrad import Device
print(Device.DEFAULT)
"""


def finish(option: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = ("DEV", "NV", "CUDA", "CPU", "XDG_CACHE_HOME")
    inherited = {k: v for k, v in os.environ.items() if k not in ours}
    return subprocess.run(
        [sys.executable, "-c", SELECT, option],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        timeout=600,
    )


@pytest.mark.parametrize(
    ("option", "environment"),
    [
        ("cpu", {}),
        ("CPU", {}),
        ("cpu,cpu", {}),
        ("auto", {"CPU": "1"}),
        ("auto", {"DEV": "CPU"}),
        ("auto", {"DEV": "cpu:clangjit"}),
        ("cpu", {"NV": "0", "DEV": "CUDA"}),
    ],
)
def test_cpu_however_it_is_asked_for(option: str, environment: dict[str, str]) -> None:
    done = finish(option, **environment)
    assert (done.stdout, done.stderr) == ("['CPU']\nCPU\n", "")


def test_auto_says_what_it_took() -> None:
    done = finish("auto")
    assert done.returncode == 0
    name = done.stdout.splitlines()[1]
    assert done.stderr == f"device: {name.lower()}\n"


@pytest.mark.parametrize(
    ("option", "environment", "words"),
    [
        ("tpu", {}, "unknown device 'tpu': choose auto, nv, cuda, cpu"),
        ("cpu,", {}, "unknown device ''"),
        ("auto", {"DEV": "TPU"}, "unknown device 'tpu'"),
        ("auto", {"NV": "1", "CUDA": "1"}, "NV=1 and CUDA=1: set only one"),
        ("cpu", {"DEBUG": "much"}, "device cpu does not work here: invalid literal"),
        ("cpu", {"HOME": "/proc"}, "set HOME or XDG_CACHE_HOME"),
    ],
)
def test_mistakes(option: str, environment: dict[str, str], words: str) -> None:
    done = finish(option, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("mistake: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("clang") is None, reason="this tinygrad brings its compiler")
def test_a_compiler_that_is_missing() -> None:
    done = finish("cpu", CC="no-such-compiler", CCACHE="0")
    assert done.stderr == (
        "mistake: device cpu does not work here: no-such-compiler is missing: "
        "install it (Debian: apt install no-such-compiler)\n"
    )


def test_a_device_that_is_not_there() -> None:
    done = finish("cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.startswith("mistake: device cuda does not work here: ")
    assert done.stderr.count("\n") == 1
