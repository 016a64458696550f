"""Prompts as tokens, whichever way they came."""

import asyncio

from orin_llm.server.errors import invalid
from orin_llm.server.model import Model

Prompts = str | list[str] | list[int] | list[list[int]]


async def encode(model: Model, text: str, param: str, *, special: bool) -> list[int]:
    """The tokens of `text`, made in a thread; a text that cannot fit the context is refused before,
    as ApiError, since that would take long."""
    context = model.engine.context
    if len(text.encode()) > context * model.longest_token:
        message = f"too long; the context is {context} tokens"
        raise invalid(param, message, "context_length_exceeded")
    return await asyncio.to_thread(model.tokenizer.encode, text, special=special, begin=True)


async def to_tokens(
    model: Model, prompts: Prompts, param: str, *, special: bool
) -> list[list[int]]:
    """The tokens of each of `prompts`; ids must be in the vocabulary, or ApiError is raised."""
    made: list[list[int]] = []
    for prompt in split(prompts):
        if isinstance(prompt, str):
            prompt = await encode(model, prompt, param, special=special)
        elif max(prompt, default=0) >= model.engine.vocab:
            raise invalid(param, f"token {max(prompt)}; ids go to {model.engine.vocab - 1}")
        made.append(prompt)
    return made


def split(prompts: Prompts) -> list[str] | list[list[int]]:
    """One prompt or several, as a list."""
    if isinstance(prompts, str):
        return [prompts]
    if isinstance(prompts[0], int):
        return [[token for token in prompts if isinstance(token, int)]]
    return prompts
