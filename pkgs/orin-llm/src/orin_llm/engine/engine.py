"""An engine: a thread that runs the model, and the streams that the event loop reads."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from collections.abc import Sequence as Sequence_
from concurrent.futures import Future
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tinygrad import helpers

from orin_llm.engine.request import ClosedError, QueueFullError, Request, Stats, Stream
from orin_llm.engine.scheduler import News, Scheduler
from orin_llm.engine.sequence import Embedding, LiveStream, Sequence
from orin_nn.transformer import Transformer

log = logging.getLogger(__name__)

# Without requests for so long, the next one will not wait for what is done meanwhile.
QUIET_S = 2.0

Make = Callable[[], tuple[Transformer, list[Callable[[], None]]]]


class LiveEngine:
    """An `orin_llm.engine.request.Engine` on the model that `make` returns, with what may be done
    when there is nothing else to do. All of it runs in the engine's thread, since tinygrad is used
    by one alone. Raises what `make` raises."""

    def __init__(self, make: Make, *, max_running: int, max_waiting: int) -> None:
        self.max_running, self._max_waiting = max_running, max_waiting
        # New sequences; None only wakes the thread, which waits here while there is nothing to do.
        self._inbox: queue.SimpleQueue[list[Sequence] | None] = queue.SimpleQueue()
        self._open: dict[LiveStream, Sequence] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: str | None = None
        self._closing = False
        self._spare: list[Callable[[], None]] = []
        made: Future[Transformer] = Future()
        arguments = (make, made)
        self._thread = threading.Thread(
            target=self._live, args=arguments, name="engine", daemon=True
        )
        self._thread.start()
        model = made.result()
        self.context, self.vocab = model.context, model.shape.vocab

    def submit(self, requests: Sequence_[Request]) -> list[Stream]:
        sequences = [Sequence(request, self._stream()) for request in requests]
        self._enqueue(sequences)
        return [sequence.stream for sequence in sequences]

    async def embed(self, prompts: Sequence_[Sequence_[int]]) -> NDArray[np.float32]:
        sequences = [Embedding(list(prompt), self._stream()) for prompt in prompts]
        self._enqueue(sequences)
        try:
            for sequence in sequences:
                async for _ in sequence.stream:
                    pass
        finally:
            for sequence in sequences:
                sequence.stream.cancel()
        return np.stack([cast(NDArray[np.float32], sequence.hidden) for sequence in sequences])

    def stats(self) -> Stats:
        return self._scheduler.stats()

    def failure(self) -> str | None:
        return self._failure

    def close(self) -> None:
        self._closing = True
        self._wake()
        self._thread.join()

    def _stream(self) -> LiveStream:
        return LiveStream(self._wake)

    def _wake(self) -> None:
        self._inbox.put(None)

    def _enqueue(self, sequences: Sequence_[Sequence]) -> None:
        if self._closing or self._failure:
            raise ClosedError(self._failure or "the engine is closed")
        # Those that wait beyond what can run at once: a burst on an idle engine is no queue.
        beyond = len(self._open) + len(sequences) - self.max_running
        if beyond > self._max_waiting:
            raise QueueFullError(f"{len(self._open)} sequences run or wait already")
        self._loop = asyncio.get_running_loop()
        self._open.update((sequence.stream, sequence) for sequence in sequences)
        self._inbox.put(list(sequences))

    def _live(self, make: Make, made: Future[Transformer]) -> None:
        # tinygrad's cache on disk answers only the thread that opened it, which chose the device.
        helpers._db_connection = None
        try:
            model, self._spare = make()
        except Exception as error:
            made.set_exception(error)
            return
        self._scheduler = Scheduler(model, self.max_running, self._tell)
        made.set_result(model)
        self._work()

    def _work(self) -> None:
        error = "the engine was closed"
        try:
            while not self._closing:
                self._receive()
                if not self._closing and not self._scheduler.is_idle:
                    self._scheduler.turn()
        except Exception as failure:  # whatever it is, clients hear of it, and the log has it all
            log.exception("a step of the model failed")
            self._failure = error = f"a step of the model failed: {failure}"
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_all, error)

    def _receive(self) -> None:
        """Take what is new; wait for it when there is nothing else to do."""
        while self._scheduler.is_idle and self._spare and self._inbox.empty():
            try:
                self._scheduler.add(self._inbox.get(timeout=QUIET_S) or [])
            except queue.Empty:
                self._spare.pop(0)()
        if self._scheduler.is_idle:
            self._scheduler.add(self._inbox.get() or [])
        while not self._inbox.empty():
            self._scheduler.add(self._inbox.get() or [])

    def _tell(self, news: list[News]) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._deliver, news)

    def _deliver(self, news: list[News]) -> None:
        for item in news:
            item.sequence.stream.push(item.token, item.reason, None)
            if item.reason:
                self._open.pop(item.sequence.stream, None)

    def _end_all(self, error: str) -> None:
        for stream in self._open:
            stream.push(None, None, error)
        self._open.clear()
