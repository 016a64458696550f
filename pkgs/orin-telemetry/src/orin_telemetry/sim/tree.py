"""The board's files on disk: written whole or not at all, and only where they changed."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from orin_core.cli import UserError
from orin_telemetry.sim.board import Board
from orin_telemetry.sim.files import cpu, devfreq, hwmon, memory, system, thermal

PARTS = (system, devfreq, cpu, thermal, hwmon, memory)
_TOPS = ("sys", "proc", "etc", "var")
MARKER = ".jetson-sim"  # a directory that holds it is an earlier simulation's
# Some 150 new files a second: a tenth of the work in memory, and no wear on a disk.
_MEMORY = Path("/dev/shm")


@contextmanager
def temporary(program: str) -> Iterator[Path]:
    """A directory for a tree that nobody keeps, in memory where there is some.

    Raises UserError where none can be made.
    """
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    try:
        folder = tempfile.TemporaryDirectory(prefix=f"{program}-", dir=memory)
    except OSError as error:
        raise _unusable(memory or Path("temporary folder"), error) from error
    with folder as name:
        yield Path(name) / "board"


class Tree:
    """The file tree of a board in `directory`, which is created, or emptied of an earlier run.

    A reader sees the old text or the new, never part of one: a file is written beside the tree and
    renamed into its place. It is a new file each time, so that a reader opens it again for each
    reading. A silent sensor is a FIFO that nobody fills: with O_NONBLOCK it answers EAGAIN.

    Raises UserError for a directory that holds something else, that another simulation uses, or
    that cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._marker = directory / MARKER
        self._spare = self._marker / "new"
        self._texts: dict[str, str | None] = {}
        self._fifos: dict[str, int] = {}
        try:
            self._lock = self._claim()
            self._link()
        except OSError as error:
            raise _unusable(directory, error) from error

    def write(self, board: Board) -> int:
        """Show the board's present state; returns how many files changed."""
        try:
            return self._write(board)
        except OSError as error:
            raise _unusable(self.directory, error) from error

    def _write(self, board: Board) -> int:
        changed = 0
        texts: dict[str, str | None] = {}
        for part in PARTS:
            texts.update(part.files(board))
        known = self._texts
        for path, text in texts.items():
            if path not in known or known[path] != text:
                self._put(path, text)
                changed += 1
        for path in known.keys() - texts.keys():
            self._remove(path)
            changed += 1
        self._texts = texts
        return changed

    def close(self) -> None:
        """Remove the FIFOs, on which a reader would now wait for ever; the files stay."""
        for path in list(self._fifos):
            self._remove(path)
        os.close(self._lock)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _claim(self) -> int:
        if self.directory.exists() and not self.directory.is_dir():
            raise UserError(f"{self.directory} is not a directory; name an empty or a new one")
        fresh = not self._marker.is_dir()
        if fresh and self.directory.exists() and any(self.directory.iterdir()):
            raise UserError(
                f"{self.directory} holds files that are not a simulation's; name an empty or a new"
                " directory"
            )
        self._marker.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._marker / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise UserError(
                f"{self.directory} is in use by another jetson-sim; stop it, or name another"
                " directory"
            ) from error
        self._spare.unlink(missing_ok=True)  # of a run that was killed
        for top in _TOPS:
            shutil.rmtree(self.directory / top, ignore_errors=True)
        return lock

    def _link(self) -> None:
        for part in PARTS:
            for path, target in part.LINKS.items():
                link = self.directory / path
                link.parent.mkdir(parents=True, exist_ok=True)
                # The kernel's own links never name less than the target.
                home = os.path.relpath((self.directory / target).parent, link.parent)
                link.symlink_to(Path(home) / Path(target).name)

    def _put(self, path: str, text: str | None) -> None:
        file = self.directory / path
        if path not in self._texts:
            file.parent.mkdir(parents=True, exist_ok=True)
        old_fifo = self._fifos.pop(path, None)
        if text is None:
            os.mkfifo(self._spare)
            self._fifos[path] = os.open(self._spare, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        else:
            self._spare.write_text(text, encoding="latin-1", newline="")
        self._spare.rename(file)
        if old_fifo is not None:
            os.close(old_fifo)

    def _remove(self, path: str) -> None:
        (self.directory / path).unlink(missing_ok=True)
        if path in self._fifos:
            os.close(self._fifos.pop(path))


def _unusable(directory: Path, error: OSError) -> UserError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = (
        "make room there, a board takes 4 MiB" if full else "use a directory that you may write"
    )
    return UserError(f"{error.filename or directory}: {error.strerror}; {remedy}")
