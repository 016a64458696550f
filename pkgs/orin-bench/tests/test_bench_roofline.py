"""Bounds of a device: datasheets, what is measured, and shares of both."""

import gc

import numpy as np
import pytest
from tinygrad import Device
from tinygrad.helpers import GlobalCounters

from orin_bench import roofline as module
from orin_bench.engine import JitEngine
from orin_bench.peaks import AGX_ORIN_64GB, H100_SXM, H200, UNKNOWN, datasheet
from orin_bench.roofline import Roofline, copy_bandwidth, measure_roofline
from orin_core.timing import Timing

BOARD = {"compatible": "nvidia,p3737-0000+p3701-0005 nvidia,p3701-0005 nvidia,tegra234"}


def test_datasheets_of_known_devices() -> None:
    assert datasheet(BOARD, "NV") is AGX_ORIN_64GB
    assert datasheet(BOARD, "CUDA").peaks["float16"] == 42.5e12
    assert datasheet(BOARD, "CPU") is UNKNOWN
    assert datasheet({"gpu": "NVIDIA H200"}, "CUDA") is H200
    assert datasheet({"gpu": "NVIDIA H100 80GB HBM3"}, "NV") is H100_SXM
    assert datasheet({"gpu": "NVIDIA H200 NVL"}, "CUDA") is UNKNOWN
    assert datasheet({}, "CUDA") is UNKNOWN
    assert H200.peaks["float32"] == 67e12


def test_bandwidths_follow_from_the_memory() -> None:
    """AGX Orin: 256 bits at 6,400 MT/s."""
    assert pytest.approx(256 / 8 * 6400e6) == AGX_ORIN_64GB.bandwidth
    assert (H200.bandwidth, H100_SXM.bandwidth) == (4.8e12, 3.35e12)


ROOF = Roofline("CUDA", bandwidth=2e12, floor=5e-6, peaks={"float16": 400e12})


def test_the_slower_of_arithmetic_and_memory_bounds() -> None:
    # 200 operations a byte is the ridge.
    assert ROOF.fastest("float16", flops=400e12, bytes=1e12) == 1.0
    assert ROOF.fastest("float16", flops=400e12, bytes=4e12) == 2.0
    assert ROOF.fastest("float16", flops=0, bytes=2e12) == 1.0
    assert ROOF.fastest("int8", flops=400e12, bytes=1e12) == 0.5


def test_shares() -> None:
    assert ROOF.share("float16", flops=400e12, bytes=0, seconds=4.0) == 0.25
    assert ROOF.share("float16", flops=1e12, bytes=2e12, seconds=2.0) == 0.5
    assert ROOF.share("int8", flops=0, bytes=2e12, seconds=2.0) == 0.5
    assert ROOF.share("int8", flops=1, bytes=2e12, seconds=2.0) is None


def test_in_a_line() -> None:
    text = str(Roofline("CUDA", 4.2e12, 5.4e-6, {"float16": 989.4e12}, 4.8e12))
    assert "copies 4200.0 GB/s, read and written, 88% of the datasheet's" in text
    assert "an empty kernel takes 5.4 us" in text
    assert "peak TFLOP/s by datasheet: float16 989.4" in text
    assert "peak" not in str(Roofline("CUDA", 1e9, 1e-6, {}))


def test_a_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_BUFFER", 16 << 20)
    monkeypatch.setattr(module, "PRODUCT", 512)
    gc.collect()  # what earlier tests left
    before = GlobalCounters.mem_used_per_device["CPU"]
    roof = measure_roofline("CPU", BOARD)
    assert 1e8 < roof.bandwidth < 1e13
    assert 1e-7 < roof.floor < 0.1
    assert list(roof.peaks) == ["float32"]
    assert 1e8 < roof.peaks["float32"] < 1e14
    assert roof.datasheet_bandwidth is None
    assert GlobalCounters.mem_used_per_device["CPU"] == before


def test_a_copy_is_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel of vectors; its bytes by tinygrad's own count are those of the figure."""
    monkeypatch.setattr(module, "CPU_BUFFER", 8 << 20)
    moved = []

    class Watched(JitEngine):
        def run(self, count: int) -> list[float]:
            GlobalCounters.reset()
            for _ in range(count):
                self.step()
            assert GlobalCounters.kernel_count == count
            moved.append(GlobalCounters.global_mem / count)
            assert np.array_equal(np.unique(self.step().numpy()), [1.0])
            return [0.5] * count

    monkeypatch.setattr(module, "JitEngine", Watched)
    assert copy_bandwidth("CPU") == 2 * (8 << 20) / 0.5
    assert set(moved) == {2 * (8 << 20)}


@pytest.mark.parametrize(
    ("free", "buffer"),
    [
        (None, 64 << 20),
        (1 << 40, 64 << 20),
        (8 << 20, 1 << 20),
        (8 * 5000, 2 * 2048),  # whole blocks of 512 values
        (80, 2048),
    ],
)
def test_the_copy_leaves_memory_to_others(
    free: int | None, buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU_BUFFER", 64 << 20)
    monkeypatch.setattr(module, "available", lambda device: free)
    monkeypatch.setattr(module, "_measure", lambda device, step, repetitions: Timing([2.0]))
    assert copy_bandwidth("CPU") == buffer  # read and written in 2 s


@pytest.mark.gpu
def test_a_gpus_copy_is_near_its_datasheet() -> None:
    from orin_core.machine import facts

    roof = measure_roofline(Device.DEFAULT, facts())
    assert roof.datasheet_bandwidth is not None
    assert 0.6 < roof.bandwidth / roof.datasheet_bandwidth < 1.02
    assert 1e-6 < roof.floor < 1e-3
