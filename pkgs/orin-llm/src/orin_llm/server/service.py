"""From a request to its answers: the limits it must keep, the engine, and what is measured."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest

from orin_llm.engine.request import Constraint, Request, Sampling
from orin_llm.server.answer import AnswerText
from orin_llm.server.errors import ApiError, invalid
from orin_llm.server.generation import Choice, Generation
from orin_llm.server.guard import guarded
from orin_llm.server.metrics import Metrics
from orin_llm.server.model import Model
from orin_llm.server.record import record_of
from orin_llm.server.schema.base import GenerationBody
from orin_llm.server.serving import Serving
from orin_llm.server.settings import Settings
from orin_llm.server.sse import EventStream, Outbox

T = TypeVar("T")

# The fields of a request that are a field of Sampling, too.
_SAMPLING = (
    "temperature",
    "top_p",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)


class Service:
    """What the endpoints share."""

    def __init__(self, serving: Serving, metrics: Metrics, settings: Settings) -> None:
        self.serving, self.metrics, self.settings = serving, metrics, settings

    def model(self, name: str | None) -> Model:
        """The model, which a client may name. Raises ApiError with status 404 for another one."""
        if name not in (None, self.serving.name):
            message = f"there is no model {name!r} here, only {self.serving.name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return self.serving.model

    def submit(
        self,
        http: HttpRequest,
        body: GenerationBody,
        prompts: list[list[int]],
        max_tokens: int,
        logprobs: int | None = None,
        constraints: list[Constraint] | None = None,
    ) -> Generation:
        """Start n answers to each of `prompts`; their indices count through those of the first
        prompt, then of the second. One constraint an answer."""
        model, n = self.serving.model, body.n or 1
        count = len(prompts) * n
        if count > self.settings.queue:
            asked = "n" if n > 1 else "prompt"
            limit = f"{count} answers asked for; one request gets at most {self.settings.queue}"
            raise invalid(asked, limit)
        stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
        requests = [
            Request(
                prompt=prompts[index // n],
                max_tokens=max_tokens,
                sampling=_sampling(body, index % n, model.engine.vocab),
                logprobs=logprobs,
                stop_tokens=frozenset() if body.ignore_eos else model.tokenizer.stop_tokens,
                constraint=constraints[index] if constraints else None,
            )
            for index in range(count)
        ]
        record = record_of(http.scope)
        record.prompt_tokens = sum(map(len, prompts))
        streams = model.engine.submit(requests)
        choices = [
            Choice(
                index,
                stream,
                AnswerText(model.tokenizer, stops, logprobs is not None),
                request.constraint,
            )
            for index, (stream, request) in enumerate(zip(streams, requests, strict=True))
        ]
        return Generation(choices, n, record, self.metrics)

    async def finish(self, http: HttpRequest, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns, unless the client, the deadline or the end of serving ends it."""
        seconds = self.settings.deadline
        if seconds is not None:
            seconds = max(0.0, seconds - record_of(http.scope).elapsed)
        return await guarded(work, http.receive, self.serving, seconds)

    def stream(
        self, http: HttpRequest, produce: Callable[[Outbox], Coroutine[Any, Any, None]]
    ) -> EventStream:
        """The events of `produce`, which the same things end."""
        return EventStream(
            lambda outbox: self.finish(http, produce(outbox)), self.settings.keep_alive
        )


def check_length(prompt: list[int], max_tokens: int | None, context: int, param: str) -> int:
    """How many tokens an answer to `prompt` may have: `max_tokens`, or without it what is left of
    the context. Raises ApiError where that does not fit."""
    if not prompt:
        raise invalid(param, "has no tokens")
    code = "context_length_exceeded"
    limit = f"the context is {context} tokens"
    if len(prompt) >= context:
        raise invalid(param, f"too long; {limit}, the prompt has {len(prompt)}", code)
    if max_tokens is None:
        return context - len(prompt)
    if len(prompt) + max_tokens > context:
        left = f"{limit}, the prompt has {len(prompt)}: at most {context - len(prompt)} remain"
        raise invalid("max_tokens", f"{max_tokens} is too many; {left}", code)
    return max_tokens


def _sampling(body: GenerationBody, answer: int, vocab: int) -> Sampling:
    given = {name: value for name in _SAMPLING if (value := getattr(body, name)) is not None}
    bias = {}
    for token, value in (body.logit_bias or {}).items():
        if not (token.isascii() and token.isdigit() and len(token) < 10 and int(token) < vocab):
            raise invalid("logit_bias", f"{token!r} is no token id; they go to {vocab - 1}")
        bias[int(token)] = value
    # The answers to one request would all be the same with the same seed.
    seed = None if body.seed is None else (body.seed + answer) % 2**64
    return Sampling(**given, top_k=max(0, body.top_k or 0), logit_bias=bias, seed=seed)
