"""POST /v1/embeddings: texts as vectors of length 1."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from orin_llm.engine.request import Engine
from orin_llm.server.body import JsonRoute
from orin_llm.server.errors import invalid
from orin_llm.server.prompts import to_tokens
from orin_llm.server.record import record_of
from orin_llm.server.schema.base import ERRORS
from orin_llm.server.schema.embedding import EmbeddingBody, Embeddings
from orin_llm.server.service import Service

_MOST = 2048  # texts at once; OpenAI's limit


def router(service: Service) -> APIRouter:
    routes = APIRouter(route_class=JsonRoute)

    @routes.post("/v1/embeddings", response_model=Embeddings, responses=ERRORS)
    async def create_embedding(request: Request, body: EmbeddingBody) -> dict[str, Any]:
        """The embedding of one text or several."""
        model = service.model(body.model)
        prompts = await to_tokens(model, body.input, "input", special=False)
        if len(prompts) > _MOST:
            raise invalid("input", f"{len(prompts)} texts; at most {_MOST} in one request")
        for prompt in prompts:
            if not 0 < len(prompt) <= model.engine.context:
                raise invalid(
                    "input",
                    f"a text of {len(prompt)} tokens; from 1 to {model.engine.context} fit",
                    "context_length_exceeded" if prompt else "invalid_value",
                )
        record = record_of(request.scope)
        record.prompt_tokens = tokens = sum(map(len, prompts))
        vectors = await service.finish(request, _embed(model.engine, prompts))
        dim = vectors.shape[1]
        if body.dimensions not in (None, dim):
            raise invalid("dimensions", f"the model's embeddings have {dim}, no other number")
        return {
            "object": "list",
            "model": service.serving.name,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _encode(vector, body.encoding_format == "base64"),
                }
                for index, vector in enumerate(_of_length_one(vectors))
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return routes


async def _embed(engine: Engine, prompts: list[list[int]]) -> NDArray[np.float32]:
    """As many at a time as run at once: all of them might be more than may wait."""
    size = engine.max_running
    parts = [
        await engine.embed(prompts[first : first + size]) for first in range(0, len(prompts), size)
    ]
    return np.concatenate(parts)


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def _encode(vector: NDArray[np.float32], packed: bool) -> str | list[float]:
    if packed:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
