"""The exporter's web server: /metrics for Prometheus, / for people, TLS where it is configured."""

import socket
import ssl
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import yaml

from orin_core.cli import UserError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Page = Callable[[], str]
Metrics = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]

_IDLE_S = 10.0  # a client that says nothing for so long loses its thread
_SECURITY = [
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
]
_TLS_KEYS = {"cert_file", "key_file", "client_ca_file", "client_auth_type"}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def application(metrics: Metrics, page: Page) -> Metrics:
    """The WSGI application that serves both."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)
        if environ["PATH_INFO"] != "/":
            status, body = "404 Not Found", "not found; the metrics are at /metrics\n"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", "only GET\n"
        else:
            status, body = "200 OK", page()
        kind = "html" if status == "200 OK" else "plain"
        content = body.encode()
        headers = [
            ("Content-Type", f"text/{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            *_SECURITY,
        ]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    return answer


class Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a slow client holds up nobody else.

    Raises UserError if the address cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 128  # of 5, the default, a burst of clients loses seconds

    def __init__(self, host: str, port: int, app: Metrics, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        try:
            family, *_, address = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self.address_family = family
            super().__init__(address[:2], _Handler)  # type: ignore[arg-type]
        except OSError as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise UserError(
                f"--web.listen-address {where}: {error.strerror}; choose another"
            ) from error
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind without asking DNS for the name of the machine, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def finish_request(  # type: ignore[override]  # a request of TCP is a socket
        self, request: socket.socket, client_address: object
    ) -> None:
        """Shake hands in the request's own thread: a client may take its time."""
        request.settimeout(_IDLE_S)
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away, or speak another protocol, are no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A scrape every few seconds is no news either."""


def tls_context(config: Path) -> ssl.SSLContext | None:
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
    if kind not in _CLIENT_AUTH:
        raise UserError(
            f"--web.config.file {config}: client_auth_type is one of {', '.join(_CLIENT_AUTH)}"
        )
    if kind != "NoClientCert" and not authority:
        raise UserError(f"--web.config.file {config}: client_auth_type {kind} needs client_ca_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        path = config.parent / str(section["cert_file"])
        context.load_cert_chain(path, config.parent / str(section["key_file"]))
        if authority:
            path = config.parent / str(authority)
            context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            f"{path}, or its key: {error.strerror or error}; needs PEM files"
        ) from error
    context.verify_mode = _CLIENT_AUTH[kind]
    return context
