"""Sets of inputs in turn: how many there are, where their results lie, who computes first."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from tinygrad import Tensor
from tinygrad.helpers import Context
from tinygrad.uop.ops import Ops, UOp

from orin_bench.engine import JitEngine
from orin_bench.ops.counts import Work
from orin_bench.ops.operation import MOST_SETS
from orin_bench.ops.rotation import Rotation, gather, set_count
from orin_bench.roofline import Roofline

# 100 GB/s, 1 TFLOP/s, launches of 1 us.
ROOF = Roofline("GPU", 100e9, 1e-6, {"float32": 1e12, "float16": 4e12})


@pytest.mark.parametrize(
    ("work", "dtype", "free", "expected"),
    [
        (Work(0, 16 << 20), "float32", None, 16),  # 256 MiB in 2.7 ms
        (Work(0, 1 << 20), "float32", None, MOST_SETS),
        (Work(0, 512 << 20), "float32", None, 1),
        (Work(10**9, 16 << 20), "float32", None, 5),  # 1 ms each, of 5 ms
        (Work(10**9, 16 << 20), "float16", None, 16),
        (Work(10**9, 16 << 20), "bfloat16", None, 16),  # as fast as the fastest, if unknown
        (Work(10**11, 16 << 20), "float32", None, 1),
        (Work(0, 16 << 20), "float32", 64 << 20, 4),
        (Work(0, 16 << 20), "float32", 1, 1),
    ],
)
def test_how_many_sets(work: Work, dtype: str, free: int | None, expected: int) -> None:
    assert set_count(work, dtype, ROOF, free) == expected


def test_a_step_is_long_beside_a_launch() -> None:
    """336 us a set at 200 GB/s, a launch of 300 us: more sets than the caches ask for."""
    slow = Roofline("GPU", 200e9, 300e-6, {})
    assert set_count(Work(0, 64 << 20), "float32", slow, None) == 9
    assert set_count(Work(0, 64 << 20), "float32", ROOF, None) == 4


def test_gather_takes_the_results_as_they_lie() -> None:
    values = [np.arange(600, dtype=np.float32).reshape(20, 30) + 1000 * i for i in range(3)]
    at = np.random.default_rng(0).integers(0, 600, 256, np.int32)
    tensors = [Tensor(each, device="CPU").realize() for each in values]
    got = gather(tensors, Tensor(at, device="CPU").realize()).numpy()
    np.testing.assert_array_equal(got, [each.ravel()[at] for each in values])


def calls(engine: JitEngine) -> list[UOp]:
    """The kernels of the captured graph, in order."""
    jit: Any = engine._jit
    (graph,) = jit.captured.linear.src
    return list(graph.src[0].src[0].src)


def test_kernels_run_set_by_set_and_keep_their_results_apart() -> None:
    """Results share a buffer, by which tinygrad's graphs order their kernels, and not their bytes.

    The first kernel of a softmax is a sum for each set; were all realized at once, the three would
    come first.
    """
    noise = np.random.default_rng(0).random((3, 64, 64), np.float32)
    inputs = [Tensor(each, device="CPU").realize() for each in noise]
    at = Tensor(np.arange(256, dtype=np.int32), device="CPU").realize()
    steps = [lambda x=x: x.softmax(-1) for x in inputs]
    with Context(JIT_BATCH_SIZE=0):
        engine = JitEngine("tinygrad CPU", "CPU", Rotation(steps, at))
    kernels = calls(engine)
    each, rest = divmod(len(kernels), 3)
    assert each > 1 and rest == 1
    places = {x.uop.base: index for index, x in enumerate(inputs)}
    read = [[places[part] for part in kernel.src if part in places] for kernel in kernels]
    order = list(chain(*read))
    assert order == sorted(order)
    assert all(read[index * each] == [index] for index in range(3))
    results = kernels[-1].src[3:]
    assert [view.op for view in results] == [Ops.BUFFER_VIEW] * 3
    assert len({view.src[0] for view in results}) == 1
    assert len({view.arg for view in results}) == 3
    expected = [x.softmax(-1).numpy().ravel()[:256] for x in inputs]
    np.testing.assert_allclose(engine.step().numpy(), expected, rtol=1e-6)
