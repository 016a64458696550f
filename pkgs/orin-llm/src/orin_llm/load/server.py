"""A server before it is measured: whether it answers, is ready, and which model it has."""

import asyncio
import json
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from orin_core.cli import UserError
from orin_llm.load.answer import error_message, reason

PATIENCE = 600.0  # seconds for a model to load, as vLLM's client waits

# Longer than a keep-alive comment is away; prompts may wait in a queue for minutes.
SILENCE = 600.0

_QUICK = aiohttp.ClientTimeout(total=20)  # for what needs no model

# Connections idle for longer are not used again: uvicorn closes them after 5 s.
_IDLE = 2.0


class SilentError(UserError):
    """Nothing listens where a server should."""


@dataclass(frozen=True)
class Server:
    name: str
    url: str  # without /v1
    model: str = ""


def parse_server(text: str) -> Server:
    """NAME=URL, or a URL, which is then named by its host and port; with or without /v1."""
    name, equals, url = text.partition("=")
    if not equals or "://" in name:
        name, url = "", text
    example = "give NAME=URL, as llama.cpp=http://127.0.0.1:8080"
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise UserError(f"--server {text!r}: {url!r} is no address of a server; {example}")
    name = name.strip() or parts.netloc.rpartition("@")[2]
    if not name.isprintable() or len(name) > 40 or "|" in name:
        raise UserError(f"--server {text!r}: a name is up to 40 printable characters; {example}")
    return Server(name, parts.geturl().rstrip("/").removesuffix("/v1"))


def open_session(key: str | None) -> aiohttp.ClientSession:
    """A client without limits of its own: they would be mistaken for the server's."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=SILENCE),
        headers={"Authorization": f"Bearer {key}"} if key else None,
    )


async def find_model(
    session: aiohttp.ClientSession, server: Server, model: str | None, remedy: str
) -> Server:
    """`server` with the model to ask for: `model`, or the first of /v1/models.

    Waits while /health answers 503. Raises SilentError with `remedy` if nothing listens, and
    UserError for everything else that would make all requests fail.
    """
    where = f"{server.name} at {server.url}"
    try:
        await _wait_loaded(session, server)
        async with session.get(f"{server.url}/v1/models", timeout=_QUICK) as response:
            status, data = response.status, await response.read()
    except aiohttp.ClientConnectorError as error:
        raise SilentError(f"{where}: nothing answers ({reason(error)}); {remedy}") from None
    except TimeoutError:
        raise SilentError(
            f"{where}: nothing answers within {_QUICK.total:.0f} s; {remedy}"
        ) from None
    except aiohttp.ClientError as error:
        said = str(error) or type(error).__name__
        raise UserError(f"{where}: speaks no HTTP ({said}); check the address") from None
    if status in (401, 403):
        raise UserError(f"{where}: refuses the key ({status}); give it as --api-key-file FILE")
    if status != 200:
        raise UserError(
            f"{where}: /v1/models answers {status} ({error_message(data)}); is this the address of "
            "an OpenAI-compatible server?"
        )
    try:
        models = [str(entry["id"]) for entry in json.loads(data)["data"]]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{where}: /v1/models is not in OpenAI's form; is this the address of its API?"
        ) from None
    if not models:
        raise UserError(f"{where}: has no model; load one first")
    if model and model not in models:
        raise UserError(f"--model {model}: {where} has {', '.join(models[:5])}")
    return Server(server.name, server.url, model or models[0])


async def is_loaded(session: aiohttp.ClientSession, server: Server) -> bool:
    """What /health says; a server without it is ready. Raises aiohttp's errors."""
    async with session.get(f"{server.url}/health", timeout=_QUICK) as response:
        return response.status != 503


async def _wait_loaded(session: aiohttp.ClientSession, server: Server) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    told = False
    while not await is_loaded(session, server):
        if not told:
            print(f"{server.name}: loads its model; waiting", file=sys.stderr)
            told = True
        if asyncio.get_running_loop().time() > deadline:
            raise UserError(
                f"{server.name} at {server.url}: /health still says 503 after {PATIENCE:.0f} s; "
                "see the server's log"
            )
        await asyncio.sleep(0.2)
