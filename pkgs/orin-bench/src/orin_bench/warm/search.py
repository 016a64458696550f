"""tinygrad's own beam search of one kernel, made to end in time."""

import math
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tinygrad.codegen.opt import Opt
from tinygrad.codegen.opt import search as tinygrad_search
from tinygrad.codegen.opt.postrange import bufs_from_ast
from tinygrad.helpers import Context, getenv

from orin_bench.warm.kernel import Kernel

# tinygrad gives up a candidate whose compilation takes BEAM_TIMEOUT_SEC.
PATIENCE = getenv("BEAM_TIMEOUT_SEC", 10) + 5
TASKS_PER_PROCESS = 64  # a compiler's caches grow with every candidate

Report = Callable[[str, Any], None]


class Compilers:
    """A pool of processes that compile candidates, as beam_search takes it, until a deadline.

    After the deadline it answers nothing more: the search finds no further candidate and ends with
    the best it has. On a CPU it stands still while candidates are timed, which run on the same
    cores.
    """

    def __init__(self) -> None:
        self.workers = getenv("PARALLEL") or len(os.sched_getaffinity(0))
        self.pool = multiprocessing.get_context("spawn").Pool(
            self.workers, tinygrad_search._init_worker, (), TASKS_PER_PROCESS
        )
        self.deadline, self.shares_cores = 0.0, False

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def imap_unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """The results for `items` in the order in which they are ready."""
        waiting = iter(items)
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running = 0
        most = self.workers if self.shares_cores else 2 * self.workers
        while self.left:
            while running < most and (item := next(waiting, None)) is not None:
                self.pool.apply_async(function, (item,), {}, results.put, results.put)
                running += 1
            if not running:
                return
            try:
                ready = [results.get(timeout=min(self.left, PATIENCE))]
                while self.shares_cores and len(ready) < running:
                    ready.append(results.get(timeout=min(self.left, PATIENCE)))
            except queue.Empty:  # out of time, or a compiler that was killed
                return
            running -= len(ready)
            yield from (result for result in ready if not isinstance(result, BaseException))


def search(
    kernel: Kernel,
    start: tuple[Opt, ...],
    width: int,
    deadline: float,
    compilers: Compilers,
    report: Report,
) -> None:
    """Search `kernel`, optimized by `start`, until time.monotonic() is `deadline` at the latest.

    Reports ("trying", opts) before each timing and ("timed", (seconds, opts)) after it.
    """
    compilers.deadline = deadline
    compilers.shares_cores = kernel.device == "CPU"
    time_program = tinygrad_search._time_program

    def time_and_report(program: Any, *arguments: Any, **options: Any) -> list[float]:
        opts: tuple[Opt, ...] = program.src[0].arg.applied_opts
        seconds: list[float] = [math.inf]  # of one that fails
        report("trying", opts)
        try:
            seconds = time_program(program, *arguments, **options)
        finally:
            report("timed", (min(seconds), opts))
        return seconds

    tinygrad_search.beam_pool = compilers
    tinygrad_search._time_program = time_and_report
    try:
        with Context(**kernel.settings):
            buffers = bufs_from_ast(kernel.ast, kernel.device)
            scheduled = kernel.scheduled(start)
            tinygrad_search.beam_search(scheduled, buffers, width, disable_cache=True)
    finally:
        tinygrad_search._time_program = time_program
