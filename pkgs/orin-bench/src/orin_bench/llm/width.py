"""One width of tinygrad's kernel search, in a process of its own with a cache of its own.

tinygrad takes both from the environment when it is imported.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tinygrad.helpers import GlobalCounters

from orin_bench.llm.generation import Generating, Generator, Reading, TokenEngine
from orin_bench.llm.greedy import OrinGenerator
from orin_bench.llm.phase import Task
from orin_bench.llm.search import Search
from orin_bench.llm.source import Source
from orin_bench.llm.stock import StockGenerator
from orin_core.cli import UserError

# Seconds that a search may end late: tinygrad compiles a candidate for 10 at most, and times it.
GRACE = 60.0


@dataclass(frozen=True)
class Request:
    """A model in `file`, run by `engine` on `device` (tinygrad's name) with kernels searched.

    `engine` is orin_nn or tinygrad.llm. `budget` is the seconds for searching, of which the
    prompt's kernels get half at most.
    """

    file: Path
    architecture: str
    engine: str
    device: str
    beam: int
    task: Task
    budget: float

    def __str__(self) -> str:
        return f"{self.engine} {self.device}"


class UnfinishedError(Exception):
    """Why a width was not measured to its end."""


@dataclass(frozen=True)
class Prepared:
    """What making an engine ready took, and what it takes."""

    compile_seconds: float
    kernels: int
    search: Search
    memory: int


class Width:
    """A process that makes ready what is requested, and runs it whenever it is told to."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._cache, self._last = TemporaryDirectory(), Search()
        environment = {
            "DEV": request.device,
            "BEAM": "0",
            "JITBEAM": str(request.beam),
            "CACHEDB": str(Path(self._cache.name) / "cache.db"),
            "XDG_CACHE_HOME": self._cache.name,
        }
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, request))
        with _environment(environment):
            self._process.start()
        theirs.close()

    def prepare(self) -> "list[WidthEngine]":
        """The engines of both phases, once their kernels are searched and compiled.

        Raises UserError for what the process refuses, and UnfinishedError where it dies or is still
        searching GRACE seconds after its budget.
        """
        while isinstance(message := self._receive(), Search):
            self._last = message
        prepared: list[Prepared] = message
        return [WidthEngine(self, index, each) for index, each in enumerate(prepared)]

    def run(self, index: int, count: int) -> list[float]:
        """Seconds of so many steps of the engine with this index."""
        with suppress(BrokenPipeError):  # of one that died, which the answer tells
            self._connection.send((index, count))
        seconds: list[float] = self._receive()
        return seconds

    def close(self) -> None:
        """End the process, whatever it is doing, and the compilers that it started."""
        assert self._process.pid
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # which may not have made itself a group yet
        self._process.join()
        self._connection.close()
        self._cache.cleanup()

    def _receive(self) -> Any:
        searching = self._last.running
        left = self.request.budget - self._last.seconds + GRACE if searching else None
        try:
            if not self._connection.poll(left):
                raise self._unfinished("hung")
            message = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise self._unfinished(f"died ({self._process.exitcode})") from None
        if isinstance(message, UserError):
            raise message
        return message

    def _unfinished(self, why: str) -> UnfinishedError:
        doing = f"in a search, after {self._last}" if self._last.running else "outside of a search"
        return UnfinishedError(f"{self.request} with beam {self.request.beam} {why} {doing}")


class WidthEngine:
    """An `orin_bench.engine.Engine` whose step runs in a Width's process, which ends it.

    `search` is what was searched for it, `kernels` how many a step launches.
    """

    def __init__(self, width: Width, index: int, prepared: Prepared) -> None:
        request = width.request
        self.name, self.device, self.beam = str(request), request.device, request.beam
        self.compile_seconds, self.memory = prepared.compile_seconds, prepared.memory
        self.kernels, self.search = prepared.kernels, prepared.search
        self._width, self._index = width, index

    def run(self, count: int) -> list[float]:
        return self._width.run(self._index, count)

    def close(self) -> None:
        """Nothing is its own."""


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """A process started meanwhile has these besides, and ignores Ctrl-C: its parent ends it."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGINT, handler)


def _serve(connection: Connection, request: Request) -> None:
    os.setsid()  # a group to be killed together with the compilers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # what tinygrad prints is no part of the table
    try:
        engines = _prepare(request, connection)
    except UserError as error:
        connection.send(error)
        return
    memory = GlobalCounters.mem_used_per_device[request.device]
    connection.send(
        [Prepared(each.compile_seconds, each.kernels, each.search, memory) for each in engines]
    )
    while True:
        index, count = connection.recv()
        connection.send(engines[index].run(count))


def _prepare(request: Request, connection: Connection) -> list[TokenEngine]:
    task, device = request.task, request.device
    source = Source.open(request.file, request.architecture)
    prompt = task.tokens(source.model.shape.vocab)
    generator: Generator
    if request.engine == "orin_nn":
        generator = OrinGenerator(
            source.model, source.read, device, prompt, task.generate, task.context
        )
    else:
        generator = StockGenerator(request.file, prompt, task.generate, task.context)
    name, tick = str(request), connection.send
    reading = Reading(name, generator, budget=request.budget / 2, tick=tick)
    left = request.budget - reading.search.seconds
    return [reading, Generating(name, generator, budget=left, tick=tick)]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.killpg(0, signal.SIGKILL)
