"""Reading kernel files (sysfs, procfs) without the traps of Python's file objects."""

import os
from pathlib import Path


def read(path: str | Path, limit: int = 1 << 20) -> str:
    """The text of a kernel file, at most `limit` bytes, bytes outside UTF-8 replaced.

    Raises OSError, EAGAIN included: Jetson's sensors answer it, and `open().read()` would turn
    it into a TypeError or None. O_NONBLOCK changes nothing on sysfs; it only keeps a pipe in
    the place of a file from blocking for ever.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = b""
        while len(data) < limit and (part := os.read(fd, limit - len(data))):
            data += part
    finally:
        os.close(fd)
    return data.decode(errors="replace")
