"""The FastAPI application: endpoints, and what stands in front of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from orin_llm.server import chat, completions, embeddings, errors, status
from orin_llm.server.body import BodyLimit
from orin_llm.server.gate import Gate
from orin_llm.server.metrics import Metrics
from orin_llm.server.model import Model
from orin_llm.server.record import RequestLog
from orin_llm.server.service import Service
from orin_llm.server.serving import Serving
from orin_llm.server.settings import Settings


def create_app(
    load: Callable[[], Model],
    name: str,
    settings: Settings,
    failed: Callable[[], None] = lambda: None,
) -> FastAPI:
    """An application that serves, as `name`, the model that `load` makes in a thread when the
    application starts; `failed` is called if it raises. Its `state.serving` is the `Serving`."""
    serving = Serving(name, load)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving.start(failed)
        yield

    app = FastAPI(
        title="llm-server",
        description="A language model behind OpenAI's API.",
        lifespan=lifespan,
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.serving = serving
    service = Service(serving, Metrics(serving), settings)
    for part in (chat, completions, embeddings, status):
        app.include_router(part.router(service))
    errors.install(app)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, limit=settings.body_limit)
    app.add_middleware(Gate, serving=serving, api_keys=settings.api_keys)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id"],
        )
    app.add_middleware(RequestLog)
    return app
