"""Bodies of requests: not longer than a limit, and JSON of a bounded depth."""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orin_llm.server.errors import ApiError

LIMIT = 16 * 2**20  # bytes
_LINGER_S = 2.0  # how long the rest of a body that is too long is read and thrown away


class BodyLimit:
    """ASGI middleware that answers 413 as soon as a body is known to exceed `limit` bytes: by its
    Content-Length, or while it is read."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if int(length) > self._limit:
            return await self._refuse(receive, send)

        read, too_long = 0, False

        async def limited() -> Message:
            nonlocal read, too_long
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                too_long = True
                raise ApiError(413, self._reason)  # ends the reading; the answer is below
            return message

        async def guarded(message: Message) -> None:
            if not too_long:
                await send(message)

        await self._app(scope, limited, guarded)
        if too_long:
            await self._refuse(receive, send)

    @property
    def _reason(self) -> str:
        return f"the body is longer than the limit of {self._limit} bytes"

    async def _refuse(self, receive: Receive, send: Send) -> None:
        """Answer, then close the connection, but not before the client could read the answer: a
        socket closed with unread bytes is reset, and takes the answer with it."""
        response = ApiError(413, self._reason, code="request_too_large").response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})


class JsonRoute(APIRoute):
    """A route that reads JSON with jiter: it refuses NaN, and nests 200 deep at most."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def read(request: Request) -> Any:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read


class _JsonRequest(Request):
    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from None
