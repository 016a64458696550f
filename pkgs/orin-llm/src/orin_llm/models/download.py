"""Files from the Hub into a folder: resumed, verified, and in place only when they are whole."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from orin_core.cli import UserError
from orin_llm.models.hub import RemoteFile
from orin_llm.models.transfer import BrokenError, read

# Bytes that are read at once from a file that is there.
CHUNK = 1 << 20
# Counts bytes as done.
Count = Callable[[int], None]


def download(files: Sequence[RemoteFile], folder: Path) -> list[Path]:
    """Fetch `files` into `folder`, unless they are there, and return where they are.

    What came of a file lies beside it as NAME.DIGEST.part, and a later call goes on from there.
    Raises UserError for a folder that cannot be written, a disk without room, a file of the same
    name that is another one, a connection that stays broken, wrong bytes (which are deleted), and
    for what the Hub refuses.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_room(files, folder)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    paths = []
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        for file in files:
            task = bar.add_task(file.local_name, total=file.size)
            with _writing(folder):
                paths.append(_fetch(file, folder, partial(bar.advance, task)))
            bar.remove_task(task)
    return paths


def part_path(file: RemoteFile, folder: Path) -> Path:
    """Where an incomplete file lies: by its digest, so that two versions never mix."""
    return folder / f"{file.local_name}.{file.digest[:12]}.part"


def is_whole(file: RemoteFile, path: Path, count: Count) -> bool:
    """Whether `path` is `file`, byte by byte."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    digest = _digest(file)
    with path.open("rb") as data:
        _hash(data, digest, count)
    return digest.hexdigest() == file.digest


def _fetch(file: RemoteFile, folder: Path, count: Count) -> Path:
    target = folder / file.local_name
    if _is_there(file, target, count):
        return target
    part = part_path(file, folder)
    with _alone(part) as data:
        if _is_there(file, target, count):  # another process has been faster
            part.unlink()
            return target
        try:
            _complete(file, data, count)
        finally:
            if not os.fstat(data.fileno()).st_size:
                part.unlink(missing_ok=True)
        os.fsync(data.fileno())
        part.replace(target)
    return target


def _is_there(file: RemoteFile, target: Path, count: Count) -> bool:
    if not os.path.lexists(target):
        return False
    if not is_whole(file, target, count):
        raise UserError(
            f"{target}: is there, but is not the file of {file.repo}: move it away, or choose "
            "another --folder"
        )
    return True


def _complete(file: RemoteFile, data: BinaryIO, count: Count) -> None:
    """Write what is missing, and verify all of it."""
    digest = _digest(file)
    done = _hash(data, digest, count)
    try:
        for chunk in read(file, done, file.size):
            data.write(chunk)
            data.flush()
            digest.update(chunk)
            done += len(chunk)
            count(len(chunk))
    except BrokenError as error:
        raise UserError(
            f"{file.url}: the connection broke again and again ({error}); {done / 1e9:.2f} of "
            f"{file.size / 1e9:.2f} GB are there: run it again to go on"
        ) from None
    if digest.hexdigest() != file.digest:
        data.truncate(0)
        raise UserError(
            f"{file.local_name}: wrong bytes came: its checksum is {digest.hexdigest()} instead of "
            f"{file.digest}. It is deleted: run it again"
        )


def _digest(file: RemoteFile) -> "hashlib._Hash":
    if len(file.digest) == 64:
        return hashlib.sha256()
    # As git names a file: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects.
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


def _hash(data: BinaryIO, digest: "hashlib._Hash", count: Count) -> int:
    data.seek(0)
    done = 0
    while chunk := data.read(CHUNK):
        digest.update(chunk)
        done += len(chunk)
        count(len(chunk))
    return done


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The file `part` for this process alone, as long as it lives."""
    while True:
        with part.open("ab+") as data:
            try:
                fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{part}: another process downloads it: wait for that one"
                ) from None
            # Another process may have completed and renamed it after it was opened here.
            if part.exists() and os.path.samestat(os.fstat(data.fileno()), part.stat()):
                yield data
                return


def check_room(files: Sequence[RemoteFile], folder: Path) -> None:
    """Raise UserError unless the disk has room for what is missing of `files`."""
    needed = 0
    for file in files:
        part = part_path(file, folder)
        if not (folder / file.local_name).exists():
            needed += file.size - (part.stat().st_size if part.is_file() else 0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free: make "
            f"room for {(needed - free) / 1e9:.2f} GB, or choose another --folder"
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the system refuses into a UserError."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise UserError(
            f"{where}: cannot be written: {error.strerror or error}; what has come stays"
        ) from None
