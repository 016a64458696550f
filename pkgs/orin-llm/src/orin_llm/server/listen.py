"""The process around the application: its socket, its signals, its end."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from orin_core.cli import UserError

_TICK_S = 1.0  # what uvicorn needs beyond the grace time to see that everything has ended


def bind(host: str, port: int) -> socket.socket:
    """A socket for `host` (a name or an address) and `port`; 0 is a free port. Raises UserError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(
            f"--host {host}: {said}; give a name or an address of this machine"
        ) from None
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        raise UserError(f"--host {host} --port {port}: {error.strerror}; choose others") from None
    return bound


def url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server. The first SIGTERM or SIGINT lets it finish what it is answering, for
    `grace` seconds at most, the second ends it at once."""

    def __init__(self, app: object, grace: float, drain: Callable[[float], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # an ASGI application
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(grace + _TICK_S) + 1,
            )
        )
        self.interrupted = False  # by SIGINT
        self._grace, self._drain = grace, drain

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's would raise the signals again in the end, and the exit code be theirs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        yield  # the handlers stay until the process ends: what follows is short

    def end(self) -> None:
        """Stop serving, without anything to wait for."""
        self.should_exit = True

    def _stop(self, number: int) -> None:
        self.interrupted |= number == signal.SIGINT
        if self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True
            self._drain(self._grace)
