"""What a service tells systemd about itself."""

import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as "READY=1", to the service manager; nothing where there is none.

    The protocol is that of sd_notify(3): a datagram to the socket in NOTIFY_SOCKET. Raises OSError
    if that socket does not answer, since a unit of Type=notify would wait for it in vain.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())
