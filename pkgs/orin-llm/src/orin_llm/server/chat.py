"""POST /v1/chat/completions: the next message of a conversation."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from orin_llm.server import reasoning
from orin_llm.server.body import JsonRoute
from orin_llm.server.chat_answer import ChatAnswer, merge
from orin_llm.server.chat_prompt import constraints, offered_tools, render
from orin_llm.server.errors import invalid
from orin_llm.server.frames import Frames
from orin_llm.server.generation import Choice, Generation
from orin_llm.server.logprobs import chat_logprobs
from orin_llm.server.prompts import encode
from orin_llm.server.record import record_of
from orin_llm.server.schema.base import STREAMED
from orin_llm.server.schema.chat import ChatBody, ChatCompletion
from orin_llm.server.service import Service, check_length
from orin_llm.server.sse import Outbox, to_json
from orin_llm.text.tokenizer import Tokenizer
from orin_llm.text.tools import ToolParser

_KIND = "chat.completion"


def router(service: Service) -> APIRouter:
    routes = APIRouter(route_class=JsonRoute)

    @routes.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        response_model_exclude_unset=True,
        responses=STREAMED,
    )
    async def create_chat_completion(request: Request, body: ChatBody) -> Response | dict[str, Any]:
        """Answer a conversation."""
        model = service.model(body.model)
        if body.top_logprobs is not None and not body.logprobs:
            raise invalid("top_logprobs", "needs logprobs: true")
        tools = offered_tools(body)
        rendered = await render(model, body, tools)
        prompt = await encode(model, rendered, "messages", special=True)
        wanted = body.max_completion_tokens or body.max_tokens
        max_tokens = check_length(prompt, wanted, model.engine.context, "messages")
        grammars = await constraints(model, body, tools)
        generation = service.submit(
            request,
            body,
            [prompt],
            max_tokens,
            (body.top_logprobs or 0) if body.logprobs else None,
            grammars,
        )
        thinking = reasoning.begun_by(rendered) and not body.continue_final_message
        forced = grammars is not None and body.tool_choice in (None, "none")
        answers = _Answers(
            model.tokenizer,
            body,
            generation,
            [
                ChatAnswer(
                    None if forced else reasoning.ReasoningParser(thinking),
                    ToolParser(model.template.style) if tools and model.template.style else None,
                )
                for _ in generation.choices
            ],
        )
        frames = Frames(
            f"chatcmpl-{record_of(request.scope).id}",
            f"{_KIND}.chunk" if body.stream else _KIND,
            service.serving.name,
            model.fingerprint,
            body.stream_options,
        )
        if body.stream:
            return service.stream(request, lambda outbox: answers.stream(outbox, frames))
        choices = await service.finish(request, answers.whole())
        return {**frames.facts, "choices": choices, "usage": generation.usage()}

    return routes


class _Answers:
    def __init__(
        self,
        tokenizer: Tokenizer,
        body: ChatBody,
        generation: Generation,
        answers: list[ChatAnswer],
    ) -> None:
        self._tokenizer, self._body = tokenizer, body
        self._generation, self._answers = generation, answers

    async def whole(self) -> list[dict[str, Any]]:
        deltas: list[list[dict[str, Any]]] = [[] for _ in self._answers]
        await self._generation.run(
            lambda choice, piece: deltas[choice.index].extend(
                self._answers[choice.index].add(piece)
            ),
            lambda choice: deltas[choice.index].extend(self._answers[choice.index].flush()),
        )
        return [
            {
                "index": choice.index,
                "message": merge(pieces),
                "logprobs": self._logprobs(choice, last=True),
                "finish_reason": self._reason(choice),
            }
            for choice, pieces in zip(self._generation.choices, deltas, strict=True)
        ]

    async def stream(self, outbox: Outbox, frames: Frames) -> None:
        begun: set[int] = set()

        def put(choice: Choice, deltas: list[dict[str, Any]]) -> None:
            index = choice.index
            if index not in begun:
                begun.add(index)
                outbox.put(frames.piece(index, '"delta":{"role":"assistant","content":""}'))
            for delta in deltas:
                logprobs = self._logprobs_json(choice)
                outbox.put(frames.piece(index, f'"delta":{to_json(delta)}', logprobs))

        def take(choice: Choice, piece: str) -> None:
            put(choice, self._answers[choice.index].add(piece))

        def end(choice: Choice) -> None:
            put(choice, self._answers[choice.index].flush())
            logprobs = self._logprobs_json(choice, last=True)
            outbox.put(frames.end(choice.index, '"delta":{}', self._reason(choice), logprobs))

        await self._generation.run(take, end)
        outbox.put(frames.usage(self._generation))

    def _reason(self, choice: Choice) -> str:
        calls = choice.finish_reason == "stop" and self._answers[choice.index].called
        return "tool_calls" if calls else choice.finish_reason

    def _logprobs_json(self, choice: Choice, last: bool = False) -> str:
        return to_json(self._logprobs(choice, last)) if self._body.logprobs else "null"

    def _logprobs(self, choice: Choice, last: bool = False) -> dict[str, Any] | None:
        if not self._body.logprobs:
            return None
        tokens = choice.text.take_tokens(last)
        return chat_logprobs(self._tokenizer, tokens, self._body.top_logprobs or 0)
