"""A small Hub on 127.0.0.1: the parts of Hugging Face's API that download-model uses, and what goes
wrong with them."""

import hashlib
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

import orin_llm.models.hub
import orin_llm.models.transfer

COMMIT = "c0" * 20
REPO = "someone/some-model-GGUF"


@dataclass
class Request:
    """What a client asked for. `host` is "hub" or "store": addresses of files lead to another
    server, as on the Hub."""

    host: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """Files of the repository REPO, and faults, each of which the next request for bytes has.

    A fault is a number, the bytes after which the connection is cut; "wrong", bytes that are
    others; "whole", an answer that ignores the range asked for; or an HTTP status as a text.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    token: str = ""  # needed for everything, if set
    gated: bool = False  # files need a token, the list does not
    statuses: list[int] = field(default_factory=list)  # of the next requests for the list
    faults: list[int | str] = field(default_factory=list)
    page: bytes = b""  # instead of the list
    pause: float = 0.0  # seconds after each 64 KiB
    plain: bool = False  # files outside LFS
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    url: str = ""
    store_url: str = ""

    def ranges(self) -> list[str]:
        """Of the requests for bytes."""
        return [request.range for request in self.requests if request.host == "store"]

    def listing(self) -> bytes:
        siblings = []
        for name, data in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"rfilename": name, "size": len(data), "blobId": blob}
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 9}
            siblings.append(entry if self.plain else {**entry, "lfs": lfs})
        return json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()


def point_to(hub: Hub, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let this process and its children use `hub`, without a token, and try again at once."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(home / "token"))
    for module in (orin_llm.models.hub, orin_llm.models.transfer):
        monkeypatch.setattr(module, "PAUSES", (0,) * 5)


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    with _server("hub", hub) as hub.url, _server("store", hub) as hub.store_url:
        yield hub


@contextmanager
def _server(host: str, hub: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("range", ""), self.headers.get("authorization", "")
            hub.requests.append(Request(host, self.path, *asked))
            answer = _Answer(self, hub)
            answer.store() if host == "store" else answer.hub()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Answer:
    def __init__(self, handler: BaseHTTPRequestHandler, hub: Hub) -> None:
        self.handler, self.hub_state = handler, hub

    def hub(self) -> None:
        state, path = self.hub_state, unquote(urlsplit(self.handler.path).path)
        authorized = self.handler.headers.get("authorization") == f"Bearer {state.token}"
        is_list = path.startswith("/api/models/")
        if is_list and state.statuses:
            return self.answer(state.statuses.pop(0), {"retry-after": "0"})
        if state.gated and not is_list and not authorized:
            return self.answer(403, {"x-error-code": "GatedRepo"})
        if REPO not in path or (state.token and not state.gated and not authorized):
            return self.answer(401, {"x-error-code": "RepoNotFound"})
        if is_list:
            if path not in (f"/api/models/{REPO}/revision/{name}" for name in ("main", COMMIT)):
                return self.answer(404, {"x-error-code": "RevisionNotFound"})
            return self.answer(200, {}, state.page or state.listing())
        name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/")
        if name not in state.files:
            return self.answer(404, {"x-error-code": "EntryNotFound"})
        return self.answer(302, {"location": state.store_url + self.handler.path})

    def store(self) -> None:
        state = self.hub_state
        name = unquote(self.handler.path).removeprefix(f"/{REPO}/resolve/{COMMIT}/")
        data, whole = state.files[name], len(state.files[name])
        fault = state.faults.pop(0) if state.faults else None
        if isinstance(fault, str) and fault.isdecimal():
            return self.answer(int(fault), {"retry-after": "0"})
        start, last = 0, whole - 1
        if fault != "whole":
            start, last = map(int, self.handler.headers["range"].removeprefix("bytes=").split("-"))
        body = data[start : last + 1]
        if fault == "wrong":
            body = bytes(byte ^ 1 for byte in body)
        self.handler.send_response(200 if fault == "whole" else 206)
        self.handler.send_header("content-length", str(len(body)))
        if fault != "whole":
            self.handler.send_header("content-range", f"bytes {start}-{last}/{whole}")
        self.handler.end_headers()
        if isinstance(fault, int):
            body = body[:fault]
        for at in range(0, len(body), 1 << 16):
            piece = body[at : at + (1 << 16)]
            try:
                self.handler.wfile.write(piece)
            except OSError:  # the client has gone
                break
            state.sent += len(piece)
            time.sleep(state.pause)
        self.handler.close_connection = True

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.handler.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)
