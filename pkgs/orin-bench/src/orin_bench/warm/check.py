"""Whether an optimized kernel still computes what it should, and whether it is faster.

A search only times its candidates, on whatever lies in memory, and some are wrong.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tinygrad.codegen import to_program
from tinygrad.codegen.opt import KernelOptError, Opt
from tinygrad.codegen.opt.postrange import bufs_from_ast
from tinygrad.device import Buffer
from tinygrad.dtype import DType, dtypes
from tinygrad.engine.realize import ExecContext, compile_linear, pm_exec
from tinygrad.helpers import Context
from tinygrad.uop.ops import Ops, UOp, sym_infer

from orin_bench.warm.kernel import Kernel

Values = np.ndarray[Any, np.dtype[Any]]

# The difference that another order of summation may make, relative to a result's own size and to
# the root mean square of all results.
TOLERANCES = {
    dtypes.float64: 1e-6,
    dtypes.float32: 2e-3,
    dtypes.float16: 1e-2,
    dtypes.bfloat16: 5e-2,
}
BLOCK = 1_000_003  # random values, repeated; prime, so that no axis repeats with them
PART = 1 << 18  # values compared at a time
BARE_OPERATIONS = 1e9  # more take a kernel without any optimization too long
ROUNDS, ROUNDS_SECONDS = 20, 0.5
GAIN = 0.98  # of the time before: less is noise


@dataclass(frozen=True)
class Checked:
    """Seconds of the kernel with its baseline, and with `opts`, the fastest right candidate.

    `opts` is None where no candidate was both right and faster; `wrong` counts those that computed
    something else, or do not apply to the kernel.
    """

    before: float
    after: float
    opts: tuple[Opt, ...] | None
    wrong: int


def check(kernel: Kernel, candidates: Sequence[tuple[Opt, ...]]) -> Checked:
    """Compare candidates with the kernel on random inputs, then time them in turn with it.

    The reference is the kernel without any optimization, or, where that takes long, its baseline.
    """
    with Context(**kernel.settings):
        buffers = [buffer.ensure_allocated() for buffer in bufs_from_ast(kernel.ast, kernel.device)]
        noise = np.random.default_rng(0)
        inputs = [random_values(buffer.dtype, buffer.size, noise) for buffer in buffers]
        bare = Run(kernel, (), buffers)
        baseline = Run(kernel, kernel.baseline, buffers)
        reference = bare if bare.operations < BARE_OPERATIONS else baseline
        expected = reference.outputs(inputs)
        tolerance = tolerance_of(kernel.ast)
        right = []
        for opts in candidates:
            try:
                run = Run(kernel, opts, buffers)
            except KernelOptError:  # the cache may have it from another GPU
                continue
            results = run.outputs(inputs)
            if all(map(agree, expected, results, [tolerance] * len(expected))):
                right.append(run)
        best = _fastest([baseline, *right])
        before, after = baseline.seconds, best.seconds
        gained = best is not baseline and after < GAIN * before
        return Checked(
            before,
            after if gained else before,
            best.opts if gained else None,
            len(candidates) - len(right),
        )


class Run:
    """The kernel with some optimizations, compiled, on buffers."""

    def __init__(self, kernel: Kernel, opts: tuple[Opt, ...], buffers: list[Buffer]) -> None:
        self.opts, self.buffers, self.seconds = opts, buffers, math.inf
        optimized = kernel.scheduled(opts).get_optimized_ast(name_override="test")
        program = to_program(optimized, kernel.renderer())
        variables = kernel.variables()
        self.written = program.arg.outs
        self.operations = sym_infer(program.src[0].arg.estimates.ops, variables)
        call = program.call(*map(UOp.from_buffer, buffers))
        (ready,) = compile_linear(UOp(Ops.LINEAR, src=(call,)), beam=0).src
        self.launch: Callable[[], float] = lambda: pm_exec.rewrite(
            ready, ExecContext(variables, update_stats=False, wait=True)
        )

    def outputs(self, inputs: Sequence[Values]) -> list[Values]:
        """What the kernel writes, given `inputs` in its buffers; also where it writes nothing."""
        for buffer, values in zip(self.buffers, inputs, strict=True):
            buffer.copyin(values.data)
        self.launch()
        written = [self.buffers[index] for index in self.written]
        return [decode(buffer.as_memoryview(), buffer.dtype) for buffer in written]


def _fastest(runs: Sequence[Run]) -> Run:
    """Time all in turn, so that drift hits all alike; the shortest launch of each counts."""
    start = time.monotonic()
    for index in range(ROUNDS):
        if index >= 3 and time.monotonic() - start > ROUNDS_SECONDS:
            break
        for run in runs:
            run.seconds = min(run.seconds, run.launch())
    return min(runs, key=lambda run: run.seconds)


def random_values(dtype: DType, size: int, noise: np.random.Generator) -> Values:
    """`size` random values of `dtype`, as tinygrad stores them.

    Signed integers wider than a byte may be positions and are 0 or 1. Unsigned ones may be packed
    floats: their bytes make numbers between 0 and 1 of whatever they are taken for.
    """
    count = min(size, BLOCK)
    values: Values
    if dtype in TOLERANCES:
        values = noise.uniform(-1, 1, count).astype(np.float32)
        if dtype == dtypes.bfloat16:
            values = (values.view(np.uint32) >> 16).astype(np.uint16)
        else:
            values = values.astype(np.dtype(dtype.fmt))
    elif dtype == dtypes.int8:
        values = noise.integers(-127, 128, count, np.int8)
    elif dtype == dtypes.bool or dtype in dtypes.sints:
        values = noise.integers(0, 2, count).astype(np.dtype(dtype.fmt))
    else:
        values = noise.integers(0, 0x3C, count * dtype.itemsize).astype(np.uint8)
        values = values.view(f"V{dtype.itemsize}")
    return np.resize(values, size).view(np.uint8)


def decode(raw: memoryview, dtype: DType) -> Values:
    """Bytes of a buffer as numbers; of a type that numpy has not as bytes."""
    if dtype == dtypes.bfloat16:
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, np.dtype(dtype.fmt) if dtype.fmt else np.uint8)


def tolerance_of(ast: UOp) -> float:
    """That of the coarsest float type in the kernel."""
    found = {node.dtype.base.scalar() for node in ast.toposort()}
    return max((tolerance for dtype, tolerance in TOLERANCES.items() if dtype in found), default=0)


def agree(expected: Values, actual: Values, tolerance: float) -> bool:
    """Whether all results are the same: integers exactly, floats within `tolerance`.

    False also where less than half of what is expected is finite, and little could be compared.
    """
    if not np.issubdtype(expected.dtype, np.floating):
        return np.array_equal(expected, actual)
    count, squares = 0, 0.0
    for part, _ in _parts(expected, actual):
        finite = part[np.isfinite(part)]
        count += finite.size
        squares += float(np.vdot(finite, finite))
    if 2 * count < expected.size:
        return False
    scale = math.sqrt(squares / count)
    return all(_is_close(part, other, tolerance, scale) for part, other in _parts(expected, actual))


def _parts(*arrays: Values) -> Iterator[tuple[Values, ...]]:
    """The arrays in parts that a processor's cache holds, in float32 at least."""
    for start in range(0, arrays[0].size, PART):
        parts = (array[start : start + PART] for array in arrays)
        yield tuple(part.astype(np.promote_types(part.dtype, np.float32)) for part in parts)


def _is_close(expected: Values, actual: Values, tolerance: float, scale: float) -> bool:
    finite = np.isfinite(expected)
    if not finite.all():
        if not np.array_equal(finite, np.isfinite(actual)):
            return False
        expected, actual = expected[finite], actual[finite]
    # What is not finite in `actual` alone is not smaller either.
    return bool(np.all(np.abs(expected - actual) <= tolerance * (np.abs(expected) + scale)))
