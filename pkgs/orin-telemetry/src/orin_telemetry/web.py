"""The exporter's web server: /metrics for Prometheus, / for people, TLS where it is configured."""

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import yaml

from orin_core.cli import UserError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Page = Callable[[], str]
Metrics = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]

_CLIENTS = 16  # at once, each with a thread; more are turned away
_CLIENT_S = 10.0  # what a client may take from its connection to the end of its answer
_SECURITY = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
]
_TLS_KEYS = {"cert_file", "key_file", "client_ca_file", "client_auth_type"}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

log = logging.getLogger(__name__)


def application(metrics: Metrics, page: Page) -> Metrics:
    """The WSGI application that serves both."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        kind = ("Content-Type", "text/plain; charset=utf-8")
        if path not in ("/", "/metrics"):
            status, headers = "404 Not Found", [kind]
            content = b"not found; the metrics are at /metrics\n"
        elif method not in ("GET", "HEAD"):
            status, headers = "405 Method Not Allowed", [kind, ("Allow", "GET, HEAD")]
            content = b"only GET\n"
        elif path == "/metrics":
            status, headers, content = _get(metrics, environ)
        else:
            status, headers = "200 OK", [("Content-Type", "text/html; charset=utf-8")]
            content = page().encode()
        start_response(status, [*headers, ("Content-Length", str(len(content))), *_SECURITY])
        return [] if method == "HEAD" else [content]

    return answer


def _get(app: Metrics, environ: "WSGIEnvironment") -> tuple[str, list[tuple[str, str]], bytes]:
    """Status, headers and body of what `app` answers to a GET."""
    status, headers = "", []

    def start_response(code: str, lines: list[tuple[str, str]], *_: object) -> Callable[..., None]:
        nonlocal status, headers
        status, headers = code, lines
        return lambda data: None

    content = b"".join(app({**environ, "REQUEST_METHOD": "GET"}, start_response))
    return status, headers, content


class Tls:
    """TLS as `make` sets it up from `files`.

    When one of the files has changed it is set up again, so that a renewed certificate needs no
    restart.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], files: list[Path]) -> None:
        self._make = make
        self._files = files
        self._lock = threading.Lock()
        self._changed = self._changes()
        self._context = make()

    def context(self) -> ssl.SSLContext:
        """What the next handshake uses: with files that are no longer good, the one before."""
        with self._lock:
            changed = self._changes()
            if changed != self._changed:
                self._changed = changed
                try:
                    self._context = self._make()
                except UserError as error:
                    log.warning("%s; the certificate of before stays in use", error)
            return self._context

    def _changes(self) -> list[int | None]:
        return [_changed(file) for file in self._files]


def _changed(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


class Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a slow client holds up nobody else.

    Listens on every address, of IPv6 and of IPv4, without a `host`. Raises UserError if the address
    cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 128  # of 5, the default, a burst of clients loses seconds

    def __init__(self, host: str, port: int, app: Metrics, tls: Tls | None) -> None:
        self.tls = tls
        # By the socket that was accepted: the one that is read, TLS included, and its end.
        self._open: dict[socket.socket, tuple[socket.socket, float]] = {}
        self._both = not host and socket.has_dualstack_ipv6()
        try:
            family, *_, address = socket.getaddrinfo(
                "::" if self._both else host or None,
                port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )[0]
            self.address_family = family
            super().__init__(address[:2], _Handler)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:  # the latter from what no host can be called
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
            raise UserError(f"--web.listen-address {where}: {reason}; choose another") from error
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind without asking DNS for the name of the machine, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._both:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def process_request(  # type: ignore[override]  # a request of TCP is a socket
        self, request: socket.socket, client_address: object
    ) -> None:
        """Begin a thread, unless there are so many that the next could harm the board."""
        if len(self._open) >= _CLIENTS:
            self.shutdown_request(request)
            return
        self._open[request] = (request, time.monotonic() + _CLIENT_S)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._open.pop(request, None)
            raise

    def process_request_thread(  # type: ignore[override]
        self, request: socket.socket, client_address: object
    ) -> None:
        """Answer, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(request, None)

    def service_actions(self) -> None:
        """Hang up on those whose time is over; called at least twice a second."""
        now = time.monotonic()
        for connection, end in list(self._open.values()):
            if now >= end:
                with suppress(OSError):  # it has just ended by itself
                    # Of a TLS socket the plain one: its thread is still using the rest.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def finish_request(  # type: ignore[override]
        self, request: socket.socket, client_address: object
    ) -> None:
        """Shake hands in the request's own thread: a client may take its time."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        _, end = self._open[request]
        with self.tls.context().wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ) as secure:
            self._open[request] = (secure, end)
            secure.do_handshake()
            super().finish_request(secure, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away, or speak another protocol, are no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Secure(ssl.SSLSocket):
    def sendall(self, *arguments: Any) -> None:
        """Say that the client has gone in the words that wsgiref knows; any others it prints."""
        try:
            super().sendall(*arguments)
        except ssl.SSLError as error:
            raise BrokenPipeError(str(error)) from error


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape every few seconds is no news either."""


def tls(config: Path) -> Tls | None:
    """TLS as the YAML file `config` has it, in the form of node_exporter's web configuration.

    Of that form, `tls_server_config` with cert_file, key_file, client_ca_file and client_auth_type;
    paths are relative to the file. None without such a section. Raises UserError for anything else,
    passwords included: those that read the metrics are told apart by client certificates.
    """
    try:
        tree = yaml.safe_load(config.read_text()) or {}
    except OSError as error:
        raise UserError(f"--web.config.file {config}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--web.config.file {config}: not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"--web.config.file {config}: write tls_server_config: with its keys")
    if tree.get("basic_auth_users"):
        raise UserError(
            f"--web.config.file {config}: basic_auth_users is not supported; use client"
            " certificates (client_auth_type: RequireAndVerifyClientCert) or a reverse proxy"
        )
    if unknown := sorted(map(str, tree.keys() - {"tls_server_config", "basic_auth_users"})):
        raise UserError(f"--web.config.file {config}: unknown section {unknown[0]}")
    section = tree.get("tls_server_config")
    if section is None:
        return None
    if not isinstance(section, dict) or (section.keys() - _TLS_KEYS):
        raise UserError(
            f"--web.config.file {config}: tls_server_config takes {', '.join(sorted(_TLS_KEYS))}"
        )
    if missing := [key for key in ("cert_file", "key_file") if not section.get(key)]:
        raise UserError(f"--web.config.file {config}: tls_server_config needs {missing[0]}")
    authority = section.get("client_ca_file")
    kind = section.get(
        "client_auth_type", "RequireAndVerifyClientCert" if authority else "NoClientCert"
    )
    if not isinstance(kind, str) or kind not in _CLIENT_AUTH:
        raise UserError(
            f"--web.config.file {config}: client_auth_type is one of {', '.join(_CLIENT_AUTH)}"
        )
    if kind != "NoClientCert" and not authority:
        raise UserError(f"--web.config.file {config}: client_auth_type {kind} needs client_ca_file")
    files = [section["cert_file"], section["key_file"], *([authority] if authority else [])]
    paths = [config.parent / str(file) for file in files]
    return Tls(partial(_context, _CLIENT_AUTH[kind], *paths), paths)


def _context(
    mode: ssl.VerifyMode, certificate: Path, key: Path, authority: Path | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _Secure
    path = certificate
    try:
        context.load_cert_chain(certificate, key)
        if authority:
            path = authority
            context.load_verify_locations(authority)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            f"{path}, or its key: {error.strerror or error}; needs PEM files"
        ) from error
    context.verify_mode = mode
    return context
