"""Who gets in: below /v1 those with a key, and only while there is a model to ask."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from orin_llm.server import keys
from orin_llm.server.errors import ApiError
from orin_llm.server.serving import Serving, unavailable


class Gate:
    """ASGI middleware that refuses before anything of the body is read."""

    def __init__(self, app: ASGIApp, serving: Serving, api_keys: Collection[bytes]) -> None:
        self._app, self._serving, self._keys = app, serving, api_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (refused.response() if refused else self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if not f"{scope['path']}/".startswith("/v1/"):
            return None
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        if self._keys and not keys.known(authorization, self._keys):
            message = "missing or wrong API key; send Authorization: Bearer KEY"
            challenge = {"WWW-Authenticate": "Bearer"}
            return ApiError(401, message, code="invalid_api_key", headers=challenge)
        phase = self._serving.phase
        return None if phase == "ok" else unavailable(phase)
