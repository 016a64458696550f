"""Server-sent events: what is ready at the same time goes out in one write."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orin_llm.engine.request import EngineError
from orin_llm.server import errors
from orin_llm.server.errors import ApiError, ClientGoneError
from orin_llm.server.record import record_of

log = logging.getLogger(__name__)

_DONE = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"  # a comment, which clients skip


# Made once: json.dumps would make one for every event.
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def event(data: object) -> bytes:
    return f"data: {to_json(data)}\n\n".encode()


class Outbox:
    """Events on their way to the client."""

    def __init__(self) -> None:
        self.taken = 0  # how often something was taken
        self.closed = False
        self._events: list[bytes] = []
        self._filled = asyncio.Event()

    def put(self, event: bytes) -> None:
        self._events.append(event)
        self._filled.set()

    def close(self) -> None:
        """Nothing follows."""
        self.closed = True
        self._filled.set()

    async def take(self) -> bytes:
        """All that there is, as soon as there is something or the outbox is closed."""
        await self._filled.wait()
        self._filled.clear()
        self.taken += 1
        joined = b"".join(self._events)
        self._events.clear()
        return joined


class EventStream(Response):
    """A response of the events that `produce` puts into the outbox until it returns.

    What it raises ends the stream with an error event. While nothing else is sent, a comment every
    `keep_alive` seconds keeps proxies and clients waiting.
    """

    def __init__(self, produce: Callable[[Outbox], Awaitable[None]], keep_alive: float) -> None:
        # X-Accel-Buffering is nginx's, which would otherwise hold events back.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._produce, self._keep_alive = produce, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        outbox = Outbox()
        tasks = [
            asyncio.ensure_future(self._write(outbox, send)),
            asyncio.ensure_future(self._reassure(outbox)),
        ]
        try:
            if error := await self._error(outbox, scope):
                record_of(scope).outcome.append(error.code or "error")
                outbox.put(event(error.body()))
            outbox.put(_DONE)
            outbox.close()
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()

    async def _error(self, outbox: Outbox, scope: Scope) -> ApiError | None:
        try:
            await self._produce(outbox)
        except ApiError as error:
            return error
        except EngineError as error:
            return errors.of_engine(error)
        except ClientGoneError:
            raise
        except Exception:  # a bug: all of it is logged, and the client gets an error
            log.exception("request %s failed", record_of(scope).id)
            return errors.internal()
        return None

    async def _write(self, outbox: Outbox, send: Send) -> None:
        more = True
        while more:
            body = await outbox.take()
            more = not outbox.closed
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _reassure(self, outbox: Outbox) -> None:
        taken = 0
        while True:
            await asyncio.sleep(self._keep_alive)
            if outbox.taken == taken:
                outbox.put(_KEEP_ALIVE)
                taken += 1  # the comment itself
            else:
                taken = outbox.taken
