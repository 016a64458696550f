"""/v1/embeddings."""

from typing import Literal

from pydantic import Field

from orin_llm.server.schema.base import Answer, Body
from orin_llm.server.schema.completion import Prompts


class EmbeddingBody(Body):
    input: Prompts
    model: str | None = Field(None, description="The served model; it may be left out.")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(
        None, ge=1, description="Refused unless it is what the model has."
    )


class Embedding(Answer):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="base64: float32, little endian.")


class EmbeddingUsage(Answer):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Answer):
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage
