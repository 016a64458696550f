"""The memory that a model takes, by the headers of its GGUF files alone."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from orin_core.cli import UserError
from orin_nn.gguf.header import Header, read_header
from orin_nn.gguf.model import TensorInfo
from orin_nn.gguf.parse import Entry, Parsed, parse
from orin_nn.gguf.size import cache_bytes, memory_needed

# Tokens of a prompt that are computed in one step, by llm-server and by llama.cpp (--ubatch-size).
STEP = 512
# Positions come in such steps when the most that fit are looked for.
GRAIN = 256
# llm-server keeps these as they are stored; matrices in any other format become float16.
KEPT = ("F16", "Q8_0", "Q4_K", "Q6_K")
# Bytes of a number in the cache, and of one that is computed.
_CACHED, _COMPUTED = 2, 4

_CACHED_TENSOR = re.compile(r"blk\.\d+\.attn_([kv]|qkv)\.weight")


@dataclass(frozen=True)
class Needs:
    """What one model needs, in bytes.

    `refusal` says why llm-server does not run it: then the figures are llama.cpp's. `position` is
    what one position of one sequence takes in the cache, None where the header does not tell;
    `limit` the positions that the model was made for, 0 where it does not tell. `notes` are what
    makes the figures uncertain.
    """

    name: str
    architecture: str
    weights: int
    position: int | None
    limit: int
    header: Header | None
    widths: tuple[int, int]
    refusal: str
    notes: tuple[str, ...]

    def cache(self, context: int, batch: int) -> int:
        """Keys and values of `batch` sequences of `context` positions, in float16."""
        return (self.position or 0) * context * batch

    def activations(self, context: int, batch: int) -> int:
        """About what is computed beside them, when a prompt is read or `batch` sequences go on.

        llm-server's are those of `orin_nn.gguf.size.memory_needed`. llama.cpp reserves the logits
        of a whole step of a prompt, and some of its vectors; its attention keeps no scores.
        """
        if self.header:
            rows = max(STEP, batch)
            stored = self.header.nbytes + cache_bytes(self.header, context)
            return memory_needed(self.header, context, rows) - stored
        vocab, dim = self.widths
        return STEP * (vocab + 3 * dim) * _COMPUTED

    def total(self, context: int, batch: int) -> int:
        return self.weights + self.cache(context, batch) + self.activations(context, batch)

    def fitting_context(self, memory: int, batch: int) -> int:
        """The most positions, in steps of GRAIN, that `batch` sequences may each have in `memory`
        bytes; at most `limit`, and 0 where not even GRAIN fit."""
        low, high = 0, (self.limit or 1 << 20) // GRAIN
        while low < high:
            middle = (low + high + 1) // 2
            if self.total(middle * GRAIN, batch) <= memory:
                low = middle
            else:
                high = middle - 1
        return low * GRAIN


def needs(paths: Sequence[Path]) -> Needs:
    """Of the model in a file, or in all parts of one that is split.

    Raises UserError for what is no GGUF file, or a damaged or incomplete one.
    """
    parts = [parse(path) for path in paths]
    tensors: dict[str, Entry] = {}
    for path, part in zip(paths, parts, strict=True):
        _check_size(path, part)
        tensors |= part.tensors
    values = parts[0].values
    architecture = str(values.get("general.architecture", "unknown"))[:40]
    header, refusal = None, ""
    weights, position = sum(map(_stored, parts)), _position(values, architecture, tensors)
    try:
        header = read_header(paths[0])
        weights, position = sum(map(_as_run, header.tensors.values())), cache_bytes(header, 1)
    except UserError as error:
        refusal = str(error).removeprefix(f"{paths[0]}: ")
    embedding = tensors.get("token_embd.weight")
    return Needs(
        name=str(values.get("general.name", paths[0].stem))[:80],
        architecture=architecture,
        weights=weights,
        position=position,
        limit=_integer(values, f"{architecture}.context_length"),
        header=header,
        widths=(embedding.shape[0], embedding.shape[-1]) if embedding else (0, 0),
        refusal=refusal,
        notes=tuple(_notes(values, architecture, position, embedding)),
    )


def _as_run(tensor: TensorInfo) -> int:
    """Bytes of a tensor that llm-server has loaded."""
    if len(tensor.shape) > 1 and tensor.quantization.name not in KEPT:
        return 2 * math.prod(tensor.shape)
    return tensor.nbytes


def _bytes(entry: Entry) -> int:
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(entry.kind)]
    return math.prod(entry.shape) // block * size


def _stored(part: Parsed) -> int:
    """Bytes of the tensors; with a format that gguf does not know, all that follows the header."""
    known = all(entry.kind in list(GGMLQuantizationType) for entry in part.tensors.values())
    if known:
        return sum(_bytes(entry) for entry in part.tensors.values())
    return part.size - part.start


def _check_size(path: Path, part: Parsed) -> None:
    ends = [part.start]
    for entry in part.tensors.values():
        known = entry.kind in list(GGMLQuantizationType)
        ends.append(part.start + entry.offset + (_bytes(entry) if known else 0))
    if max(ends) > part.size and part.tensors:
        raise UserError(
            f"{path}: incomplete or damaged, {max(ends) - part.size} of its {max(ends)} bytes are "
            "missing: copy or download it again"
        )


def _position(
    values: Mapping[str, Any], architecture: str, tensors: Mapping[str, Entry]
) -> int | None:
    """Bytes of one position's keys and values: the rows of the matrices that make them."""
    heads = _integer(values, f"{architecture}.attention.head_count")
    dim = _integer(values, f"{architecture}.embedding_length")
    size = _integer(values, f"{architecture}.attention.key_length") or dim // max(heads, 1)
    rows = 0
    for name, entry in tensors.items():
        if found := _CACHED_TENSOR.fullmatch(name):
            # Queries, keys and values one above the other.
            rows += entry.shape[0] - (heads * size if found[1] == "qkv" else 0)
    return rows * _CACHED if rows > 0 else None


def _notes(
    values: Mapping[str, Any], architecture: str, position: int | None, embedding: Entry | None
) -> list[str]:
    notes = []
    if position is None:
        notes.append("what the cache takes is not known from the header, and not counted")
    if window := _integer(values, f"{architecture}.attention.sliding_window"):
        notes.append(f"layers that look back over {window} positions only keep no more than those")
    if _integer(values, f"{architecture}.ssm.state_size"):
        notes.append("the state of its recurrent layers is not counted")
    if embedding is None:
        notes.append("it has no embedding: its activations are not known, and not counted")
    return notes


def _integer(values: Mapping[str, Any], key: str) -> int:
    """A count in the metadata, 0 where there is none."""
    value = values.get(key, 0)
    return value if isinstance(value, int) and 0 < value < 1 << 31 else 0
