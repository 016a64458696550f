"""What a device has left, by kernel files and programs that the tests replace."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from orin_core.cli import UserError
from orin_nn.gguf import memory
from orin_nn.gguf.memory import available_memory, check_fits
from orin_nn.gguf.random_model import random_model
from orin_nn.gguf.shapes import LLAMA_3_2_3B

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
    assert available_memory("CPU", tree(tmp_path, HOST)) == 8 * MIB


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    files = {
        **HOST,
        "proc/self/cgroup": "0::/system.slice/chat.service\n",
        **group("system.slice/chat.service/", "max", 5 * MIB, 0),
        **group("system.slice/", str(6 * MIB), 5 * MIB, 2 * MIB),
    }
    assert available_memory("CPU", tree(tmp_path, files)) == 3 * MIB


def test_a_group_beyond_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = {**HOST, "proc/self/cgroup": "0::/\n", **group("", "1000", 5000, 10)}
    assert available_memory("CPU", tree(tmp_path, files)) == 0


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    """Their path may be the host's, while the container sees its own group as the root."""
    files = {
        **HOST,
        "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{7 * MIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{5 * MIB}\n",
    }
    assert available_memory("CPU", tree(tmp_path, files)) == 2 * MIB


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert available_memory("CPU", tmp_path) is None


def test_this_machine() -> None:
    free = available_memory("CPU")
    assert free is None or free > 0


def test_a_jetson_shares_its_memory(tmp_path: Path) -> None:
    (tmp_path / "sys/class/devfreq/17000000.gpu").mkdir(parents=True)
    assert available_memory("NV", tree(tmp_path, HOST)) == 8 * MIB


@pytest.mark.parametrize(
    ("says", "free"),
    [("echo 81079; echo 5", 81079 * MIB), ("echo '[N/A]'", None), ("echo 5; exit 9", None)],
)
def test_nvidia_smi_tells_of_the_first_gpu(
    says: str, free: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{shutil.which('sh')}\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert available_memory("NV", tree(tmp_path / "root", HOST)) == free


def test_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert available_memory("NV", tmp_path) is None


@pytest.mark.gpu
def test_cuda_counts_what_is_taken() -> None:
    from tinygrad import Tensor

    before = available_memory("CUDA")
    held = Tensor.ones(1 << 28, device="CUDA").contiguous().realize()
    after = available_memory("CUDA")
    assert before is not None
    assert after is not None
    assert before - after >= held.nbytes() == 1 << 30


def test_a_model_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(LLAMA_3_2_3B, "F16")
    monkeypatch.setattr(memory, "available_memory", lambda _: 7_000_000_000)
    with pytest.raises(UserError) as caught:
        check_fits(model, "CUDA", 8192)
    assert str(caught.value) == (
        "random weights, llama 3.21B F16: needs about 7.4 GB on CUDA with a context of 8192, and "
        "7.0 GB are free: choose a smaller model, quantization or context"
    )
    check_fits(model, "CUDA", 512)


def test_a_device_that_does_not_tell_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda _: None)
    check_fits(random_model(LLAMA_3_2_3B, "F16"), "NV", 131072)
