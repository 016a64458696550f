"""PyTorch in a process of its own, measured side by side with tinygrad.

Within one process PyTorch would compute in the CUDA context that tinygrad made, and cuDNN refuses
to be captured there.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Protocol

from orin_core.cli import UserError
from orin_core.timing import measure


class Step(Protocol):
    """What lives in PyTorch's process: a step to be timed there."""

    name: str
    compile_seconds: float
    memory: int

    def step(self) -> object: ...

    def synchronize(self) -> object: ...


@dataclass(frozen=True)
class TorchStep:
    """A `Step` of two functions."""

    name: str
    compile_seconds: float
    memory: int
    step: Callable[[], object]
    synchronize: Callable[[], object]


def eager_and_graph(step: Callable[[], object]) -> list[TorchStep]:
    """`step` as "torch eager", and captured and replayed as one CUDA graph, "torch graph".

    For use in PyTorch's process. Their `memory` is the most that PyTorch had allocated.
    """
    return [_prepared("torch eager", _warmed, step), _prepared("torch graph", _captured, step)]


class TorchWorker:
    """A process that holds PyTorch; close it to free its memory on the device."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            get_context("spawn"),
            initializer=signal.signal,  # by Ctrl-C, which reaches it too, it ends without a word
            initargs=(signal.SIGINT, signal.SIG_DFL),
        )

    def start(self, function: str, **kwargs: Any) -> list["TorchEngine"]:
        """The engines that `function`, as "orin_bench.cnn.torch_cnn:engines", makes of `kwargs`.

        It runs in PyTorch's process, in inference mode, and returns a list of `Step`. Raises
        UserError without PyTorch, without a GPU that it can use, and for what it refuses.
        """
        made = self.call(_start, function, kwargs)
        return [TorchEngine(self, key, *figures) for key, figures in made.items()]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns in PyTorch's process."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise UserError("--versus torch: PyTorch's process died; out of memory?") from None
        except (ImportError, RuntimeError) as error:  # PyTorch's own are RuntimeErrors
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"--versus torch: {reason}") from None

    def release(self, key: int) -> None:
        """Drop the step under `key`; a process that died has dropped it already."""
        with suppress(BrokenProcessPool):
            self._pool.submit(_close, key).result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class TorchEngine:
    """An `Engine` whose step lives in a TorchWorker's process."""

    def __init__(
        self, worker: TorchWorker, key: int, name: str, compile_seconds: float, memory: int
    ) -> None:
        self.name, self.compile_seconds, self.memory = name, compile_seconds, memory
        self._worker, self._key = worker, key

    def run(self, count: int) -> list[float]:
        seconds: list[float] = self._worker.call(_run, self._key, count)
        return seconds

    def close(self) -> None:
        self._worker.release(self._key)


# Of PyTorch's process: its steps, under the keys that the handles hold.
_steps: dict[int, Step] = {}


def _start(function: str, kwargs: dict[str, Any]) -> dict[int, tuple[str, float, int]]:
    import torch

    module, _, name = function.partition(":")
    with torch.inference_mode():
        steps: list[Step] = getattr(import_module(module), name)(**kwargs)
    first = max(_steps, default=-1) + 1
    made = dict(enumerate(steps, first))
    _steps.update(made)
    return {key: (step.name, step.compile_seconds, step.memory) for key, step in made.items()}


def _run(key: int, count: int) -> list[float]:
    import torch

    step = _steps[key]
    with torch.inference_mode():
        return measure(step.step, step.synchronize, warmup=0, repetitions=count).seconds


def _close(key: int) -> None:
    import torch

    del _steps[key]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _prepared(
    name: str,
    prepare: Callable[[Callable[[], object]], Callable[[], object]],
    step: Callable[[], object],
) -> TorchStep:
    import torch

    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    ready = prepare(step)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated()
    return TorchStep(name, seconds, memory, ready, torch.cuda.synchronize)


def _warmed(step: Callable[[], object]) -> Callable[[], object]:
    """`step`, after the call in which cuDNN chooses its algorithms."""
    step()
    return step


def _captured(step: Callable[[], object]) -> Callable[[], object]:
    """A function that replays the kernels of `step`, already warm, as one CUDA graph."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], object] = graph.replay
    return replay
