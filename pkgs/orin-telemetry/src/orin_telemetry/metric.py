"""Metrics as the collectors see them: a description of each, and one pass that fills them."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orin_telemetry.kernel import Kernel

PAGE_BYTES = 4096  # what a sysfs attribute holds at most (Documentation/filesystems/sysfs.rst)
_LABEL_CHARS = 128
SWITCH: dict[str, float | None] = {"1": 1, "0": 0}
_NUMBER = re.compile(r"[0-9]{1,19}")
_MASK = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19}")


@dataclass(frozen=True)
class Family:
    """A metric: its name with the unit, what HELP says, the names of its labels, its type."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a `Family`, with its label values in the family's order."""

    family: Family
    labels: tuple[str, ...]
    value: float


class Reading:
    """One pass of one collector: the samples it found and what did not answer.

    Reading a file never raises. What cannot be read or understood is None and a line in
    `failures`, so that one broken sensor costs its own series and no other.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self.path: Path | None = None  # what is being read: the culprit when a read hangs
        self.kernel = kernel

    def add(self, family: Family, value: float | None, *labels: str) -> None:
        """Record `value`; None, a reading that failed, leaves the series out."""
        if value is not None:
            self.samples.append(Sample(family, labels, value))

    def fail(self, path: Path, reason: str) -> None:
        """Note that `path` did not give what it should."""
        self.failures.append(f"{path}: {reason}")

    def text(self, path: Path, limit: int = PAGE_BYTES, off: tuple[int, ...] = ()) -> str | None:
        """The text of `path`. An error number in `off` says that the part is powered off, which
        is None without being a failure; so is nothing else."""
        self.path = path
        try:
            text = self.kernel.read(path, limit + 1)
        except OSError as error:
            if error.errno not in off:
                self.fail(path, error.strerror or errno.errorcode.get(error.errno or 0, "error"))
            return None
        if len(text) > limit:
            self.fail(path, f"more than {limit} bytes")
            return None
        return text

    def number(
        self,
        path: Path,
        multiply: int = 1,
        divide: int = 1,
        off: tuple[int, ...] = (),
        signed: bool = False,
        highest: int | None = None,
    ) -> float | None:
        """The decimal integer in `path` as so many base units: 1400 mA over 1000 is 1.4 A.

        Below zero it is a failure unless `signed`: no clock, load or count is. So it is above
        `highest`, where the driver's scale ends.
        """
        text = self.text(path, off=off)
        if text is None:
            return None
        text = text.strip()
        if not _NUMBER.fullmatch(text.removeprefix("-") if signed else text):
            self.fail(path, "not a number")
            return None
        number = int(text)
        if highest is not None and number > highest:
            self.fail(path, f"above {highest}")
            return None
        return number * multiply / divide

    def mask(self, path: Path) -> int | None:
        """The bit mask in `path`: decimal, or hexadecimal after 0x."""
        text = self.text(path)
        if text is None:
            return None
        text = text.strip()
        if not _MASK.fullmatch(text):
            self.fail(path, "not a mask")
            return None
        return int(text, 16 if text[:2].lower() == "0x" else 10)

    def choice(self, path: Path, answers: dict[str, float | None]) -> float | None:
        """What `answers` makes of the word in `path`; None there leaves the series out."""
        word = self.word(path)
        if word is None:
            return None
        if word not in answers:
            self.fail(path, "unknown answer")
            return None
        return answers[word]

    def word(self, path: Path) -> str | None:
        """The text of `path` as a label: one line, printable, at most 128 characters."""
        text = self.text(path)
        if text is None:
            return None
        text = text.strip("\0\n\t ")
        if not text or len(text) > _LABEL_CHARS or not text.isprintable() or "\ufffd" in text:
            self.fail(path, "not a name")
            return None
        return text

    def exists(self, path: Path) -> bool:
        """Whether a kernel has this file at all: drivers and releases differ."""
        try:
            path.stat()
        except OSError as error:
            self._absent(path, error)
            return False
        return True

    def entries(self, path: Path) -> list[Path]:
        """What the directory `path` holds, sorted by name with numbers in order; nothing where
        there is none: another board's, or a driver that is not loaded."""
        self.path = path
        try:
            return sorted(path.iterdir(), key=lambda entry: _natural(entry.name))
        except OSError as error:
            self._absent(path, error)
            return []

    def hwmon(self, driver: str) -> list[Path]:
        """The hwmon directories of `driver`. Their numbers change from boot to boot."""
        return [
            entry
            for entry in self.entries(self.kernel.sysfs / "class/hwmon")
            if self.word(entry / "name") == driver
        ]

    def _absent(self, path: Path, error: OSError) -> None:
        """A file that is not there is no failure; one that is closed to us is."""
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            self.fail(path, error.strerror or "error")


def _natural(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    tail = name[len(head) :]
    return head, int(tail) if tail else -1
