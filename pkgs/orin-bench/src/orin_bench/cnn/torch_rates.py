"""PyTorch's speed on torchvision's networks, to stand beside tinygrad's.

It is measured in a process of its own: within one, PyTorch would compute in the CUDA context that
tinygrad made, and cuDNN refuses to be captured there.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from orin_bench.rate import Rate
from orin_core.cli import UserError
from orin_core.timing import measure


class TorchWorker:
    """A process that holds PyTorch; close it to free its memory on the device."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(
            1,
            get_context("spawn"),
            initializer=signal.signal,  # by Ctrl-C, which reaches it too, it ends without a word
            initargs=(signal.SIGINT, signal.SIG_DFL),
        )

    def rates(
        self, network: str, dtype: str, batch: int, warmup: int, repetitions: int
    ) -> list[Rate]:
        """Random weights, channels last, cuDNN's own choice of algorithms; eager and as one CUDA
        graph. Raises UserError without torch, torchvision or a GPU they can use."""
        try:
            task = self.pool.submit(measure_torch, network, dtype, batch, warmup, repetitions)
            return task.result()
        except (ImportError, RuntimeError) as error:  # PyTorch's own are RuntimeErrors
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"--versus torch, {network}, batch {batch}: {reason}") from None

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def measure_torch(
    network: str, dtype: str, batch: int, warmup: int, repetitions: int
) -> list[Rate]:
    """PyTorch's rates in this process; see `TorchWorker.rates`."""
    import torch
    import torchvision

    if not torch.cuda.is_available():
        raise UserError("--versus torch: this PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, as in tinygrad
    layout = {"dtype": getattr(torch, dtype), "memory_format": torch.channels_last}
    model = getattr(torchvision.models, network)(weights=None).eval().to("cuda", **layout)
    pictures = torch.randn(batch, 3, 224, 224).to("cuda", **layout)
    eager = partial(model, pictures)
    rates = []
    with torch.inference_mode():
        for engine, prepare in (("torch eager", warmed), ("torch graph", captured)):
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            step = prepare(eager)
            torch.cuda.synchronize()
            seconds = time.perf_counter() - start
            timing = measure(step, torch.cuda.synchronize, warmup=warmup, repetitions=repetitions)
            rates.append(Rate(engine, seconds, torch.cuda.max_memory_allocated(), timing))
    return rates


def warmed(step: Callable[[], object]) -> Callable[[], object]:
    """`step`, after the call in which cuDNN chooses its algorithms."""
    step()
    return step


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """A function that replays the kernels of `step`, already warm, as one CUDA graph."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], object] = graph.replay
    return replay
