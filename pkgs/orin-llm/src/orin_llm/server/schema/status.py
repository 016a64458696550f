"""/v1/models and /health."""

from typing import Literal

from orin_llm.server.schema.base import Answer


class ModelCard(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int  # vLLM's; the context in tokens


class Models(Answer):
    object: Literal["list"]
    data: list[ModelCard]


class Health(Answer):
    status: Literal["ok", "loading", "draining", "failed"]
