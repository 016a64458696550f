"""Boards as text files, laid out as sysfs and procfs, and kernels that misbehave."""

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from orin_telemetry.collectors import make
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Reading, Sample
from orin_telemetry.scrape import Scrape, Scraper

BOARDS = sorted(file.stem for file in (Path(__file__).parent / "boards").glob("*.txt"))

_LINE = re.compile(r"(\S+) (=|->|!) (.*)")
_BRACES = re.compile(r"\{([^{}=]+)\}")


class Board:
    """A board of boards/ on disk, in `root`; the head of agx-orin-jp6.txt describes the form.

    A sensor that answers EAGAIN is a FIFO that is open and never written to.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.root = root
        self._open = ExitStack()
        text = (Path(__file__).parent / "boards" / f"{name}.txt").read_text()
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            assert match, line
            for path, value in _expand(match[1], match[3]):
                self.put(path, match[2], value)

    def put(self, path: str, kind: str, value: str) -> None:
        """Add what one line of a board's file says."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "->":
            file.symlink_to(value)
        elif kind == "!":
            assert value == "EAGAIN", value
            os.mkfifo(file)
            handle = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._open.callback(os.close, handle)
        else:
            text = value.replace("\\n", "\n").replace("\\0", "\0").replace("\\c", "")
            newline = "" if value.endswith(("\\0", "\\c")) else "\n"
            file.write_text(text + newline)

    def write(self, path: str, text: str | bytes) -> None:
        """Give a file other contents."""
        data = text.encode() if isinstance(text, str) else text
        (self.root / path).write_bytes(data)

    def kernel(self) -> "HostileKernel":
        """The board as the collectors see it."""
        return HostileKernel(self.root / "sys", self.root / "proc", self.root)

    @property
    def flags(self) -> list[str]:
        """The exporter's options that point it at this board."""
        return [
            *("--path.sysfs", str(self.root / "sys")),
            *("--path.procfs", str(self.root / "proc")),
            *("--path.rootfs", str(self.root)),
        ]

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


Answer = int | bytes | Callable[[], bytes]


class HostileKernel(Kernel):
    """Notes what is read, and answers for chosen files: an error number, bytes, or a call."""

    def __init__(self, sysfs: Path, procfs: Path, rootfs: Path) -> None:
        super().__init__(sysfs, procfs, rootfs)
        self.answers: dict[str, Answer] = {}  # by what the path ends in
        self.asked: list[str] = []

    def read(self, path: Path, limit: int) -> str:
        name = str(path.relative_to(self.rootfs))
        self.asked.append(name)
        answer = self.answers.get(name)
        if answer is None:
            return super().read(path, limit)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer), str(path))
        data = answer if isinstance(answer, bytes) else answer()
        return data[:limit].decode(errors="replace")


def text(sample: Sample) -> str:
    """The sample's series as Prometheus writes it."""
    labels = zip(sample.family.labels, sample.labels, strict=True)
    inside = ",".join(f'{name}="{value}"' for name, value in labels)
    return sample.family.name + (f"{{{inside}}}" if inside else "")


def series(scrape: Scrape) -> dict[str, float]:
    """The scrape's values by their series; how long the collectors took is left out."""
    return {
        text(sample): float(sample.value)
        for sample in scrape.samples
        if sample.family.name != "jetson_collector_duration_seconds"
    }


def scraper(kernel: Kernel, expected_mode: str | None = None) -> Scraper:
    """All collectors over `kernel`, the privileged ones included; patient, on a busy machine."""
    return Scraper(kernel, make(kernel, expected_mode), deadline_s=10, patience_s=5)


def one_pass(collector: Collector, kernel: Kernel) -> tuple[dict[str, float], list[str]]:
    """What one collector finds on a fresh board, and what failed; an exception comes through."""
    reading = Reading(kernel)
    collector.discover(reading)
    collector.collect(reading)
    return {text(sample): float(sample.value) for sample in reading.samples}, reading.failures


def failed(values: dict[str, float]) -> set[str]:
    """The collectors that say they failed."""
    head = 'jetson_collector_success{collector="'
    return {
        name.removeprefix(head).removesuffix('"}')
        for name, value in values.items()
        if name.startswith(head) and not value
    }


def _expand(path: str, value: str) -> list[tuple[str, str]]:
    """One pair for every item of the first braces; {=} stands for that item's whole name."""
    match = _BRACES.search(path)
    if match is None:
        return [(path, value)]
    items: list[str] = []
    for part in match[1].split(","):
        span = re.fullmatch(r"(\d+)-(\d+)", part)
        items += map(str, range(int(span[1]), int(span[2]) + 1)) if span else [part]
    head, tail = path[: match.start()], path[match.end() :]
    pairs = []
    for item in items:
        whole = (head.rpartition("/")[2] + item + tail.partition("/")[0]) if tail else ""
        name = whole or head.rpartition("/")[2] + item
        pairs += _expand(head + item + tail.replace("{=}", name), value.replace("{=}", name))
    return pairs
