"""One step that computes an operation on many sets of inputs, one after the other.

A single set of a small operation would stay in the caches: on an H200 the L2 alone holds 50 MB. And
a single short kernel would be measured with its launch. The sets are as many as it takes for their
memory to be many times the caches, and for a step to be long beside a launch; a step's time divided
by their number is the operation's.
"""

import math
from collections.abc import Callable, Sequence

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import AxisType, KernelInfo, UOp

from orin_bench.ops.counts import Work
from orin_bench.ops.operation import MOST_SETS
from orin_bench.roofline import Roofline

# Bytes that the sets of a step together exceed: five times the L2 of an H200.
COLD = 256 << 20
# A step is so many times as long as an empty one, if it goes at the roofline's speed.
LAUNCHES = 10
# And at that speed no longer than so many seconds, which on a CPU are soon over.
LONGEST = 0.005

# Of a block that gathers, on a GPU; divides the sample.
THREADS = 32

Step = Callable[[], Tensor]


def set_count(work: Work, dtype: str, roofline: Roofline, free: int | None) -> int:
    """How many sets of inputs a step takes, in at most `free` bytes.

    Where the peak of `dtype` is not known, the device's highest is taken for it.
    """
    peak = roofline.peaks.get(dtype, max(roofline.peaks.values(), default=math.inf))
    fastest = max(work.flops / peak, work.bytes / roofline.bandwidth)
    wanted = math.ceil(max(COLD / work.bytes, LAUNCHES * roofline.floor / fastest))
    bounds = [wanted, MOST_SETS, int(LONGEST / fastest)]
    if free is not None:
        bounds.append(free // work.bytes)
    return max(1, min(bounds))


class Rotation:
    """`steps` one after the other; returns their results at the flat indices `at`: (steps, at).

    The kernel that gathers these is the last of a step. It keeps every result in memory of its own
    until then; tinygrad places such results in one buffer, and so its graphs run their kernels in
    turn, as they would within a network, and not several at once.
    """

    def __init__(self, steps: Sequence[Step], at: Tensor) -> None:
        self.steps, self.at = steps, at

    def __call__(self) -> Tensor:
        # Realized one by one: together, all first kernels would precede all second ones.
        return gather([step().realize() for step in self.steps], self.at)


def gather(results: Sequence[Tensor], at: Tensor) -> Tensor:
    """The values of each of `results` at the flat indices `at` (n) int32: (results, n) float32."""
    out = Tensor.empty(len(results), at.shape[0], dtype=dtypes.float32, device=at.device)
    # A CPU has no threads of a block, nor tinygrad's axes for them.
    kinds = (AxisType.LOOP,) * 2 if at.device == "CPU" else (AxisType.GLOBAL, AxisType.LOCAL)

    def build(out: UOp, at: UOp, *results: UOp) -> UOp:
        sizes = at.shape[0] // THREADS, THREADS
        block, thread = (
            UOp.range(size, axis, kind)
            for axis, (size, kind) in enumerate(zip(sizes, kinds, strict=True))
        )
        i = block * THREADS + thread
        place = at[i].cast(dtypes.weakint)
        stored = [
            out[row, i].store(result[place].cast(dtypes.float32))
            for row, result in enumerate(results)
        ]
        ended = UOp.group(*stored).end(block, thread)
        return ended.sink(arg=KernelInfo(name="gather", opts_to_apply=()))

    return out.custom_kernel(at, *(result.flatten() for result in results), fxn=build)[0]
