"""Answers on their way from the engine."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from orin_llm.engine.request import Constraint, Stream
from orin_llm.server.answer import AnswerText
from orin_llm.server.errors import ApiError
from orin_llm.server.metrics import Metrics
from orin_llm.server.record import Record
from orin_llm.server.schema.base import FinishReason, PromptTokensDetails, Usage


@dataclass
class Choice:
    """One of the answers to a request."""

    index: int
    stream: Stream
    text: AnswerText
    constraint: Constraint | None = None
    generated: int = 0
    finish_reason: FinishReason = "stop"


Take = Callable[[Choice, str], None]
End = Callable[[Choice], None]


@dataclass
class Generation:
    """All answers to a request, `n` to each of its prompts."""

    choices: list[Choice]
    n: int
    record: Record
    metrics: Metrics

    async def run(self, take: Take, end: End = lambda choice: None) -> None:
        """Give `take` the pieces of all answers, and `end` each answer that has ended; let go of
        the engine however this ends."""
        pumps = [asyncio.ensure_future(self._pump(choice, take, end)) for choice in self.choices]
        try:
            await asyncio.gather(*pumps)
            self.metrics.whole.observe(self.record.elapsed)
        finally:
            for pump in pumps:
                pump.cancel()
            for choice in self.choices:
                choice.stream.cancel()
            self.record.cached_tokens = self._cached
            self.record.generated_tokens = sum(choice.generated for choice in self.choices)

    def usage(self) -> Usage:
        prompt, generated = self.record.prompt_tokens, self.record.generated_tokens
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=generated,
            total_tokens=prompt + generated,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._cached),
        )

    @property
    def _cached(self) -> int:
        """Like the prompts' tokens, counted once for all answers to the same prompt."""
        return sum(choice.stream.cached_tokens for choice in self.choices[:: self.n])

    async def _pump(self, choice: Choice, take: Take, end: End) -> None:
        reason = "abort"
        try:
            first, last = await self._tokens(choice, take)
            if choice.constraint and choice.constraint.failure:
                raise ApiError(400, choice.constraint.failure, code="grammar_too_complex")
            if piece := choice.text.flush():
                take(choice, piece)
            length = not choice.text.stopped and choice.stream.finish_reason == "length"
            reason = choice.finish_reason = "length" if length else "stop"
            end(choice)
            if choice.generated > 1:
                self.metrics.per_token.observe((last - first) / (choice.generated - 1))
        finally:
            self.metrics.finished(reason)
            self.record.outcome.append(reason)

    async def _tokens(self, choice: Choice, take: Take) -> tuple[float, float]:
        """The times of the first and the last token."""
        text, observe = choice.text, self.metrics.between_tokens.observe
        first = last = self.record.begun
        async for token in choice.stream:
            now = time.monotonic()
            if choice.generated:
                observe(now - last)
            else:
                first = now
                self.metrics.first_token.observe(now - self.record.begun)
                self.record.first_token = self.record.first_token or now
            choice.generated += 1
            last = now
            if piece := text.add(token):
                take(choice, piece)
            if text.stopped:
                choice.stream.cancel()
                break
        return first, last
