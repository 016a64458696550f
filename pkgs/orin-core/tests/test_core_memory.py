"""What a device has left, by kernel files; what does not fit is refused before it is allocated, or
in one line after."""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from orin_core import memory
from orin_core.cli import UserError
from orin_core.memory import available

MIB = 1 << 20
HOST = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8192 kB\nSwapFree: 7 kB\n"}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(place: str, limit: str, used: int, inactive: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{place}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{place}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{place}memory.stat": f"anon 1\ninactive_file {inactive}\nactive_file 9\n",
    }


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    assert available("CPU", tree(tmp_path, HOST)) == 8 * MIB


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    files = {
        **HOST,
        "proc/self/cgroup": "0::/system.slice/chat.service\n",
        **group("system.slice/chat.service/", "max", 5 * MIB, 0),
        **group("system.slice/", str(6 * MIB), 5 * MIB, 2 * MIB),
    }
    assert available("CPU", tree(tmp_path, files)) == 3 * MIB


def test_a_group_beyond_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = {**HOST, "proc/self/cgroup": "0::/\n", **group("", "1000", 5000, 10)}
    assert available("CPU", tree(tmp_path, files)) == 0


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    """Their path may be the host's, while the container sees its own group as the root."""
    files = {
        **HOST,
        "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{7 * MIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * MIB}\n",
    }
    assert available("CPU", tree(tmp_path, files)) == 2 * MIB


@pytest.mark.parametrize("meminfo", [{}, {"proc/meminfo": "MemTotal:       24 kB\n"}])
def test_a_machine_that_tells_nothing(meminfo: Mapping[str, str], tmp_path: Path) -> None:
    assert available("CPU", tree(tmp_path, meminfo)) is None


def test_this_machine() -> None:
    free = available("CPU")
    assert free is None or free > 0


@pytest.mark.parametrize("device", ["CUDA", "NV"])
def test_a_jetson_shares_its_memory(device: str, tmp_path: Path) -> None:
    (tmp_path / "sys/class/devfreq/17000000.gpu").mkdir(parents=True)
    assert available(device, tree(tmp_path, HOST)) == 8 * MIB


@pytest.mark.parametrize(
    ("values", "free"), [(["81079 MiB"], 81079 * MIB), (["[N/A]"], None), (None, None)]
)
def test_nvidia_smi_tells_of_the_first_gpu(
    values: list[str] | None, free: int | None, tmp_path: Path
) -> None:
    asked: list[Sequence[str]] = []

    def query(fields: Sequence[str]) -> list[str] | None:
        asked.append(fields)
        return values

    assert available("NV", tree(tmp_path, HOST), query) == free
    assert asked == [["memory.free"]]


@pytest.mark.gpu
def test_cuda_counts_what_is_taken() -> None:
    from tinygrad import Tensor

    before = available("CUDA")
    held = Tensor.ones(1 << 28, device="CUDA").contiguous().realize()
    after = available("CUDA")
    assert before is not None
    assert after is not None
    assert before - after >= held.nbytes() == 1 << 30


def test_an_estimate_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 2_000_000_000)
    memory.check_fits("vgg16", 2_000_000_000, "CPU", "take less")
    with pytest.raises(UserError) as caught:
        memory.check_fits("vgg16", 5_300_000_000, "CPU", "take less")
    assert str(caught.value) == "vgg16 needs about 5.3 GB, and CPU has 2.0 GB left; take less"
    monkeypatch.setattr(memory, "available", lambda device: None)
    memory.check_fits("vgg16", 10**15, "NV", "take less")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Allocation of 9.00 GB failed on CUDA\nmore"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA Error 2, out of memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_one_line(error: Exception) -> None:
    with pytest.raises(UserError) as caught, memory.fitting("vgg16", "take less"):
        raise error
    assert str(caught.value).startswith("vgg16 does not fit: ")
    assert str(caught.value).endswith("; take less")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "gone"), RuntimeError("a bug")])
def test_other_errors_stay_themselves(error: Exception) -> None:
    with pytest.raises(type(error)), memory.fitting("vgg16", "take less"):
        raise error
