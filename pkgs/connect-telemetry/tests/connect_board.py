"""A board on loopback: a real sshd, HTTP servers behind it, and connect-telemetry as a process."""

import fcntl
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SECONDS = 15.0  # until something that should happen has not


def program(name: str) -> str:
    """Path of a program; the test is skipped without it, and fails in continuous integration."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        if "CI" in os.environ:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for `happened`; fails the test with `what` after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def reserve() -> socket.socket:
    """A port of loopback that nobody listens on, for as long as the socket is open."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder


def listens(port: int) -> bool:
    """Whether somebody accepts connections on `port` of loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Page(BaseHTTPRequestHandler):
    """Asks for a login, as Grafana does."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output to the tests."""


def serve(port: int = 0) -> ThreadingHTTPServer:
    """An HTTP server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    return server


class Session:
    """connect-telemetry as a process without a terminal, or with `terminal` as its own."""

    def __init__(
        self, folder: Path, arguments: list[str], environment: dict[str, str], terminal: int | None
    ) -> None:
        self._out, self._err = folder / "out", folder / "err"

        def prepare() -> None:
            for number in (signal.SIGINT, signal.SIGHUP):  # nohup and & in a script ignore them
                signal.signal(number, signal.SIG_DFL)
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "connect_telemetry.cli", *arguments],
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
                preexec_fn=prepare,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def shows(self, text: str) -> None:
        """Wait until `text` is on stdout or stderr."""
        until(
            lambda: text in self.out + self.err or self.process.poll() is not None,
            f"no {text!r}:\n{self.out}{self.err}",
        )
        assert text in self.out + self.err

    def urls(self) -> dict[str, tuple[str, str]]:
        """The table: address and answer of each service."""
        self.shows("Ctrl-C ends it")
        rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in self.lines]
        return {name: (url, answers) for name, url, answers in rows[2:]}

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def ends(self) -> int:
        """Wait for the end, and return the exit code."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still runs:\n{self.out}{self.err}")


class Board:
    """sshd as the present user on a high port, and an ssh first in PATH that knows it as `board`.

    `sshd` and `ssh` are lines added to the two configurations.
    """

    def __init__(self, folder: Path, sshd: str = "", ssh: str = "", passphrase: str = "") -> None:
        self.folder = folder
        self.names: dict[str, int] = {}  # what --service says
        self.config = folder / "ssh_config"
        self.known_hosts = folder / "known_hosts"
        self._servers: list[ThreadingHTTPServer] = []
        self._sessions: list[Session] = []
        for name, words in (("host", ""), ("user", passphrase), ("stranger", "")):
            self._key(name, words)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")

        with reserve() as holder:
            self.port = holder.getsockname()[1]
        self.trust("host")
        self._write_ssh(ssh)
        self._sshd = self._start_sshd(sshd)

    def _key(self, name: str, passphrase: str) -> None:
        line = ["-q", "-t", "ed25519", "-N", passphrase, "-f", str(self.folder / name)]
        subprocess.run([program("ssh-keygen"), *line], check=True)

    def _write_ssh(self, extra: str) -> None:
        self.config.write_text(
            f"{extra}\n"
            "Host board\n"
            "  HostName 127.0.0.1\n"
            f"  Port {self.port}\n"
            "Host *\n"
            f"  User {getpass.getuser()}\n"
            f"  IdentityFile {self.folder}/user\n"
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
            "  GlobalKnownHostsFile /dev/null\n"
        )
        wrapper = self.folder / "bin/ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {program("ssh")} -F {self.config} "$@"\n')
        wrapper.chmod(0o755)

    def _start_sshd(self, extra: str) -> subprocess.Popen[bytes]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"{extra}\n"
            "ListenAddress 127.0.0.1\n"
            f"Port {self.port}\n"
            f"HostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\n"
            "UsePAM yes\n"  # without it, sshd of a plain user holds the account for locked
            "PidFile none\n"
            "StrictModes no\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\n"
        )
        log = self.folder / "sshd.log"
        sshd = subprocess.Popen([program("sshd"), "-D", "-f", config, "-E", log])
        until(lambda: listens(self.port) or sshd.poll() is not None, "sshd does not listen")
        assert sshd.poll() is None, log.read_text()
        return sshd

    def trust(self, key: str) -> None:
        """Make `key` the host key that known_hosts holds for the board."""
        public = (self.folder / f"{key}.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")

    def serve(self, *names: str) -> None:
        """Have the board serve HTTP under these names."""
        for name in names:
            server = serve(self.names.get(name, 0))
            self._servers.append(server)
            self.names[name] = server.server_port

    def connect(
        self,
        *arguments: str,
        host: str = "board",
        terminal: int | None = None,
        environment: Mapping[str, str] = {},
    ) -> Session:
        """Start connect-telemetry for the board's services."""
        for name, port in self.names.items():
            arguments += ("--service", f"{name}={port}")
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS")
        }
        inherited |= {"PATH": path, **environment}
        session = Session(self.folder, [*arguments, "--", host], inherited, terminal)
        self._sessions.append(session)
        return session

    def ssh_processes(self) -> list[int]:
        """Every ssh that runs with the board's configuration, a jump host's included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if str(self.config).encode() in words:
                    found.append(int(entry.parent.name))
        return found

    def vanish(self) -> None:
        """Kill sshd with the sessions it serves."""
        for pid in [*_descendants(self._sshd.pid), self._sshd.pid]:
            os.kill(pid, 9)
        self._sshd.wait()

    def close(self) -> None:
        """End all that runs."""
        for session in self._sessions:
            session.process.terminate()
            session.ends()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        if self._sshd.poll() is None:
            self.vanish()


def _descendants(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                child = int(entry.parent.name)
                found += [child, *_descendants(child)]
    return found
