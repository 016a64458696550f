"""How fast a model reads and generates: a row for each model, phase, device and engine."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tinygrad.helpers import GlobalCounters

from orin_bench.engine import Engine, interleave
from orin_bench.llm.generation import Generating, Reading
from orin_bench.llm.greedy import STEP, OrinGenerator
from orin_bench.llm.llama_bench import LlamaBench
from orin_bench.llm.phase import Phase, Task, expanded
from orin_bench.llm.source import Source
from orin_bench.llm.table import Measured
from orin_bench.roofline import Roofline
from orin_bench.session import Session
from orin_bench.torch_worker import TorchWorker
from orin_core.memory import check_fits, fitting
from orin_core.progress import progress
from orin_nn.formats import FORMATS
from orin_nn.gguf.model import Model, TensorInfo
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.size import memory_needed

REMEDY = "choose a smaller model, --quantization or --context, or the first --blocks"


def check_memory(source: Source, device: str, task: Task, copies: int = 1) -> None:
    """Raise UserError for a model that is sure not to fit, before anything is allocated.

    It is held in so many `copies`, one for each of bench-qwen3-beam's widths.
    """
    model = held(source.model)
    needed = memory_needed(model, task.context, min(task.prompt, STEP)) + _expanded(model, device)
    needed *= copies
    what = f"{source.label}, {source.model.quantization}, with a context of {task.context}"
    if copies == 1:
        check_fits(what, needed, device, REMEDY)
    else:
        check_fits(f"{what}, {copies} times,", needed, device, f"{REMEDY}, or fewer --beams")


def held(model: Model) -> Model:
    """`model` as our transformer holds it."""
    return expanded(model, FORMATS)


def _expanded(model: Model, device: str) -> int:
    """Bytes of the largest quantized matrix when it is written out for a product: in float32 on a
    CPU, and in float16 on a GPU, which does so for a prompt and not for the output matrix."""
    if model.quantization == "F16":
        return 0
    shape = model.shape
    gates, head = 2 * shape.hidden_dim * shape.dim, shape.vocab * shape.dim
    return 4 * max(gates, head) if device == "CPU" else 2 * gates


@dataclass(frozen=True)
class Contender:
    """An engine, and the model as it holds it; `kernels` and `search_seconds` are tinygrad's."""

    engine: Engine
    device: str
    phase: Phase
    model: Model
    kernels: int | None = None
    search_seconds: float | None = None


def benchmark(
    session: Session,
    sources: Sequence[Source],
    task: Task,
    rooflines: Mapping[str, Roofline],
    warmup: int,
    repetitions: int,
    *,
    versus_torch: bool,
    llama_bench: LlamaBench | None,
) -> list[Measured]:
    """Measure all `sources` on the devices of `rooflines`, a row each.

    Engines are measured in turns, repetition by repetition, but for llama-bench, whose turn comes
    when the others are closed. PyTorch has float16 alone, so that it is measured once.
    """
    floats = [source for source in sources if source.model.quantization == "F16"]
    results: list[Measured] = []

    def add(source: Source, measured: Measured) -> None:
        roofline = rooflines[measured.device]
        session.add(
            measured.case(source),
            measured.engine,
            measured.timing,
            list(measured.cells(source, roofline).values()),
            **measured.figures(roofline),
        )
        results.append(measured)

    for source in sources:
        with _file(source) if llama_bench else nullcontext() as file:
            with ExitStack() as stack:
                contenders = _prepare(source, rooflines, task, stack)
                if versus_torch and source is [*floats, *sources][0]:
                    contenders += _prepare_torch(source, rooflines, task, stack)
                for phase in task.phases:
                    chosen = [each for each in contenders if each.phase == phase]
                    for measured in _measure(chosen, warmup, repetitions):
                        add(source, measured)
            if llama_bench and file:
                for phase in task.phases:
                    for device in rooflines:
                        model = source.model
                        add(source, llama_bench.measure(file, model, device, phase, repetitions))
    return results


def _prepare(
    source: Source, devices: Iterable[str], task: Task, stack: ExitStack
) -> list[Contender]:
    """Our transformer on every device; `stack` closes them."""
    contenders = []
    for device in devices:
        name, used = f"orin_nn {device}", GlobalCounters.mem_used_per_device[device]
        with (
            fitting(source.label, REMEDY),
            progress(f"loading for {device}", len(source.model.tensors)) as tick,
        ):

            def read(tensor: TensorInfo, tick: Callable[[], None] = tick) -> NDArray[np.uint8]:
                tick()
                return source.read(tensor)

            prompt = task.tokens(source.model.shape.vocab)
            generator = OrinGenerator(
                source.model, read, device, prompt, task.generate, task.context
            )
            stack.callback(generator.close)
            engines = [Reading(name, generator), Generating(name, generator)]
        memory = GlobalCounters.mem_used_per_device[device] - used
        for engine, phase in zip(engines, task.phases, strict=True):
            engine.memory = memory
            kernels = engine.kernels if phase.generated else None
            seconds = engine.search.seconds
            contenders.append(
                Contender(engine, device, phase, held(source.model), kernels, seconds)
            )
    return contenders


def _prepare_torch(
    source: Source, devices: Iterable[str], task: Task, stack: ExitStack
) -> list[Contender]:
    """PyTorch on the first GPU among the devices."""
    gpu = next(device for device in devices if device != "CPU")
    worker = stack.enter_context(closing(TorchWorker()))
    engines = worker.start(
        "orin_bench.llm.torch_llm:engines",
        source=source,
        prompt=task.tokens(source.model.shape.vocab),
        generated=task.generate,
    )
    reading, generating = task.phases
    phases = reading, generating, generating
    model = expanded(source.model)
    return [
        Contender(engine, gpu, phase, model) for engine, phase in zip(engines, phases, strict=True)
    ]


def _measure(contenders: Sequence[Contender], warmup: int, repetitions: int) -> Iterator[Measured]:
    """Those of one phase."""
    phase, model = contenders[0].phase, contenders[0].model
    steps = phase.steps * repetitions
    with progress(f"{model.quantization} {phase.name}", len(contenders) * steps) as tick:
        timings = interleave(
            [each.engine for each in contenders],
            warmup=warmup,
            repetitions=steps,
            rounds=repetitions,
            tick=tick,
        )
    for each, timing in zip(contenders, timings, strict=True):
        yield Measured(
            each.engine.name,
            each.device,
            phase,
            each.model,
            timing.seconds,
            kernels=each.kernels,
            compile_seconds=each.engine.compile_seconds,
            search_seconds=each.search_seconds,
            memory=each.engine.memory,
        )


@contextmanager
def _file(source: Source) -> Iterator[Path]:
    """The file that `source` is of, or one for as long as it is needed."""
    if source.file:
        yield source.file
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_random(path, source.model.shape, source.model.quantization)
        yield path
