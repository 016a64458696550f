"""Errors as OpenAI's API tells them: a status, and {"error": {message, type, param, code}}."""

import logging

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from orin_llm.engine.request import ClosedError, EngineError, QueueFullError

log = logging.getLogger(__name__)

# Seconds after which a client should try again.
LOADING_S, BUSY_S = 5, 1


class ApiError(HTTPException):
    """A request that gets no answer. `param` names the field of the request that is at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if retry_after is not None:
            headers = {**(headers or {}), "Retry-After": str(retry_after)}
        super().__init__(status, message, headers)
        self.type = type or ("server_error" if status >= 500 else "invalid_request_error")
        self.param, self.code = param, code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The answer's body, and the data of an error event."""
        return {
            "error": {
                "message": str(self.detail),
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status_code, self.headers)


class ClientGoneError(Exception):
    """The client closed its connection: nobody reads an answer."""


def invalid(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """A field that cannot be followed."""
    return ApiError(400, f"{param}: {message}", param=param, code=code)


def of_engine(error: EngineError) -> ApiError:
    """What a client is told when the engine refuses a request or breaks off an answer."""
    if isinstance(error, QueueFullError):
        message = "the queue is full; try again later"
        code = "rate_limit_exceeded"
        return ApiError(429, message, type="requests", code=code, retry_after=BUSY_S)
    if isinstance(error, ClosedError):
        message = "the model has stopped answering; try again later"
        return ApiError(503, message, code="unavailable", retry_after=LOADING_S)
    return internal()


def internal() -> ApiError:
    """A bug: the client is told nothing of it, the log everything."""
    return ApiError(500, "internal error; the server's log says more", code="internal_error")


def install(app: FastAPI) -> None:
    """Let `app` tell every error in OpenAI's form."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _of_http(request, error).response()

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return _of_validation(error).response()

    @app.exception_handler(EngineError)
    async def engine(request: Request, error: EngineError) -> JSONResponse:
        if type(error) is EngineError:
            log.error("the engine refused a request: %s", error)
        return of_engine(error).response()


def _of_http(request: Request, error: StarletteHTTPException) -> ApiError:
    if isinstance(error, ApiError):
        return error
    asked = f"{request.method} {request.url.path}"
    known = {
        404: (f"no such URL: {asked}", "unknown_url"),
        405: (f"method not allowed: {asked}", "method_not_allowed"),
    }
    message, code = known.get(error.status_code, (str(error.detail), None))
    return ApiError(error.status_code, message, code=code, headers=dict(error.headers or {}))


def _of_validation(error: RequestValidationError) -> ApiError:
    """The first of what is wrong; all of it would be pages for a union of types."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"][1:]]
    if not path:
        message = "the body is missing or no JSON object"
        if isinstance(error.body, bytes):
            message = "send the body as JSON, with Content-Type: application/json"
        return ApiError(400, message, code="invalid_json")
    param = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    return invalid(param, message, code)
