"""/v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from orin_llm.server.schema.base import (
    Answer,
    Body,
    Count,
    FinishReason,
    GenerationBody,
    Usage,
    described,
)

_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class TextPart(Body):
    type: Literal["text"]
    text: str


Content = Annotated[
    str | list[TextPart],
    described("a string or a list of parts of type text: pictures and sound are not read"),
]


class CalledFunction(Body):
    name: str
    arguments: str


class ToolCall(Body):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Body):
    """A message; what else it has, such as a name, is there for the model's template."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(Body):
    name: str = Field(pattern=_NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: str


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class JsonSchema(Body):
    name: str = Field(pattern=_NAME)
    description: str | None = None
    # Named so in the API; a model of pydantic has a `schema` of its own.
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextFormat(Body):
    type: Literal["text"]


class JsonObjectFormat(Body):
    type: Literal["json_object"]


class JsonSchemaFormat(Body):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChatBody(GenerationBody):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Count | None = Field(None, description="max_tokens by its newer name.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: (
        Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]
        | None
    ) = None
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | NamedTool | None,
        described('"none", "auto", "required" or {"type": "function", "function": {"name": ...}}'),
    ] = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="Variables for the model's template, such as enable_thinking."
    )
    continue_final_message: bool | None = Field(
        None, description="Go on with the last message instead of answering it."
    )


class TopLogprob(Answer):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Answer):
    content: list[TokenLogprob]


class AnsweredCall(Answer):
    id: str
    type: Literal["function"]
    function: dict[Literal["name", "arguments"], str]


class ChatMessage(Answer):
    role: Literal["assistant"]
    content: str | None
    reasoning_content: str = ""
    tool_calls: list[AnsweredCall] = Field(default_factory=list)


class ChatChoice(Answer):
    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
