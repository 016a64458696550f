"""What a device can reach at most: its memory's bandwidth, its arithmetic, a launch's cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import AxisType, KernelInfo, UOp

from orin_bench.engine import JitEngine
from orin_bench.peaks import datasheet
from orin_core.memory import available
from orin_core.timing import Timing, measure

# Bytes of each of the copy's two buffers: many times a GPU's L2 (50 MB on an H200), or a CPU's.
GPU_BUFFER, CPU_BUFFER = 2 << 30, 256 << 20
# Values that a block of 128 threads copies.
BLOCK = 512
# Of the free memory, the share that one of them may take.
LARGEST_SHARE = 8
COPIES, EMPTY_STEPS, PRODUCTS = 20, 200, 5
# A square product of this size reaches BLAS' best rate, and takes a tenth of a second a core.
PRODUCT = 2048


@dataclass(frozen=True)
class Roofline:
    """The bounds of `device`, measured in this run unless said otherwise.

    `bandwidth` is in bytes per second, read and written, of a large copy on the device;
    `datasheet_bandwidth` is what its maker promises. `floor` is the seconds of a step whose only
    kernel computes a single number: what a launch and the wait for it cost. `peaks` is operations
    per second by dtype: the datasheet's, or on a CPU that of numpy's BLAS in float32.
    """

    device: str
    bandwidth: float
    floor: float
    peaks: Mapping[str, float]
    datasheet_bandwidth: float | None = None

    def fastest(self, dtype: str, flops: float, bytes: float) -> float:
        """Seconds below which `flops` on `bytes` of memory traffic cannot go.

        Where the peak of `dtype` is not known, only the memory bounds them.
        """
        compute = flops / self.peaks[dtype] if dtype in self.peaks else 0.0
        return max(compute, bytes / self.bandwidth)

    def share(self, dtype: str, flops: float, bytes: float, seconds: float) -> float | None:
        """What share of the possible speed `seconds` are; None where the peak is not known.

        More than 1 is possible: data that caches keep does not go through the memory.
        """
        if flops and dtype not in self.peaks:
            return None
        return self.fastest(dtype, flops, bytes) / seconds

    def __str__(self) -> str:
        """The bounds in a line for people."""
        promised = self.datasheet_bandwidth
        of_it = f", {self.bandwidth / promised:.0%} of the datasheet's" if promised else ""
        peaks = [f"{dtype} {peak / 1e12:.4g}" for dtype, peak in self.peaks.items()]
        source = "numpy's BLAS here" if self.device == "CPU" else "datasheet"
        return (
            f"copies {self.bandwidth / 1e9:.1f} GB/s, read and written{of_it}; an empty kernel"
            f" takes {self.floor * 1e6:.1f} us"
            + (f"; peak TFLOP/s by {source}: {', '.join(peaks)}" if peaks else "")
        )


def measure_roofline(device: str, machine: dict[str, str]) -> Roofline:
    """Measure `device` (tinygrad's name); `machine` is `facts()`, by which datasheets are found."""
    sheet = datasheet(machine, device)
    peaks = _blas_peaks() if device == "CPU" else sheet.peaks
    return Roofline(device, copy_bandwidth(device), _floor(device), peaks, sheet.bandwidth)


def copy_bandwidth(device: str) -> float:
    """Bytes per second, read and written, of the median of large copies within `device`.

    On a GPU the kernel is written out: what tinygrad's optimizer makes of an addition has blocks
    of 32 threads, and reaches 1.6 of an H200's 4.0 TB/s. A CPU adds 1 on the way, since tinygrad
    drops `x + 0`; beside the memory the addition costs nothing.
    """
    size = CPU_BUFFER if device == "CPU" else GPU_BUFFER
    free = available(device)
    if free is not None:
        size = min(size, free // LARGEST_SHARE)
    count = max(1, size // (4 * BLOCK)) * BLOCK
    source = Tensor.zeros(count, dtype=dtypes.float32, device=device).contiguous().realize()

    def step() -> Tensor:
        if device == "CPU":
            return source + 1
        out = Tensor.empty(count, dtype=dtypes.float32, device=device)
        return out.custom_kernel(source, fxn=_copy)[0]

    return 2 * 4 * count / _measure(device, step, COPIES).median


def _copy(out: UOp, source: UOp) -> UOp:
    """The kernel of a copy of float32, each thread four of them."""
    block = UOp.range(out.shape[0] // BLOCK, 0, AxisType.GLOBAL)
    thread, four = UOp.range(BLOCK // 4, 1, AxisType.LOCAL), UOp.range(4, 2, AxisType.UPCAST)
    index = block * BLOCK + thread * 4 + four
    stored = out[index].store(source[index]).end(block, thread, four)
    return stored.sink(arg=KernelInfo(name="copy", opts_to_apply=()))


def _floor(device: str) -> float:
    one = Tensor.zeros(1, device=device).contiguous().realize()
    return _measure(device, lambda: one + 1, EMPTY_STEPS).median


def _measure(device: str, step: Callable[[], Tensor], repetitions: int) -> Timing:
    engine = JitEngine("roofline", device, step)
    engine.run(2)
    timing = Timing(engine.run(repetitions))
    engine.close()
    return timing


def _blas_peaks() -> dict[str, float]:
    """float32 FLOP/s of numpy's matrix product on all cores: the best of a few."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, PRODUCT, PRODUCT), np.float32)
    out = np.empty_like(left)
    timing = measure(
        lambda: np.matmul(left, right, out=out),
        lambda: None,
        warmup=1,
        repetitions=PRODUCTS,
    )
    return {"float32": 2 * PRODUCT**3 / timing.minimum}
