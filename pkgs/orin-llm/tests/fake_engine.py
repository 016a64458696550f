"""An engine that plays back given tokens at a given pace, for the tests of the server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from orin_llm.engine.request import (
    ClosedError,
    FinishReason,
    QueueFullError,
    Request,
    Stats,
    Stream,
    Token,
)

Script = Callable[[Request], Iterable[int]]


def counting(request: Request) -> Iterator[int]:
    """Without an end, and different for each last token of a prompt."""
    first = request.prompt[-1]
    while True:
        yield first
        first = (first + 1) % 256


@dataclass(eq=False)
class FakeStream:
    request: Request
    tokens: Iterator[int]
    loop: asyncio.AbstractEventLoop
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    generated: int = 0
    cancelled: bool = False
    _ready: list[Token | Exception | None] = field(default_factory=list)
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def cancel(self) -> None:
        self.cancelled = True

    def deliver(self, token: Token | Exception | None) -> None:
        self._ready.append(token)
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Token]:
        while True:
            await self._filled.wait()
            self._filled.clear()
            ready, self._ready = self._ready, []
            for token in ready:
                if token is None:
                    return
                if isinstance(token, Exception):
                    raise token
                yield token


class FakeEngine:
    """Implements `orin_llm.engine.request.Engine`: a thread that makes one token of each running
    answer a step, like the real one. `busy` seconds of a step hold the interpreter's lock."""

    def __init__(
        self,
        script: Script = counting,
        *,
        vocab: int = 512,
        context: int = 512,
        max_running: int = 4,
        max_waiting: int = 64,
        step: float = 0.0,
        prefill: float = 0.0,
        busy: float = 0.0,
        dim: int = 8,
    ) -> None:
        self.context, self.vocab, self.max_running = context, vocab, max_running
        self.script, self.step, self.prefill, self.dim = script, step, prefill, dim
        self.max_waiting, self.busy = max_waiting, busy
        self.requests: list[Request] = []
        self._waiting: list[FakeStream] = []
        self._running: list[FakeStream] = []
        self._stats = Stats()
        self._failure: str | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[Request]) -> list[Stream]:
        with self._changed:
            if self._closed or self._failure:
                raise ClosedError(self._failure or "closed")
            if len(self._waiting) + len(requests) > self.max_waiting:
                raise QueueFullError(f"{len(self._waiting)} wait")
            loop = asyncio.get_running_loop()
            streams = [FakeStream(one, iter(self.script(one)), loop) for one in requests]
            self.requests += requests
            self._waiting += streams
            self._changed.notify()
        return [*streams]

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        if len(prompts) > self.max_waiting:
            raise QueueFullError(f"{len(prompts)} texts")
        await asyncio.sleep(self.prefill)
        return np.array(
            [np.random.default_rng(list(one)).normal(size=self.dim) * 3 for one in prompts],
            np.float32,
        )

    def stats(self) -> Stats:
        with self._changed:
            return replace(
                self._stats,
                running=len(self._running),
                waiting=len(self._waiting),
                cache_usage=len(self._running) / self.max_running,
            )

    def failure(self) -> str | None:
        return self._failure

    def fail(self, reason: str) -> None:
        """As if a step had failed."""
        with self._changed:
            self._failure = reason
            self._changed.notify()
        self._thread.join()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self._failure or self._running or self._waiting
                )
                if self._closed or self._failure:
                    break
                self._advance()
            begun = time.perf_counter()
            while time.perf_counter() < begun + self.busy:
                pass
            if self.step > self.busy:
                time.sleep(self.step - self.busy)
        with self._changed:
            for stream in self._running + self._waiting:
                self._send([(stream, ClosedError(self._failure or "closed"))])
            self._running, self._waiting = [], []

    def _advance(self) -> None:
        self._running = [one for one in self._running if not one.cancelled]
        self._waiting = [one for one in self._waiting if not one.cancelled]
        begun = self._waiting[: self.max_running - len(self._running)]
        if begun and self.prefill:
            self._changed.wait(self.prefill)
        del self._waiting[: len(begun)]
        self._running += begun
        made: list[tuple[FakeStream, Token | Exception | None]] = []
        for stream in begun:
            stream.cached_tokens = len(stream.request.prompt) // 2
            self._count(stream, prompt=len(stream.request.prompt))
        for stream in self._running:
            if token := self._next(stream):
                made.append((stream, token))
                self._count(stream, generated=1)
                if stream.generated == stream.request.max_tokens:
                    stream.finish_reason = "length"
            if stream.finish_reason:
                made.append((stream, None))
        self._running = [one for one in self._running if not one.finish_reason]
        self._send(made)

    def _next(self, stream: FakeStream) -> Token | None:
        request = stream.request
        if request.constraint and request.constraint.finished:
            stream.finish_reason = "stop"
            return None
        token = next(stream.tokens, None)
        if request.constraint:
            token = _obedient(token, request)
            request.constraint.accept(token)
        if token is None or token in request.stop_tokens:
            stream.finish_reason = "stop"
            return None
        stream.generated += 1
        if request.logprobs is None:
            return Token(token)
        top = tuple(((token + n) % self.vocab, -0.5 - n) for n in range(request.logprobs))
        return Token(token, -0.5, top)

    def _count(self, stream: FakeStream, prompt: int = 0, generated: int = 0) -> None:
        stats = self._stats
        self._stats = replace(
            stats,
            prompt_tokens=stats.prompt_tokens + prompt,
            generated_tokens=stats.generated_tokens + generated,
            prefix_queries=stats.prefix_queries + prompt,
            prefix_hits=stats.prefix_hits + prompt // 2,
        )

    def _send(self, made: list[tuple[FakeStream, Token | Exception | None]]) -> None:
        """Wake each event loop once."""
        for loop in {stream.loop for stream, _ in made}:
            mine = [(stream, token) for stream, token in made if stream.loop is loop]
            if not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, mine)


def _obedient(token: int | None, request: Request) -> int:
    """What an answer goes on with: `token` if its grammar admits that, else an end, else any."""
    assert request.constraint
    allowed = request.constraint.allowed()
    if token is not None and allowed[token]:
        return token
    ends = [end for end in request.stop_tokens if allowed[end]]
    return ends[0] if ends else int(np.flatnonzero(allowed)[0])


def _deliver(made: list[tuple[FakeStream, Token | Exception | None]]) -> None:
    for stream, token in made:
        stream.deliver(token)
