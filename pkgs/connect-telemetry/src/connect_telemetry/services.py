"""What a board serves on its loopback, the local ports it gets here, and whether it answers."""

import http.client
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from orin_core.cli import UserError

LOOPBACK = "127.0.0.1"
MAX_PORT = 65535
PROBE_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """An HTTP service and its TCP port on the board's loopback."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}={self.port}"


TELEMETRY = (
    Service("Grafana", 3000),
    Service("Prometheus", 9090),
    Service("node_exporter", 9100),
    Service("jetson-exporter", 9460),
)


class Answer(Enum):
    """What a local port says to an HTTP request."""

    CLOSED = auto()  # nobody listens: ssh has not come so far
    SILENT = auto()  # ssh takes the connection, and no HTTP comes back from the board
    HTTP = auto()  # any status: a page that asks for a login is a service that runs


def parse(text: str) -> Service:
    """Read `NAME=PORT`. Raises UserError where it is not that."""
    name, _, port = text.rpartition("=")
    if not (name and port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise UserError(f"--service {text}: write NAME=PORT, as {TELEMETRY[0]}")
    return Service(name, int(port))


def local_ports(services: Sequence[Service], avoid: Collection[int] = ()) -> dict[Service, int]:
    """Give each service its own number here, or the next free one above it, none of `avoid`.

    Raises UserError where no port above is free.
    """
    ports: dict[Service, int] = {}
    for service in services:
        others = {other.port for other in services if other != service}
        reserved = {*avoid, *others, *ports.values()}
        candidates = range(service.port, MAX_PORT + 1)
        port = next((port for port in candidates if port not in reserved and _is_free(port)), None)
        if port is None:
            raise UserError(f"{service.name}: no free local port from {service.port} upward")
        ports[service] = port
    return ports


def probe(port: int) -> Answer:
    """Ask `port` of this machine for a page, for at most two seconds of silence."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except ConnectionRefusedError:
        return Answer.CLOSED
    except (OSError, http.client.HTTPException):
        return Answer.SILENT
    finally:
        connection.close()
    return Answer.HTTP


def url(port: int) -> str:
    """Address of a forwarded service on this machine."""
    return f"http://{LOOPBACK}:{port}"


def names(services: Collection[Service] | Mapping[Service, int]) -> str:
    """The services in prose: `Grafana, Prometheus`."""
    return ", ".join(service.name for service in services)


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As ssh does: connections that ended a moment ago do not hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
