"""A request on its way through the engine: tokens, pages, and the stream that its client reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import numpy as np
from numpy.typing import NDArray

from orin_llm.engine.request import ClosedError, FinishReason, Request, Token
from orin_llm.engine.sampling import Sampler


class LiveStream:
    """A `orin_llm.engine.request.Stream` that another thread fills."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.finish_reason: FinishReason | None = None
        self.cached_tokens = 0
        self.cancelled = False
        self._wake = wake
        self._tokens: deque[Token] = deque()
        self._error: ClosedError | None = None
        self._news = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Token]:
        while True:
            while self._tokens:
                yield self._tokens.popleft()
            if self._error:
                raise self._error
            if self.finish_reason:
                return
            self._news.clear()
            await self._news.wait()

    def cancel(self) -> None:
        if not self.finish_reason:
            self.cancelled = True
            self._wake()

    def push(self, token: Token | None, reason: FinishReason | None, error: str | None) -> None:
        """Add what is new, in the thread of the event loop."""
        if token:
            self._tokens.append(token)
        self.finish_reason = reason
        if error:
            self._error = ClosedError(error)
        self._news.set()


class Sequence:
    """A request while it is computed. `tokens` are prompt and answer; keys and values of the first
    `computed` of them are in `pages`."""

    def __init__(self, request: Request, stream: LiveStream) -> None:
        self.request, self.stream = request, stream
        self.tokens = list(request.prompt)
        self.pages: list[int] = []
        self.computed = 0
        self.sampler = Sampler(request.sampling, request.prompt)
        self.looked_up = False  # in the prefix cache

    @property
    def is_decoding(self) -> bool:
        """Whether a single token is left to compute, which the other sequences' can join."""
        return self.computed == len(self.tokens) - 1

    @property
    def answered(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def needs_logits(self) -> bool:
        """Whether the likeliest token alone is not enough to go on."""
        request = self.request
        return (
            request.logprobs is not None
            or request.constraint is not None
            or not self.sampler.is_greedy
        )


class Embedding(Sequence):
    """A prompt of which the last layer's output is wanted, no answer."""

    def __init__(self, prompt: list[int], stream: LiveStream) -> None:
        super().__init__(Request(prompt, 1), stream)
        self.hidden: NDArray[np.float32] | None = None
