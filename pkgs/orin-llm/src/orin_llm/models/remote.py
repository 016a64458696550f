"""Headers of GGUF files on the Hub, without the files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from orin_core.cli import UserError
from orin_llm.models.hub import RemoteFile
from orin_llm.models.transfer import BrokenError, read
from orin_nn.gguf.parse import LARGEST_HEADER, Parsed, parse

# What is fetched first: the headers of the Qwen3 models have 6 MB, those of LLaMA 3 have 8.
FIRST = 8 << 20
# Rotary factors, the only data that a header's check reads, are half a head of float32: 256 bytes.
_FACTORS, MOST_FACTORS = "rope_freqs.weight", 1 << 16


@contextmanager
def stand_ins(files: Sequence[RemoteFile]) -> Iterator[list[Path]]:
    """Temporary files with the size and the header of `files`, and holes where the tensors' data
    would be.

    Raises UserError for a file whose header is damaged, and for what the Hub refuses. One that
    names such a temporary file is raised again with the name of the repository.
    """
    with TemporaryDirectory(prefix="orinix-") as folder:
        try:
            yield [_stand_in(file, Path(folder) / file.local_name) for file in files]
        except UserError as error:
            raise UserError(str(error).replace(folder, files[0].repo)) from None


def _stand_in(file: RemoteFile, path: Path) -> Path:
    parsed = _header(file, path)
    if factors := parsed.tensors.get(_FACTORS):
        start, count = parsed.start + factors.offset, min(4 * factors.shape[0], MOST_FACTORS)
        _fetch(file, path, start, min(start + count, file.size))
    with path.open("ab") as whole:
        whole.truncate(file.size)
    return path


def _header(file: RemoteFile, path: Path) -> Parsed:
    """Fetch the header, of unknown length, in pieces that double."""
    path.touch()
    end, largest = min(FIRST, file.size), min(LARGEST_HEADER + FIRST, file.size)
    _fetch(file, path, 0, end)
    while True:
        try:
            return parse(path)
        except UserError:
            with path.open("rb") as data:
                is_gguf = data.read(4) == b"GGUF"
            if end >= largest or not is_gguf:
                raise
        start, end = end, min(2 * end, largest)
        _fetch(file, path, start, end)


def _fetch(file: RemoteFile, path: Path, start: int, end: int) -> None:
    try:
        with path.open("r+b") as data:
            data.seek(start)
            for chunk in read(file, start, end):
                data.write(chunk)
    except BrokenError as error:
        raise UserError(f"{file.url}: the connection broke again and again ({error})") from None
