"""The process that searches, and the watch over it: a candidate may crash or hang the device."""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from orin_core.cli import UserError

if TYPE_CHECKING:
    from tinygrad.codegen.opt import Opt

    from orin_bench.warm.check import Checked
    from orin_bench.warm.kernel import Kernel

START = 60.0  # seconds for a process to import tinygrad and open its device
GRACE = 3.0  # seconds that a search may end late
HANG = 10.0  # seconds for timing one candidate
CHECK = 60.0  # seconds for checking one kernel
DEVICE_ERRORS = AssertionError, MemoryError, OSError, RuntimeError  # what tinygrad's devices raise


@dataclass
class Search:
    """What a search found: seconds and optimizations, in no order.

    `failure` says what ended it if it did not end by itself.
    """

    timed: list[tuple[float, "tuple[Opt, ...]"]] = field(default_factory=list)
    failure: str | None = None

    def best(self, count: int) -> "list[tuple[Opt, ...]]":
        """The fastest `count`, fastest first."""
        right = sorted(timed for timed in self.timed if timed[0] < math.inf)
        return list(dict.fromkeys(opts for _, opts in right))[:count]


class WorkerError(Exception):
    """The process crashed or gave up."""


class HangError(WorkerError):
    """The process did not answer in time, and was ended."""


class Worker:
    """Searches and checks kernels in a process of its own, started anew after each failure.

    Raises UserError where no process can be started, whatever the kernel.
    """

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def search(
        self, kernel: "Kernel", start: "tuple[Opt, ...]", width: int, deadline: float
    ) -> Search:
        """Search from `start` until time.monotonic() is `deadline`.

        A search that does not end by itself then is ended, which is no failure.
        """
        found = Search()
        try:
            self._send("search", kernel, start, width, deadline)
            limit = deadline + GRACE
            while (message := self._receive(limit))[0] != "done":
                limit = deadline + GRACE
                if message[0] == "trying":
                    limit = min(limit, time.monotonic() + HANG)
                else:
                    found.timed.append(message[1])
        except WorkerError as error:
            late = isinstance(error, HangError) and time.monotonic() >= deadline + GRACE
            found.failure = None if late else str(error)
        return found

    def check(self, kernel: "Kernel", candidates: "Sequence[tuple[Opt, ...]]") -> "Checked":
        """Raises WorkerError where the kernel cannot be checked."""
        self._send("check", kernel, candidates)
        checked: Checked = self._receive(time.monotonic() + CHECK)[1]
        return checked

    def close(self) -> None:
        """End the process, whatever it is doing, and those that it started."""
        if self._process and self._process.pid:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # which may not have made itself a group yet
            self._process.join()
        self._process = self._connection = None

    def _send(self, job: str, *arguments: Any) -> None:
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,))
            with _apart():
                self._process.start()
            theirs.close()
            try:
                self._receive(time.monotonic() + START)
            except WorkerError as error:
                raise UserError(
                    f"the process that searches {error} as it started: free memory, and try again"
                ) from None
        try:
            self._connection.send((job, arguments))
        except ConnectionError:  # it ended after its last answer
            self.close()
            raise WorkerError("crashed") from None

    def _receive(self, limit: float) -> tuple[str, Any]:
        assert self._connection
        try:
            if not self._connection.poll(max(0.0, limit - time.monotonic())):
                raise HangError("hung")
            kind, content = self._connection.recv()
            if kind == "failed":
                raise WorkerError(content)
            return kind, content
        except (EOFError, ConnectionError):
            self.close()
            raise WorkerError("crashed") from None
        except WorkerError:
            self.close()
            raise


@contextmanager
def _apart() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C, and say nothing of semaphores when killed."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        os.environ.pop("PYTHONWARNINGS")
        if warnings is not None:
            os.environ["PYTHONWARNINGS"] = warnings


def _serve(connection: Connection) -> None:
    os.setsid()  # a group to be killed together with the compilers
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # tinygrad reads these when it is imported. What is found is stored after it was checked, and
    # the binaries of thousands of candidates are not worth storing.
    os.environ |= {"CACHELEVEL": "0", "BEAM": "0", "JITBEAM": "0"}

    from tinygrad.codegen import to_program_cache
    from tinygrad.codegen.opt import KernelOptError
    from tinygrad.device import CompileError, Device
    from tinygrad.engine.realize import runtime_cache

    from orin_bench.warm.check import check
    from orin_bench.warm.search import Compilers, search

    def report(kind: str, content: Any) -> None:
        connection.send((kind, content))

    compilers = None
    report("ready", None)
    while True:
        job, (kernel, *arguments) = connection.recv()
        result = None
        try:
            if job == "search":
                compilers = compilers or Compilers()
                start, width, deadline = arguments
                search(kernel, start, width, deadline, compilers, report)
            else:
                result = check(kernel, *arguments)
            # Thousands of candidates would fill the memory, which a Jetson's GPU shares.
            to_program_cache.clear()
            runtime_cache.clear()
            Device[kernel.device].allocator.free_cache()
        except (*DEVICE_ERRORS, CompileError, KernelOptError) as error:
            # After an error of the device nothing on it can be trusted: the next job is another's.
            report("failed", f"{type(error).__name__}: {error}".partition("\n")[0])
            return
        report("done", result)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.killpg(0, signal.SIGKILL)
