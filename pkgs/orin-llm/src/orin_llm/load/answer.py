"""One request to a server of OpenAI's API, and the times of its answer."""

import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp

Endpoint = Literal["chat", "completions"]

# What a delta carries besides its role; llama.cpp and vLLM have either name for reasoning.
_OUTPUT = ("content", "reasoning_content", "reasoning", "tool_calls")

_KINDS: Sequence[tuple[type[Exception], str]] = (
    (TimeoutError, "timed out"),
    (aiohttp.ClientError, "broken off"),
)


class GoneError(Exception):
    """Nothing listens at the server's address; the text says what the system calls it."""


@dataclass
class Answer:
    """What became of one request. Times are of time.perf_counter(), in seconds.

    `due` is when it was to be sent, and what latencies count from. `chunks` are the arrivals of
    what carried output, one token or several. `ended` is the arrival of the last chunk that
    carried a choice, or of a whole answer where none is streamed. Tokens are the server's own
    count, None where it gives none.
    """

    due: float
    sent: float
    ended: float = 0.0
    chunks: list[float] = field(default_factory=list)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None  # its kind, in a few words
    detail: str = ""  # and what the server said of it


@dataclass(frozen=True)
class Target:
    """Where requests go. `session` holds the key."""

    session: aiohttp.ClientSession
    url: str  # without /v1
    endpoint: Endpoint
    stream: bool

    @property
    def path(self) -> str:
        kind = "chat/completions" if self.endpoint == "chat" else "completions"
        return f"{self.url}/v1/{kind}"


async def ask(target: Target, body: dict[str, Any], due: float | None = None) -> Answer:
    """Send `body` and read its answer to the end. `due` is now unless it is given.

    An answer that fails says so in `error`. Raises GoneError if nothing listens there.
    """
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    now = time.perf_counter()
    answer = Answer(due=now if due is None else due, sent=now)
    try:
        async with target.session.post(target.path, data=data, headers=headers) as response:
            if response.status != 200:
                answer.error = f"HTTP {response.status}"
                answer.detail = error_message(await response.read())
            elif target.stream:
                await _read_stream(answer, response.content)
            else:
                _read_whole(answer, await response.read())
    except aiohttp.ClientConnectorError as error:
        raise GoneError(reason(error)) from None
    except tuple(kind for kind, _ in _KINDS) as error:
        answer.error = next(name for kind, name in _KINDS if isinstance(error, kind))
        answer.detail = str(error)
    return answer


def reason(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, as the system says it: asyncio puts addresses there instead."""
    cause = error.os_error
    if cause.errno is not None and cause.errno > 0:  # those of name resolution are negative
        return os.strerror(cause.errno)
    return cause.strerror or str(cause)


async def _read_stream(answer: Answer, content: aiohttp.StreamReader) -> None:
    finished = False
    async for data in _events(content):
        if data == b"[DONE]":
            finished = True
            continue
        now = time.perf_counter()
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                answer.error, answer.detail = "error in the stream", error_message(data)
                return
            choices = chunk["choices"]
            _count(answer, chunk)
            if choices:
                answer.ended = now
                ends = choices[0].get("finish_reason") is not None
                finished |= ends
                if _carries_output(choices[0]) or (ends and not answer.chunks):
                    answer.chunks.append(now)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            answer.error, answer.detail = "not OpenAI's form", _short(data)
            return
    if not finished:
        answer.error = "broken off"
        answer.detail = "the stream ended without finish_reason and [DONE]"
    elif not answer.chunks:
        answer.error, answer.detail = "empty", "no chunk with a choice"


def _read_whole(answer: Answer, data: bytes) -> None:
    answer.ended = time.perf_counter()
    try:
        document = json.loads(data)
        _count(answer, document)
        if not document["choices"]:
            answer.error, answer.detail = "empty", "an answer without choices"
    except (ValueError, KeyError, TypeError, AttributeError):
        answer.error, answer.detail = "not OpenAI's form", _short(data)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The data of every server-sent event; comments, which keep a connection alive, are none."""
    rest = b""
    async for data in content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


def _count(answer: Answer, document: dict[str, Any]) -> None:
    if usage := document.get("usage"):
        answer.prompt_tokens = usage.get("prompt_tokens", answer.prompt_tokens)
        answer.output_tokens = usage.get("completion_tokens", answer.output_tokens)


def _carries_output(choice: dict[str, Any]) -> bool:
    """Whether a chunk stands for tokens. Neither the role alone does, which may come before the
    prompt is read, nor the reason for the end; a text that is empty otherwise is half a letter."""
    ends = choice.get("finish_reason") is not None
    if (delta := choice.get("delta")) is None:
        return bool(choice["text"]) or not ends
    return any(delta.get(name) for name in _OUTPUT) or not (ends or "role" in delta)


def error_message(data: bytes) -> str:
    """What an error's body says, in OpenAI's form or any other."""
    try:
        error = json.loads(data)["error"]
        return _short((error if isinstance(error, str) else error["message"]).encode())
    except (ValueError, KeyError, TypeError, AttributeError):
        return _short(data)


def _short(data: bytes, limit: int = 200) -> str:
    text = " ".join(data.decode(errors="replace").split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
