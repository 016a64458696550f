"""What ssh's words mean for the user: one line that says the cause and the remedy."""

import re
from collections.abc import Sequence

_CAUSES = [
    (re.compile(pattern, re.MULTILINE), text)
    for pattern, text in [
        (
            r"Offending \S+ key in (?P<file>.+):\d+$[\s\S]*"
            r"^Host key for (?P<name>\S+) has changed",
            "{host}: its host key is not the one you know. If you have installed the board anew,"
            " run: ssh-keygen -f '{file}' -R '{name}'. If not, someone may be in between",
        ),
        (
            r"No \S+ host key is known for (?P<name>\S+) and you have requested strict checking",
            "{host}: its host key is unknown, and your ssh configuration asks for a known one:"
            " add the key of {name} to ~/.ssh/known_hosts",
        ),
        (
            r"Host key verification failed",
            "{host}: its host key was not confirmed: run ssh {host} in a terminal, compare the"
            " fingerprint and answer yes",
        ),
        (
            r"Permissions \d+ for '(?P<file>.+)' are too open",
            "{host}: ssh ignores your key because others can read it: chmod 600 '{file}'",
        ),
        (
            r"Permission denied \((?P<methods>[^)]*)\)",
            "{host} refused the login ({methods}): check --user, and that the board knows one of"
            " the keys of ssh-add -l (orin.owner.keys)",
        ),
        (
            r"Too many authentication failures",
            "{host} refused the login after too many keys: name the right one in ~/.ssh/config"
            " with IdentityFile and IdentitiesOnly yes",
        ),
        (
            r"stdio forwarding failed",
            "{host}: the jump host does not reach it: check ProxyJump in ~/.ssh/config, and that"
            " the board is on",
        ),
        (
            r"port (?P<port>\d+): Connection refused",
            "{host} refused the connection: nothing listens on port {port}; check --port, and"
            " that sshd runs there",
        ),
        (
            r"timed out",
            "{host} did not answer in time: check that the board is on and that this network"
            " reaches it",
        ),
        (
            r"No route to host|Network is unreachable",
            "{host} cannot be reached: check that the board is on and in this network",
        ),
        (
            r"Could not resolve hostname (?P<name>.*): ",
            "{host}: no machine is named {name}: check the spelling and ~/.ssh/config, or use"
            " the IP address; a port goes into --port",
        ),
        (  # last, because it also follows other causes
            r"^kex_exchange_identification: |^Connection (?:closed|reset) by ",
            "{host} ended the connection during the login: check that --port is SSH's, and"
            " journalctl -u sshd there",
        ),
    ]
]

_TAKEN = re.compile(r"cannot listen to port: (\d+)")
_FORWARDING = re.compile(
    rf"Address already in use|{_TAKEN.pattern}|Could not request local forwarding"
)
_REFUSED_CHANNEL = re.compile(r"channel \d+: open failed: ")
_PROHIBITED = "administratively prohibited"


def is_failure(line: str) -> bool:
    """Whether ssh, on stderr, speaks of a failure that `explain` says better."""
    return any(pattern.search(line) for pattern in (_FORWARDING, *(each for each, _ in _CAUSES)))


def is_refused_channel(line: str) -> bool:
    """Whether the board refused one connection through the tunnel."""
    return _REFUSED_CHANNEL.search(line) is not None


def is_prohibited(line: str) -> bool:
    """Whether the board's sshd, rather than the service, refused the connection."""
    return is_refused_channel(line) and _PROHIBITED in line


def taken_port(lines: Sequence[str]) -> int | None:
    """The local port that ssh could not bind, if that is why it ended."""
    match = _TAKEN.search("\n".join(lines))
    return int(match[1]) if match else None


def explain(lines: Sequence[str], host: str) -> str:
    """Say why ssh ended before the tunnel was up; its own last line where the cause is new."""
    said = "\n".join(lines)
    for pattern, text in _CAUSES:
        if match := pattern.search(said):
            return text.format(host=host, **match.groupdict())
    last = lines[-1] if lines else "ssh ended without a word"
    return f"{host}: {last} (ssh -v {host} says more)"
