"""/v1/completions."""

from typing import Annotated, Literal

from pydantic import Field

from orin_llm.server.schema.base import (
    Answer,
    FinishReason,
    GenerationBody,
    TokenId,
    Usage,
    described,
)

PROMPTS = "a string, a list of strings, a list of token ids or a list of such lists"

Prompts = Annotated[
    str
    | Annotated[list[str], Field(min_length=1)]
    | Annotated[list[TokenId], Field(min_length=1)]
    | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1)],
    described(f"{PROMPTS}, none of them empty"),
]


class CompletionBody(GenerationBody):
    prompt: Prompts
    echo: bool | None = Field(None, description="The prompt in front of its answer.")
    logprobs: int | None = Field(None, ge=0, le=5)
    suffix: str | None = Field(None, description="Not supported: refused unless empty.")
    best_of: int | None = Field(None, description="Not supported: refused unless it equals n.")


class Logprobs(Answer):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Answer):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: FinishReason


class Completion(Answer):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage
