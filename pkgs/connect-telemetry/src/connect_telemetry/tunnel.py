"""The user's own ssh, with one local forward a service."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from connect_telemetry import diagnosis
from connect_telemetry.services import LOOPBACK, Service
from orin_core.cli import UserError

# A board that vanished is noticed after 45 s; one that is off, after 15 s.
OPTIONS = {
    "ExitOnForwardFailure": "yes",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    "ConnectTimeout": "15",
    "ClearAllForwardings": "no",  # of the user's configuration, it would clear ours too
    "ControlPath": "none",  # a shared connection would keep the forwards when we leave
    "LogLevel": "INFO",  # a quieter one hides why ssh failed
}
STOP_SECONDS = 5.0


class PortTakenError(UserError):
    """Another program took local port `port` before ssh did."""

    def __init__(self, port: int) -> None:
        super().__init__(f"local port {port} is taken: end the program that uses it")
        self.port = port


@dataclass(frozen=True)
class Target:
    """Where ssh goes: `host` as ssh takes it; None leaves a setting to ssh's configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        """Raise UserError for a host that ssh would take for an option, or two users."""
        if not self.host or self.host.startswith("-"):
            raise UserError(f"HOST {self.host!r}: a name or address of a board, without a dash")
        if self.user is not None and "@" in self.host:
            raise UserError(f"HOST {self.host} names a user, and so does --user: give one of them")


def command(target: Target, ports: Mapping[Service, int]) -> list[str]:
    """The command line of ssh; `ports` are the local ones."""
    line = ["ssh", "-N", "-T"]
    for option, value in OPTIONS.items():
        line += ["-o", f"{option}={value}"]
    for service, port in ports.items():
        line += ["-L", f"{LOOPBACK}:{port}:{LOOPBACK}:{service.port}"]
    if target.user is not None:
        line += ["-l", target.user]
    if target.port is not None:
        line += ["-p", str(target.port)]
    return [*line, "--", _destination(target.host)]


def _destination(host: str) -> str:
    # ssh wants brackets around an IPv6 address in a URI, and nowhere else.
    return host if "://" in host else host.replace("[", "").replace("]", "")


class Tunnel:
    """A running ssh. As a context manager it ends ssh on the way out, whatever happened.

    ssh keeps the terminal, where it asks for passwords and unknown host keys. What it writes to
    stderr is passed on, except for failures, which `failure` says in one line.
    """

    def __init__(self, target: Target, ports: Mapping[Service, int]) -> None:
        """Start ssh. Raises UserError where it is not installed."""
        self._target = target
        self._ports = ports
        self._lines: list[str] = []
        self._held: list[str] = []  # not passed on, because they may be a failure's
        self._quiet = False  # hold everything
        self.prohibited = False  # sshd refused to forward a connection
        try:
            self._process = subprocess.Popen(
                command(target, ports), stderr=subprocess.PIPE, text=True, errors="replace"
            )
        except FileNotFoundError:
            raise UserError("ssh is not installed: install OpenSSH's client") from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._quiet = True
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def running(self) -> bool:
        """Whether ssh has not ended."""
        return self._process.poll() is None

    def settle(self) -> None:
        """Note that the tunnel is up: what ssh held against it were warnings after all.

        What it says from now on is why it ends.
        """
        for line in self._held:
            _pass_on(line)
        self._quiet = True
        self._lines.clear()

    def wait(self) -> str:
        """Wait until ssh ends, and return its last words."""
        self._process.wait()
        self._finish_reading()
        return self._lines[-1] if self._lines else f"ssh ended ({self._process.returncode})"

    def failure(self) -> UserError:
        """Why ssh ended before the tunnel was up."""
        self._finish_reading()
        port = diagnosis.taken_port(self._lines)
        if port is None:
            return UserError(diagnosis.explain(self._lines, self._target.host))
        if port in self._ports.values():
            return PortTakenError(port)
        return UserError(
            f"{self._target.host}: local port {port}, which a LocalForward of your ssh"
            " configuration asks for, is taken: end the program that uses it"
        )

    def _finish_reading(self) -> None:
        self._reader.join(1.0)  # a jump host's ssh may hold the pipe for longer

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in map(str.rstrip, self._process.stderr):
            if diagnosis.is_refused_channel(line):
                self.prohibited |= diagnosis.is_prohibited(line)
                continue
            self._lines.append(line)
            # A line of @ opens the warnings of a changed host key and of a key others can read.
            self._quiet |= line.startswith("@@@")
            if self._quiet or diagnosis.is_failure(line):
                self._held.append(line)
            else:
                _pass_on(line)


def _pass_on(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
