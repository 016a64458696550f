"""Which local port a service gets, and what a port answers."""

import socket
import threading

import pytest

from connect_board import reserve, serve
from connect_telemetry.services import (
    MAX_PORT,
    TELEMETRY,
    Answer,
    Service,
    local_ports,
    parse,
    probe,
)
from connect_telemetry.tunnel import Target, command
from orin_core.cli import UserError


def free_port() -> int:
    """The first of four ports of loopback that are free."""
    while True:
        with reserve() as holder:
            first: int = holder.getsockname()[1]
        if all(is_free(port) for port in range(first, first + 4)):
            return first


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_a_service_keeps_its_own_number() -> None:
    service = Service("Grafana", free_port())
    assert local_ports([service]) == {service: service.port}


def test_a_taken_number_moves_up_past_the_other_services() -> None:
    first = free_port()
    services = [Service("a", first), Service("b", first + 1)]
    with socket.create_server(("127.0.0.1", first)):
        assert list(local_ports(services).values()) == [first + 2, first + 1]
    assert list(local_ports(services, avoid={first, first + 2}).values()) == [first + 3, first + 1]


def test_two_services_of_one_number_get_two_ports() -> None:
    first = free_port()
    ports = local_ports([Service("a", first), Service("b", first)])
    assert len(set(ports.values())) == 2


def test_no_free_port() -> None:
    service = Service("Grafana", MAX_PORT)
    with pytest.raises(UserError, match="Grafana: no free local port from 65535"):
        local_ports([service], avoid={MAX_PORT})


def test_name_and_port() -> None:
    assert [parse(str(service)) for service in TELEMETRY] == list(TELEMETRY)


@pytest.mark.parametrize("text", ["", "Grafana", "=3000", "Grafana=", "a=0", "a=65536", "a=²"])
def test_not_a_name_and_port(text: str) -> None:
    with pytest.raises(UserError, match="write NAME=PORT, as Grafana=3000"):
        parse(text)


def test_probe() -> None:
    server = serve()
    assert probe(server.server_port) is Answer.HTTP
    server.shutdown()
    server.server_close()
    assert probe(server.server_port) is Answer.CLOSED


def test_probe_of_something_that_is_not_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            with other.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                connection.recv(1000)

        threading.Thread(target=greet, daemon=True).start()
        assert probe(other.getsockname()[1]) is Answer.SILENT


@pytest.mark.parametrize(
    ("host", "destination"),
    [
        ("orin.local", "orin.local"),
        ("ada@orin", "ada@orin"),
        ("ssh://ada@orin:2222", "ssh://ada@orin:2222"),
        ("ssh://[::1]:2222", "ssh://[::1]:2222"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("ada@[::1]", "ada@::1"),
    ],
)
def test_the_command_line(host: str, destination: str) -> None:
    line = command(Target(host, port=22), {Service("Grafana", 3000): 3001})
    assert line[0] == "ssh"
    assert line[line.index("-L") + 1] == "127.0.0.1:3001:127.0.0.1:3000"
    assert line[-4:] == ["-p", "22", "--", destination]
    assert "ExitOnForwardFailure=yes" in line


def test_the_command_line_names_the_user() -> None:
    line = command(Target("orin", user="ada"), {})
    assert line[-4:] == ["-l", "ada", "--", "orin"]
