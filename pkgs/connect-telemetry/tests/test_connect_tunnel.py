"""connect-telemetry against a real sshd: what the user sees, and what stays behind."""

import os
import pty
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connect_board import Board, listens, program, reserve, until
from connect_telemetry.services import Service, local_ports

FOUR = ("Grafana", "Prometheus", "node_exporter", "jetson-exporter")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[..., Board]]:
    boards: list[Board] = []

    def make(**options: str) -> Board:
        program("ssh")
        boards.append(Board(tmp_path, **options))
        return boards[-1]

    yield make
    for each in boards:
        each.close()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def error_of(board: Board, *arguments: str, host: str = "board") -> str:
    """The one line of a session that fails with exit code 2, without its prefix."""
    session = board.connect(*arguments, host=host)
    assert session.ends() == 2, session.err
    assert not board.ssh_processes()
    assert session.out == ""
    (line,) = session.err.splitlines()
    name, _, text = line.partition(": ")
    assert name == "cli.py"
    return text


def test_all_services_come_to_this_machine(board: Callable[..., Board]) -> None:
    orin = board()
    orin.serve(*FOUR)
    session = orin.connect()
    urls = session.urls()
    assert list(urls) == list(FOUR)
    for name, (url, answers) in urls.items():
        # The board is this machine: each service's own number is taken here.
        assert port_of(url) != orin.names[name]
        assert f"local port {orin.names[name]} is taken: {name} comes on {port_of(url)}" in (
            session.err
        )
        assert answers == "yes"
        with socket.create_connection(("127.0.0.1", port_of(url))) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"302" in connection.recv(100)
    assert "connected to board" in session.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_no_ssh(board: Callable[..., Board], number: int, code: int) -> None:
    orin = board()
    orin.serve("Grafana")
    session = orin.connect()
    (url, _), *_ = session.urls().values()
    assert len(orin.ssh_processes()) == 1
    session.process.send_signal(number)
    assert session.ends() == code
    assert not orin.ssh_processes()
    assert not listens(port_of(url))
    assert "lost" not in session.err


def test_ctrl_c_during_the_login_leaves_no_ssh(board: Callable[..., Board]) -> None:
    orin = board()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        session = orin.connect("--port", str(mute.getsockname()[1]))
        mute.accept()
        session.process.send_signal(signal.SIGINT)
        assert session.ends() == 130
    assert not orin.ssh_processes()


def test_a_shared_connection_is_not_left_behind(
    board: Callable[..., Board], tmp_path: Path
) -> None:
    orin = board(ssh=f"ControlMaster auto\nControlPath {tmp_path}/shared\nControlPersist yes")
    orin.serve("Grafana")
    session = orin.connect()
    (url, _), *_ = session.urls().values()
    session.process.send_signal(signal.SIGINT)
    assert session.ends() == 130
    assert not orin.ssh_processes()
    assert not listens(port_of(url))


def test_forwards_that_the_configuration_would_clear(board: Callable[..., Board]) -> None:
    orin = board(ssh="ClearAllForwardings yes")
    orin.serve("Grafana")
    session = orin.connect()
    assert session.urls()
    session.process.send_signal(signal.SIGINT)
    assert session.ends() == 130


def test_a_jump_host_and_its_ssh_end_too(board: Callable[..., Board]) -> None:
    orin = board(ssh="Host far\n  HostName 127.0.0.1\n  ProxyJump board")
    orin.serve("Grafana")
    session = orin.connect("--port", str(orin.port), host="far")
    assert session.urls()["Grafana"][1] == "yes"
    assert len(orin.ssh_processes()) == 2
    session.process.terminate()
    session.ends()
    until(lambda: not orin.ssh_processes(), "the jump host's ssh stays")


def test_prompts_are_on_the_terminal_and_ctrl_c_ends(board: Callable[..., Board]) -> None:
    orin = board(passphrase="dragonfly")
    orin.known_hosts.unlink()
    orin.serve("Grafana")
    ours, theirs = pty.openpty()
    session = orin.connect(terminal=theirs)
    os.close(theirs)

    def answer(question: str, reply: bytes) -> None:
        said = ""
        while question not in said:
            said += os.read(ours, 1000).decode()
        os.write(ours, reply)

    answer("(yes/no/[fingerprint])?", b"yes\n")
    answer("Enter passphrase for key", b"dragonfly\n")
    assert session.urls()["Grafana"][1] == "yes"
    assert "Permanently added" in session.err
    os.write(ours, b"\x03")
    assert session.ends() == 130
    os.close(ours)
    assert not orin.ssh_processes()
    assert session.err.splitlines()[-1] == "cli.py: stopped"


def test_a_connection_that_drops_is_one_line(board: Callable[..., Board]) -> None:
    orin = board()
    orin.serve("Grafana")
    session = orin.connect()
    session.urls()
    before = len(session.err.splitlines())
    orin.vanish()
    assert session.ends() == 1
    (line,) = session.err.splitlines()[before:]
    assert line.startswith("connection to board lost: ")
    assert not orin.ssh_processes()


def test_a_service_that_is_down_is_named(board: Callable[..., Board]) -> None:
    orin = board()
    orin.serve("Grafana", "Prometheus")
    with reserve() as down:
        orin.names["node_exporter"] = down.getsockname()[1]
        session = orin.connect("--wait", "0.3")
        answers = {name: answer for name, (_, answer) in session.urls().items()}
    assert answers == {"Grafana": "yes", "Prometheus": "yes", "node_exporter": "no"}
    assert re.search(r"^node_exporter does not answer on .* nixos-telemetry$", session.err, re.M)
    assert "open failed" not in session.err
    assert session.process.poll() is None


def test_no_service_at_all_is_an_error(board: Callable[..., Board]) -> None:
    orin = board()
    with reserve() as down:
        orin.names["Grafana"] = down.getsockname()[1]
        session = orin.connect("--wait", "0.3")
        assert session.ends() == 2
    assert "none of Grafana answers: switch the board to nixos-telemetry" in session.err
    assert not orin.ssh_processes()


def browser(folder: Path) -> tuple[Path, dict[str, str]]:
    """A browser that notes its addresses in a file, and the environment that names it."""
    opened, script = folder / "opened", folder / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    script.chmod(0o755)
    return opened, {"BROWSER": str(script), "DISPLAY": ":0"}


def test_the_browser_opens_once_all_answer(board: Callable[..., Board], tmp_path: Path) -> None:
    orin = board()
    orin.serve("Grafana")
    down = reserve()
    orin.names["Prometheus"] = down.getsockname()[1]
    opened, environment = browser(tmp_path)
    session = orin.connect(environment=environment)
    session.shows("connected to board")
    time.sleep(0.3)
    assert not opened.exists()
    down.close()
    orin.serve("Prometheus")
    url, _ = session.urls()["Grafana"]
    until(lambda: opened.exists() and opened.read_text() == f"{url}\n", "no browser")


@pytest.mark.parametrize("why", ["--no-browser", "no display", "a service is down"])
def test_the_browser_stays_closed(board: Callable[..., Board], tmp_path: Path, why: str) -> None:
    orin = board()
    orin.serve("Grafana")
    opened, environment = browser(tmp_path)
    arguments = ["--wait", "0.3"]
    with reserve() as down:
        if why == "--no-browser":
            arguments.append(why)
        elif why == "no display":
            environment["DISPLAY"] = ""
        else:
            orin.names["Prometheus"] = down.getsockname()[1]
        session = orin.connect(*arguments, environment=environment)
        session.urls()
        time.sleep(0.3)
    assert not opened.exists()


def test_a_port_lost_to_another_program_is_replaced(board: Callable[..., Board]) -> None:
    orin = board()
    orin.serve("Grafana")
    grafana = Service("Grafana", orin.names["Grafana"])
    lost = local_ports([grafana])[grafana]
    # The rival for our port is ssh itself, which binds its configuration's forwards after ours.
    forward = f"Host board\n  LocalForward 127.0.0.1:{lost} 127.0.0.1:1\n"
    orin.config.write_text(forward + orin.config.read_text())
    session = orin.connect()
    url, answers = session.urls()["Grafana"]
    assert (port_of(url) != lost, answers) == (True, "yes")
    assert f"local port {lost} was taken meanwhile: connecting again" in session.err
    assert "ddress already in use" not in session.err


def test_a_refused_key(board: Callable[..., Board]) -> None:
    orin = board()
    for end in ("", ".pub"):
        (orin.folder / f"stranger{end}").rename(orin.folder / f"user{end}")
    error = error_of(orin)
    assert error.startswith("board refused the login (publickey): ")
    assert "--user" in error


def test_a_changed_host_key(board: Callable[..., Board]) -> None:
    orin = board()
    orin.trust("stranger")
    error = error_of(orin)
    assert "host key is not the one you know" in error
    assert f"ssh-keygen -f '{orin.known_hosts}' -R '[127.0.0.1]:{orin.port}'" in error


def test_an_unknown_host_key_without_a_terminal(board: Callable[..., Board]) -> None:
    orin = board()
    orin.known_hosts.unlink()
    assert "host key was not confirmed: run ssh board in a terminal" in error_of(orin)


def test_an_unknown_host_key_and_strict_checking(board: Callable[..., Board]) -> None:
    orin = board(ssh="StrictHostKeyChecking yes")
    orin.known_hosts.unlink()
    assert "host key is unknown" in error_of(orin)


def test_a_key_that_others_can_read(board: Callable[..., Board]) -> None:
    orin = board()
    (orin.folder / "user").chmod(0o644)
    assert error_of(orin).endswith(f"chmod 600 '{orin.folder}/user'")


def test_a_refused_connection(board: Callable[..., Board]) -> None:
    orin = board()
    with reserve() as down:
        port = down.getsockname()[1]
        error = error_of(orin, "--port", str(port))
    assert error.startswith(f"board refused the connection: nothing listens on port {port}")


def test_a_time_out(board: Callable[..., Board]) -> None:
    orin = board()
    wrapper = orin.folder / "bin/ssh"
    wrapper.write_text(wrapper.read_text().replace("-F", "-o ConnectTimeout=1 -F"))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = error_of(orin, "--port", str(mute.getsockname()[1]))
    assert error.startswith("board did not answer in time")


def test_an_unknown_name(board: Callable[..., Board]) -> None:
    assert "no machine is named nowhere.invalid" in error_of(board(), host="nowhere.invalid")


def test_a_jump_host_that_does_not_reach_the_board(board: Callable[..., Board]) -> None:
    orin = board(ssh="Host far\n  HostName 127.0.0.1\n  ProxyJump board")
    with reserve() as down:
        port = down.getsockname()[1]
        error = error_of(orin, "--port", str(port), host="far")
    assert error.startswith("far: the jump host does not reach it")


def test_a_port_that_is_not_ssh(board: Callable[..., Board]) -> None:
    orin = board()
    with socket.create_server(("127.0.0.1", 0)) as other:
        session = orin.connect("--port", str(other.getsockname()[1]))
        accepted, _ = other.accept()
        accepted.close()
        assert session.ends() == 2
    assert "board ended the connection during the login" in session.err.splitlines()[-1]
    assert "kex_" not in session.err


def test_a_server_that_forbids_forwarding(board: Callable[..., Board]) -> None:
    orin = board(sshd="AllowTcpForwarding no")
    orin.serve(*FOUR)
    session = orin.connect()
    assert session.ends() == 2
    assert "AllowTcpForwarding" in session.err.splitlines()[-1]
    assert "open failed" not in session.err
    assert not orin.ssh_processes()


def test_a_server_that_forbids_one_port(board: Callable[..., Board]) -> None:
    with reserve() as holder:
        allowed = holder.getsockname()[1]
    orin = board(sshd=f"PermitOpen 127.0.0.1:{allowed}")
    orin.names["Grafana"] = allowed
    orin.serve("Grafana", "Prometheus")
    session = orin.connect("--wait", "0.3")
    assert [answer for _, answer in session.urls().values()] == ["yes", "no"]
    assert "sshd may forbid it (AllowTcpForwarding, PermitOpen)" in session.err


def test_a_forward_of_the_users_configuration_that_is_taken(board: Callable[..., Board]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rival:
        port = rival.getsockname()[1]
        orin = board(ssh=f"Host board\n  LocalForward 127.0.0.1:{port} 127.0.0.1:1")
        assert f"local port {port}, which a LocalForward" in error_of(orin)


def test_no_ssh(board: Callable[..., Board]) -> None:
    orin = board()
    session = orin.connect(environment={"PATH": "/nowhere"})
    assert session.ends() == 2
    assert session.err.endswith("ssh is not installed: install OpenSSH's client\n")


def test_two_users_are_one_too_many(board: Callable[..., Board]) -> None:
    assert "give one of them" in error_of(board(), "--user", "ada", host="grace@board")
