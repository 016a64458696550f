"""Reading kernel files: what answers, and what a careless reader would make of it."""

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orin_core import sysfs


def test_text_comes_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "temp"
    file.write_text("47500\n")
    assert sysfs.read(file) == sysfs.read(str(file)) == "47500\n"


def test_empty(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    assert sysfs.read(file) == ""


def test_device_tree_strings_keep_their_end(tmp_path: Path) -> None:
    file = tmp_path / "compatible"
    file.write_bytes(b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    assert sysfs.read(file).split("\0") == ["nvidia,p3737-0000+p3701-0005", "nvidia,tegra234", ""]


@given(st.binary(max_size=5000), st.integers(0, 6000))
def test_any_bytes_are_text_and_the_limit_holds(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, limit: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes"
    file.write_bytes(data)
    assert sysfs.read(file, limit) == data[:limit].decode(errors="replace")


def test_procfs_gives_its_text_in_parts() -> None:
    """A read of /proc returns less than was asked for, and more at the next read."""
    assert sysfs.read("/proc/self/maps").count("\n") > 20
    assert len(sysfs.read("/proc/self/maps", 100)) == 100


def test_a_sensor_without_power_is_an_error_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "temp"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    started = time.monotonic()
    with pytest.raises(BlockingIOError) as caught:
        sysfs.read(fifo)
    assert caught.value.errno == errno.EAGAIN
    os.close(writer)
    assert sysfs.read(fifo) == ""  # nobody has it open: the end of the file
    assert time.monotonic() - started < 1


def test_errors_carry_their_number(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sysfs.read(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        sysfs.read(tmp_path)
    with pytest.raises(NotADirectoryError):
        sysfs.read("/proc/version/none")


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a Path would be one more to open
    for _ in range(50):
        sysfs.read("/proc/version")
        with pytest.raises(IsADirectoryError):
            sysfs.read(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
