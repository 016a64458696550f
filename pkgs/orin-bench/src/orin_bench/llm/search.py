"""What tinygrad's kernel search costs, and how it is made to end in time."""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Any

from tinygrad.codegen.opt import search as tinygrad_search
from tinygrad.codegen.opt.heuristic import hand_coded_optimizations
from tinygrad.codegen.opt.postrange import Scheduler
from tinygrad.helpers import getenv

Clock = Callable[[], float]


@dataclass
class Search:
    """Kernels that were searched, those for which no time was left, and the seconds it took.

    `running` while one is searched.
    """

    searched: int = 0
    unsearched: int = 0
    seconds: float = 0.0
    running: bool = False

    def __str__(self) -> str:
        return f"{self.searched} kernels in {self.seconds:.0f} s"


class _OutOfTimeError(Exception):
    pass


@contextmanager
def searching(
    budget: float = math.inf,
    tick: Callable[[Search], object] = lambda search: None,
    clock: Clock = time.perf_counter,
) -> Iterator[Search]:
    """Count what tinygrad's beam search does meanwhile; `tick` comes before and after a kernel.

    After `budget` seconds of it the rest of the kernels, and the one in hand, keep what tinygrad
    gives them without a search. Without a budget the search is tinygrad's own in every respect.
    """
    found = Search()
    beam_search, pool = tinygrad_search.beam_search, tinygrad_search.beam_pool

    def search(kernel: Scheduler, *arguments: Any, **options: Any) -> Scheduler:
        found.running = True
        tick(found)
        start = clock()
        try:
            if bounded:
                bounded.begin(kernel.ren.target.device, start + budget - found.seconds)
            result = beam_search(kernel, *arguments, **options)
            found.searched += 1
        except _OutOfTimeError:
            found.unsearched += 1
            result = hand_coded_optimizations(kernel)
        found.seconds += clock() - start
        found.running = False
        tick(found)
        return result

    with closing(_Compilers(clock)) if budget < math.inf else nullcontext() as bounded:
        if bounded:
            tinygrad_search.beam_pool = bounded
        tinygrad_search.beam_search = search
        try:
            yield found
        finally:
            tinygrad_search.beam_search = beam_search
            if bounded:
                tinygrad_search.beam_pool = pool


class _Compilers:
    """What compiles the candidates of beam_search, as there, but until a deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._deadline = clock, 0.0
        self._pool: Pool | None = None

    def begin(self, device: str, deadline: float) -> None:
        """Raises _OutOfTimeError if there is nothing left until `deadline`."""
        self._deadline = deadline
        if self._left <= 0:
            raise _OutOfTimeError
        # tinygrad searches for a CPU within the process.
        workers = getenv("PARALLEL", 0 if device == "CPU" else multiprocessing.cpu_count())
        if workers and not self._pool:
            self._pool = multiprocessing.get_context("spawn").Pool(
                workers, tinygrad_search._init_worker, (), getenv("BEAM_MAX_TASKS_PER_CHILD", 16)
            )

    def imap_unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        waiting = self._pool.imap_unordered(function, items) if self._pool else None
        here = map(function, items)
        while self._left > 0:
            try:
                yield waiting.next(self._left) if waiting else next(here)
            except StopIteration:
                return
            except multiprocessing.TimeoutError:
                break
        self.close()
        raise _OutOfTimeError

    def close(self) -> None:
        if self._pool:
            self._pool.terminate()
            self._pool = None

    @property
    def _left(self) -> float:
        return self._deadline - self._clock()
