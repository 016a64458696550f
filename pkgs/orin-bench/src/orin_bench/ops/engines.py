"""An operation made ready by every library that has it, and compared with the reference."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor
from tinygrad.helpers import Context

from orin_bench.engine import Engine, JitEngine, interleave
from orin_bench.ops import stock, torch_ops, tuned
from orin_bench.ops.accuracy import Error, check_error, measure_error
from orin_bench.ops.counts import Work
from orin_bench.ops.operation import Indices, Operation, draw, references, stored, unique
from orin_bench.ops.rotation import Rotation, Step, set_count
from orin_bench.ops.upload import Upload
from orin_bench.roofline import Roofline
from orin_bench.torch_worker import TorchWorker
from orin_core.memory import available, check_fits, fitting
from orin_core.progress import progress
from orin_core.timing import Timing

# Of the free memory, the share that one engine's sets of inputs may take.
LARGEST_SHARE = 16
REMEDY = "choose others by --operation or --size"


@dataclass(frozen=True)
class Case:
    """An operation on one device (tinygrad's name), its values stored in `dtype`."""

    operation: Operation
    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.operation.name} {self.operation} {self.dtype}"

    def set_count(self, roofline: Roofline) -> int:
        """How many sets of inputs a step takes."""
        free = available(self.device)
        arithmetic = self.operation.arithmetic(self.dtype)
        share = None if free is None else free // LARGEST_SHARE
        return set_count(self.operation.work(self.dtype), arithmetic, roofline, share)


@dataclass(frozen=True)
class Measured:
    """What an engine took for one operation, and how far its results are off."""

    case: Case
    engine: str
    timing: Timing
    error: Error
    sets: int
    compile_seconds: float
    memory: int

    @property
    def work(self) -> Work:
        return self.case.operation.work(self.case.dtype)

    @property
    def flop_per_second(self) -> float:
        return self.work.flops / self.timing.median

    @property
    def bytes_per_second(self) -> float:
        return self.work.bytes / self.timing.median

    def share(self, roofline: Roofline) -> float | None:
        """Of the speed that `roofline` allows at this arithmetic intensity."""
        arithmetic = self.case.operation.arithmetic(self.case.dtype)
        return roofline.share(arithmetic, self.work.flops, self.work.bytes, self.timing.median)


def check_memory(case: Case) -> None:
    """Raise UserError for a case that is sure not to fit, before anything is allocated."""
    operation, dtype = case.operation, case.dtype
    needed = operation.work(dtype).bytes + operation.resident(dtype) + operation.scratch(dtype)
    check_fits(str(case), needed, case.device, REMEDY)


def measure_cases(
    cases: Sequence[Case],
    counts: Sequence[int],
    torch: TorchWorker | None,
    warmup: int,
    repetitions: int,
) -> list[Measured]:
    """Measure `cases` of one operation on `counts` sets of inputs each, all engines interleaved.

    PyTorch's are those of the cases on the first GPU. Raises UserError for a result that is wrong.
    """
    gpu = next((case.device for case in cases if case.device != "CPU"), None)
    with ExitStack() as stack:
        ready: list[tuple[Case, int, Engine, Error]] = []
        for case, count in zip(cases, counts, strict=True):
            made = _tinygrad(case, count, stack)
            if torch and case.device == gpu and torch_ops.has(case.operation, case.dtype):
                made += _pytorch(case, count, torch, stack)
            for engine, sample in made:
                what = f"{case}, {engine.name}"
                ready.append((case, count, engine, _compared(what, case, sample)))
        engines = [engine for _, _, engine, _ in ready]
        with progress(str(cases[0]), len(engines) * repetitions) as tick:
            timings = interleave(engines, warmup=warmup, repetitions=repetitions, tick=tick)
    return [
        Measured(
            case,
            engine.name,
            Timing([seconds / count for seconds in timing.seconds]),
            error,
            count,
            engine.compile_seconds,
            engine.memory,
        )
        for (case, count, engine, error), timing in zip(ready, timings, strict=True)
    ]


Made = list[tuple[Engine, NDArray[np.float32]]]  # with what each computed where it is compared


def _tinygrad(case: Case, count: int, stack: ExitStack) -> Made:
    """tinygrad's own engine, and the one with kernels of ours where there are any."""
    operation, dtype, device = case.operation, case.dtype, case.device
    sets, at = draw(operation)
    made: Made = []
    with fitting(str(case), REMEDY):
        upload = Upload(device, dtype, sets[0][: operation.shared])
        prepared = {id(each): stored(each, dtype)[0] for each in unique(sets[:count])}
        inputs = [prepared[id(each)] for each in sets[:count]]
        steps = [stock.BUILDERS[operation.name](operation, each, upload) for each in inputs]
        settings = {"ALLOW_TF32": int(dtype == "tf32")}
        made.append(_jitted(f"tinygrad {device}", device, steps, at, settings, stack))
        first = tuned.build(operation, inputs[0], upload)
        if first:
            others = (tuned.build(operation, each, upload) for each in inputs[1:])
            steps = [first, *(step for step in others if step)]
            # Products whose sizes are no multiples of a tile go on tensor cores too, padded.
            settings = {"TC_OPT": 2}
            at = tuned.places(operation, at)
            made.append(_jitted(f"tinygrad {device} tuned", device, steps, at, settings, stack))
    return made


def _jitted(
    name: str,
    device: str,
    steps: Sequence[Step],
    at: Indices,
    settings: dict[str, int],
    stack: ExitStack,
) -> tuple[Engine, NDArray[np.float32]]:
    places = Tensor(at, device=device).realize()
    with Context(JIT_BATCH_SIZE=0, **settings):  # one graph, and so one launch, for all kernels
        engine = JitEngine(name, device, Rotation(steps, places))
    stack.enter_context(closing(engine))
    return engine, engine.step().numpy()


def _pytorch(case: Case, count: int, worker: TorchWorker, stack: ExitStack) -> Made:
    engines = worker.start(
        "orin_bench.ops.torch_ops:engines",
        operation=case.operation,
        dtype=case.dtype,
        count=count,
    )
    for engine in engines:
        stack.enter_context(closing(engine))
    samples: list[NDArray[np.float32]] = worker.call(torch_ops.samples)
    return list(zip(engines, samples, strict=True))


def _compared(what: str, case: Case, sample: NDArray[np.float32]) -> Error:
    _, factor = stored(draw(case.operation)[0][0], case.dtype)
    error = measure_error(sample * factor, references(case.operation)[: len(sample)])
    check_error(what, error, case.dtype)
    return error
