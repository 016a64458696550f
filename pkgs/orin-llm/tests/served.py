"""The server's application, with a fake engine, on a free port; for the tests."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from openai import OpenAI

from fake_engine import FakeEngine
from fake_model import model, text
from orin_llm.server import listen
from orin_llm.server.app import create_app
from orin_llm.server.serving import Serving
from orin_llm.server.settings import Settings
from orin_llm.text.template import ChatTemplate
from orin_llm.text.tokenizer import Tokenizer

NAME = "tiny"


@dataclass
class Served:
    url: str
    engine: FakeEngine
    tokenizer: Tokenizer
    serving: Serving
    openai: OpenAI = field(init=False)
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.openai = OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=10)
        self.http = httpx.Client(base_url=self.url, timeout=10)

    def says(self, text: str) -> None:
        """Let the engine answer everything with `text`."""
        tokens = self.tokenizer.encode(text)
        self.engine.script = lambda request: tokens

    def idle(self) -> bool:
        """Whether the engine has nothing left to do, within two seconds."""
        return until(lambda: busy(self.engine) == 0, 2)


def busy(engine: FakeEngine) -> int:
    stats = engine.stats()
    return stats.running + stats.waiting


def until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


@contextmanager
def serve(
    engine: FakeEngine | None = None,
    settings: Settings | None = None,
    template: ChatTemplate | None = None,
) -> Iterator[Served]:
    """Serve `engine` in a thread of this process."""
    engine = engine or FakeEngine()
    app = create_app(lambda: model(engine, template), NAME, settings or Settings())
    with running(app) as url:
        served = Served(url, engine, text()[0], app.state.serving)
        assert until(lambda: served.serving.phase == "ok")
        yield served
    engine.close()


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The URL of `app` while it runs."""
    bound = listen.bind("127.0.0.1", 0)
    url = listen.url(bound)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join()
