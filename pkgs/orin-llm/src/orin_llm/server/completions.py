"""POST /v1/completions: prompts continued."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from orin_llm.server.body import JsonRoute
from orin_llm.server.errors import invalid
from orin_llm.server.frames import Frames
from orin_llm.server.generation import Choice, Generation
from orin_llm.server.logprobs import completion_logprobs
from orin_llm.server.model import Model
from orin_llm.server.prompts import split, to_tokens
from orin_llm.server.record import record_of
from orin_llm.server.schema.base import STREAMED
from orin_llm.server.schema.completion import Completion, CompletionBody
from orin_llm.server.service import Service, check_length
from orin_llm.server.sse import Outbox, to_json

_DEFAULT_TOKENS = 16  # OpenAI's
_KIND = "text_completion"


def router(service: Service) -> APIRouter:
    routes = APIRouter(route_class=JsonRoute)

    @routes.post("/v1/completions", response_model=Completion, responses=STREAMED)
    async def create_completion(
        request: Request, body: CompletionBody
    ) -> Response | dict[str, Any]:
        """Continue one prompt or several."""
        model = service.model(body.model)
        _check(body)
        prompts = await to_tokens(model, body.prompt, "prompt", special=True)
        max_tokens = body.max_tokens or _DEFAULT_TOKENS
        for prompt in prompts:
            check_length(prompt, max_tokens, model.engine.context, "prompt")
        generation = service.submit(request, body, prompts, max_tokens, body.logprobs)
        answers = _Answers(model, body, generation)
        frames = Frames(
            f"cmpl-{record_of(request.scope).id}",
            _KIND,
            service.serving.name,
            model.fingerprint,
            body.stream_options,
        )
        if body.stream:
            return service.stream(request, lambda outbox: answers.stream(outbox, frames))
        choices = await service.finish(request, answers.whole())
        return {**frames.facts, "choices": choices, "usage": generation.usage()}

    return routes


def _check(body: CompletionBody) -> None:
    if body.suffix:
        raise invalid("suffix", "is not supported; put the text before the gap in prompt")
    if body.best_of not in (None, body.n or 1):
        raise invalid("best_of", "is not supported; ask for n answers and choose")
    if body.echo and body.logprobs is not None:
        raise invalid("echo", "cannot be had with logprobs: those of a prompt are not computed")


class _Answers:
    def __init__(self, model: Model, body: CompletionBody, generation: Generation) -> None:
        self._tokenizer, self._body, self._generation = model.tokenizer, body, generation
        self._echoes = [""] * len(generation.choices)
        if body.echo:
            prompts = [
                prompt if isinstance(prompt, str) else model.tokenizer.decode(prompt)
                for prompt in split(body.prompt)
            ]
            self._echoes = [prompt for prompt in prompts for _ in range(generation.n)]

    async def whole(self) -> list[dict[str, Any]]:
        texts = [[echo] for echo in self._echoes]
        await self._generation.run(lambda choice, piece: texts[choice.index].append(piece))
        return [
            {
                "index": choice.index,
                "text": "".join(text),
                "logprobs": self._logprobs(choice, last=True),
                "finish_reason": choice.finish_reason,
            }
            for choice, text in zip(self._generation.choices, texts, strict=True)
        ]

    async def stream(self, outbox: Outbox, frames: Frames) -> None:
        for index, echo in enumerate(self._echoes):
            if echo:
                outbox.put(frames.piece(index, f'"text":{to_json(echo)}'))

        def take(choice: Choice, piece: str) -> None:
            logprobs = self._logprobs_json(choice)
            outbox.put(frames.piece(choice.index, f'"text":{to_json(piece)}', logprobs))

        def end(choice: Choice) -> None:
            logprobs = self._logprobs_json(choice, last=True)
            outbox.put(frames.end(choice.index, '"text":""', choice.finish_reason, logprobs))

        await self._generation.run(take, end)
        outbox.put(frames.usage(self._generation))

    def _logprobs_json(self, choice: Choice, last: bool = False) -> str:
        return "null" if self._body.logprobs is None else to_json(self._logprobs(choice, last))

    def _logprobs(self, choice: Choice, last: bool = False) -> dict[str, list[Any]] | None:
        if self._body.logprobs is None:
            return None
        tokens = choice.text.take_tokens(last)
        return completion_logprobs(self._tokenizer, tokens, self._body.logprobs)
