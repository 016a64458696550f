"""Writing kernel files, and what is wrong where they cannot be read or written."""

import errno
import os
import re
from pathlib import Path

from orin_core.cli import UserError
from orin_core.sysfs import read as read

_REMEDIES = {
    errno.EACCES: "run as root",
    errno.EPERM: "run as root",
    errno.EROFS: "run as root where /sys is writable (in a unit: ProtectKernelTunables=no)",
    errno.EBUSY: "the driver is busy, try again",
    errno.EINVAL: "the driver refuses that value",
}


def write(path: Path, value: int) -> None:
    """Write `value` and a newline in a single write, as the kernel's store functions expect.

    Neither creates nor truncates `path`. Raises UserError with the remedy when refused.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"{value}\n".encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(path, error) from error


def number(text: str) -> int | None:
    """The decimal number that makes up the first line of `text`, or None.

    Only the first line counts: `write` does not truncate, so a plain file that stands in for
    sysfs keeps the tail of a longer number that was there before.
    """
    line = text.partition("\n")[0].strip(" \t\r\0")
    return int(line) if re.fullmatch(r"[0-9]{1,19}", line) else None


def refusal(path: Path, error: OSError) -> UserError:
    """The one line for a path that the kernel does not let us read or write."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return UserError(f"{path}: {reason}" + (f"; {remedy}" if remedy else ""))
