"""The message to the service manager."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orin_core.systemd import notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(2)
        yield manager


def test_it_arrives(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify("READY=1")
    notify("STATUS=läuft")
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == "STATUS=läuft".encode()


def test_the_abstract_namespace(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.bind("\0orin-core-test-notify")
    monkeypatch.setenv("NOTIFY_SOCKET", "@orin-core-test-notify")
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_manager_nothing_happens(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_a_manager_that_is_gone_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        notify("READY=1")
