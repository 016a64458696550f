"""What the engine is asked for and what it gives: tokens, never text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length", "cancelled"]


class EngineError(Exception):
    """The engine cannot answer; the text says why in one line."""


class QueueFullError(EngineError):
    """More requests wait than may: the client should come back later."""


class ClosedError(EngineError):
    """The engine stops and takes nothing new, or a step of it failed."""


class Constraint(Protocol):
    """A grammar that one answer must follow, and where the answer is in it. It never raises: the
    engine computes other answers beside this one."""

    @property
    def failure(self) -> str | None:
        """Why the grammar could not be followed to its end, in one line; the answer ended there."""

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens (vocab) may come next."""

    def accept(self, token: int) -> None:
        """Go on with `token`, which was allowed."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete, so that nothing may follow."""


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen, by the definitions of OpenAI's API and, for top_k, min_p and
    repetition_penalty, of llama.cpp. The defaults leave the model's distribution as it is."""

    temperature: float = 1.0  # 0: the likeliest token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None: another one each time


@dataclass(frozen=True)
class Request:
    """One answer to compute."""

    prompt: Sequence[int]  # at least one token
    max_tokens: int  # at least 1; prompt and answer together fit the engine's context
    sampling: Sampling = field(default_factory=Sampling)
    # How many alternatives to report beside each token's log probability; None: no probabilities.
    logprobs: int | None = None
    stop_tokens: frozenset[int] = frozenset()  # end the answer; not reported
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer. Log probabilities are the model's own, before sampling changes them:
    of a softmax over the logits in float32."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()  # likeliest first


class Stream(Protocol):
    """An answer on its way. Iterated once, by one task of the event loop that submitted it.

    The iteration ends when the answer does; `finish_reason` says why. It raises ClosedError if the
    engine fails or is closed meanwhile.
    """

    finish_reason: FinishReason | None
    cached_tokens: int  # of the prompt, taken from the prefix cache; known with the first token

    def __aiter__(self) -> AsyncIterator[Token]: ...

    def cancel(self) -> None:
        """Stop computing: the slot is free after the step under way. Harmless when it is over."""


@dataclass(frozen=True)
class Stats:
    """What the engine did since it started, and what it is doing. Counters only grow."""

    running: int = 0  # sequences that hold a slot
    waiting: int = 0
    cache_usage: float = 0.0  # share of the pages of keys and values that running sequences hold
    prompt_tokens: int = 0
    generated_tokens: int = 0
    prefix_queries: int = 0  # prompt tokens looked for in the prefix cache
    prefix_hits: int = 0  # and found there
    preemptions: int = 0  # sequences whose pages another one got, and that are computed again


class Engine(Protocol):
    """A model that answers many requests at once.

    `submit` and `embed` are called from one event loop, the rest from anywhere.
    """

    context: int  # positions of the longest sequence, prompt and answer together
    vocab: int
    max_running: int

    def submit(self, requests: Sequence[Request]) -> list[Stream]:
        """A stream a request, all or none. Raises QueueFullError and ClosedError."""

    async def embed(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """(prompts, dim): of each prompt the last layer at its last token, as Qwen3-Embedding
        wants it, normalized by the model's RMSNorm and not to length 1. Raises QueueFullError and
        ClosedError."""

    def stats(self) -> Stats: ...

    def failure(self) -> str | None:
        """Why a step failed, after which the engine answers nothing; None while all is well."""

    def close(self) -> None:
        """End every stream with ClosedError and wait for the step under way."""
