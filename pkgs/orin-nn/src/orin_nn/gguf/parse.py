"""What the header of a GGUF file says: metadata, arrays of it only when asked for, and tensors.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. gguf's own GGUFReader makes
numpy objects of every token, which took 12 s and 780 MB for LLaMA 3's vocabulary, and runs on for
years through an array whose length is damaged; so the header is walked here.
"""

import mmap
import stat
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUFValueType
from numpy.typing import NDArray

from orin_core.cli import UserError

VERSIONS = (2, 3)
# LLaMA 3's header, 128,256 tokens and 280,147 merges, has 8 MB.
LARGEST_HEADER = 64 << 20
# The format's limits, in bytes.
LONGEST_KEY, LONGEST_NAME = 65535, 64
MOST_DIMENSIONS = 4

_COUNT, _KIND, _COUNTS = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<IQQ")
_SCALARS = {
    GGUFValueType.UINT8: struct.Struct("<B"),
    GGUFValueType.INT8: struct.Struct("<b"),
    GGUFValueType.UINT16: struct.Struct("<H"),
    GGUFValueType.INT16: struct.Struct("<h"),
    GGUFValueType.UINT32: struct.Struct("<I"),
    GGUFValueType.INT32: struct.Struct("<i"),
    GGUFValueType.UINT64: struct.Struct("<Q"),
    GGUFValueType.INT64: struct.Struct("<q"),
    GGUFValueType.FLOAT32: struct.Struct("<f"),
    GGUFValueType.FLOAT64: struct.Struct("<d"),
    GGUFValueType.BOOL: struct.Struct("<?"),
}


@dataclass(frozen=True)
class Entry:
    """A tensor as listed: `shape` rows first, `kind` the number of a GGMLQuantizationType."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Parsed:
    """`values` are the metadata but arrays, of which `lengths` has the number of entries and
    `arrays` the entries, if they were asked for; tensors' data begin at byte `start` of `size`."""

    values: dict[str, Any]
    lengths: dict[str, int]
    arrays: dict[str, list[str] | NDArray[Any]]
    tensors: dict[str, Entry]
    alignment: int
    start: int
    size: int


def parse(path: Path, arrays: Collection[str] = ()) -> Parsed:
    """The header, with the entries of the `arrays` named.

    Raises UserError for what is no whole GGUF header of a version that is known.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: not a file: name a GGUF file")
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise UserError(f"{path}: not a GGUF file")
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
                return _Walk(path, data, size).header(arrays)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


class _Walk:
    """Goes through a header, byte by byte and not beyond its end."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path, self.data, self.size = path, data, size
        self.position = 4

    def header(self, wanted: Collection[str]) -> Parsed:
        if self.size < 8:
            raise self.damage("ends after its first 4 bytes")
        version = _KIND.unpack_from(self.data, 4)[0]
        if version and version % 65536 == 0:
            raise UserError(f"{self.path}: big-endian: convert it with gguf-convert-endian")
        if version not in VERSIONS:
            raise UserError(f"{self.path}: GGUF version {version} is not supported, only 2 and 3")
        _, tensor_count, value_count = self.take(_COUNTS)

        values: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        arrays: dict[str, list[str] | NDArray[Any]] = {}
        for _ in range(value_count):
            key = self.text(LONGEST_KEY)
            if key in values or key in lengths:
                raise self.damage(f"has {key[:80]!r} twice")
            kind = self.take(_KIND)[0]
            if kind == GGUFValueType.ARRAY:
                if key in wanted:
                    arrays[key] = self.array()
                    lengths[key] = len(arrays[key])
                else:
                    lengths[key] = self.skip_array()
            elif kind == GGUFValueType.STRING:
                values[key] = self.text(LARGEST_HEADER)
            else:
                values[key] = self.take(self.scalar(kind))[0]

        tensors: dict[str, Entry] = {}
        for _ in range(tensor_count):
            entry = self.tensor()
            if entry.name in tensors:
                raise self.damage(f"has tensor {entry.name!r} twice")
            tensors[entry.name] = entry
        alignment = values.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self.damage(f"has an alignment of {alignment!r}")
        start = -(-self.position // alignment) * alignment
        return Parsed(values, lengths, arrays, tensors, alignment, start, self.size)

    def tensor(self) -> Entry:
        name = self.text(LONGEST_NAME)
        dimensions = self.take(_KIND)[0]
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self.damage(f"gives tensor {name!r} {dimensions} dimensions")
        shape = self.take(struct.Struct(f"<{dimensions}Q"))
        if 0 in shape:
            raise self.damage(f"gives tensor {name!r} a dimension of 0")
        return Entry(name, shape[::-1], self.take(_KIND)[0], self.take(_COUNT)[0])

    def skip_array(self) -> int:
        kind, length = *self.take(_KIND), *self.take(_COUNT)
        if kind == GGUFValueType.STRING:
            for _ in range(length):
                self.skip(self.take(_COUNT)[0])
        else:
            self.skip(length * self.scalar(kind).size)
        return int(length)

    def array(self) -> list[str] | NDArray[Any]:
        kind, length = *self.take(_KIND), *self.take(_COUNT)
        if kind == GGUFValueType.STRING:
            return self.texts(length)
        form = self.scalar(kind)
        start = self.position
        self.skip(length * form.size)
        return np.frombuffer(self.data[start : self.position], form.format)

    def texts(self, length: int) -> list[str]:
        """`length` texts. `text` would take three times as long, and a vocabulary has half a
        million of them."""
        texts: list[str] = []
        data, position, end = self.data, self.position, min(self.size, LARGEST_HEADER)
        size_at = _COUNT.unpack_from
        for _ in range(length):
            start = position + _COUNT.size
            position = start + size_at(data, position)[0] if start <= end else start
            if position > end:
                break
            texts.append(data[start:position].decode(errors="replace"))
        self.skip(position - self.position)  # raises if the loop ended early
        return texts

    def scalar(self, kind: int) -> struct.Struct:
        if kind not in _SCALARS:
            raise self.damage(f"has a value of unknown type {kind}")
        return _SCALARS[GGUFValueType(kind)]

    def text(self, longest: int) -> str:
        length = self.take(_COUNT)[0]
        if length > longest:
            raise self.damage(f"has a text of {length} bytes")
        start = self.position
        self.skip(length)
        return self.data[start : self.position].decode(errors="replace")

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        start = self.position
        self.skip(form.size)
        return form.unpack_from(self.data, start)

    def skip(self, count: int) -> None:
        end = self.position + count
        if end > LARGEST_HEADER:
            raise self.damage(f"goes beyond {LARGEST_HEADER >> 20} MiB")
        if end > self.size:
            raise self.damage(f"ends at byte {self.size}, before byte {end} that belongs to it")
        self.position = end

    def damage(self, what: str) -> UserError:
        return UserError(
            f"{self.path}: damaged or incomplete, its header {what}: copy or download it again"
        )
