"""What is kept of each request: for the log, one line without contents, and for the metrics."""

import logging
import time
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orin_llm.server.errors import ClientGoneError, internal

log = logging.getLogger(__name__)

_KEY = "orin_llm.record"


@dataclass
class Record:
    """One request; times are of time.monotonic()."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    outcome: list[str] = field(default_factory=list)  # finish reasons, an error's code

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def __str__(self) -> str:
        said = [*dict.fromkeys(self.outcome), f"{self.elapsed:.3f} s"]
        if self.prompt_tokens:
            cached, new = self.cached_tokens, self.generated_tokens
            said.append(f"{self.prompt_tokens} tokens in ({cached} cached), {new} out")
        if self.first_token is not None:
            said.append(f"first after {self.first_token - self.begun:.3f} s")
        return ", ".join(said)


def record_of(scope: Scope) -> Record:
    record = scope[_KEY]
    assert isinstance(record, Record)
    return record


class RequestLog:
    """ASGI middleware that gives each request a `Record`, and logs it when it is answered; a bug
    with its traceback.

    What probes and Prometheus ask every few seconds is not logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        record = scope[_KEY] = Record()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientGoneError:
            record.outcome.append("client gone")
        except Exception:  # a bug: all of it is logged, and the client gets an error
            log.exception("request %s failed", record.id)
            if status:  # half an answer: closing the connection tells that
                raise
            await internal().response()(scope, receive, answer)
        finally:
            if scope["path"] not in ("/health", "/metrics"):
                self._log(scope, status, record)

    def _log(self, scope: Scope, status: int, record: Record) -> None:
        client = (scope.get("client") or ("-",))[0]
        # A path is the client's text: escaped, lest it write lines of its own.
        asked = f"{scope['method']} {ascii(scope['path'])[1:-1]}"
        log.info("%s %s %s %s: %s", record.id, client, asked, status or "-", record)
