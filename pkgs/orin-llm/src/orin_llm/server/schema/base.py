"""What the endpoints' requests and answers share."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError


class Body(BaseModel):
    """A request. Fields that it does not know are ignored, and types are not converted."""

    model_config = ConfigDict(strict=True)


class Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


def described(what: str) -> WrapValidator:
    """One error for a union of types, instead of one for each of them."""

    def check(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise PydanticCustomError("type", "Input should be {what}", {"what": what}) from None

    return WrapValidator(check)


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
StopString = Annotated[str, Field(min_length=1, max_length=512)]


class StreamOptions(Body):
    include_usage: bool | None = None


class GenerationBody(Body):
    """What chat completions and completions have in common."""

    model: str | None = Field(None, description="The served model; it may be left out.")
    n: int | None = Field(None, ge=1, le=128, description="Answers to each prompt.")
    max_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Annotated[
        StopString | Annotated[list[StopString], Field(max_length=4)] | None,
        described("a string or a list of up to 4 strings, each of 1 to 512 characters"),
    ] = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="0 or -1: all tokens.")
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        None, max_length=1024, description="Token ids, in decimal, to what is added to its logit."
    )
    ignore_eos: bool | None = Field(None, description="Go on after the end of the answer.")


class PromptTokensDetails(Answer):
    cached_tokens: int


class Usage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ErrorDetail(Answer):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Answer):
    error: ErrorDetail


FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]

# For the OpenAPI document: what an endpoint answers beside its own form.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be followed."},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer now."},
}
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, or with stream its pieces as server-sent events.",
        "content": {"text/event-stream": {}},
    },
    **ERRORS,
}
