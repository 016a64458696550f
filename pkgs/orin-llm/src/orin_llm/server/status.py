"""What the server says about itself: /v1/models, /health and /metrics."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from orin_llm.server.errors import LOADING_S
from orin_llm.server.schema.base import ERRORS
from orin_llm.server.schema.status import Health, ModelCard, Models
from orin_llm.server.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    def card() -> dict[str, Any]:
        model = service.serving.model
        return {
            "id": service.serving.name,
            "object": "model",
            "created": model.created,
            "owned_by": "orinix",
            "max_model_len": model.engine.context,
        }

    @routes.get("/v1/models", response_model=Models, responses=ERRORS)
    async def list_models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [card()]}

    @routes.get("/v1/models/{name:path}", response_model=ModelCard, responses=ERRORS)
    async def retrieve_model(name: str) -> dict[str, Any]:
        """The model by its name."""
        service.model(name)
        return card()

    unhealthy = {"model": Health, "description": "It does not: loading, draining or failed."}

    @routes.get("/health", response_model=Health, responses={503: unhealthy})
    async def health() -> Response:
        """Whether the server answers."""
        phase = service.serving.phase
        if phase == "ok":
            return JSONResponse({"status": phase})
        return JSONResponse({"status": phase}, 503, {"Retry-After": str(LOADING_S)})

    @routes.get("/metrics", response_class=Response, responses=_METRICS)
    async def metrics() -> Response:
        """Prometheus' text format."""
        content = generate_latest(service.metrics.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    return routes


_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
