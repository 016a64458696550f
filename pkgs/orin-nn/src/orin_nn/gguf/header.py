"""What a GGUF file holds, read and checked before anything is allocated."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from orin_core.cli import UserError
from orin_nn.gguf.model import NAMES, SUPPORTED, Model, TensorInfo, place
from orin_nn.gguf.parse import Entry, Parsed, parse
from orin_nn.gguf.shapes import Shape

ARCHITECTURES = ("llama", "qwen3")
# Beyond any model there is; it keeps what is computed from a damaged header small.
LARGEST = 1 << 24


@dataclass(frozen=True)
class Header(Model):
    """The model in the file `path`, whose tensors' data begin at byte `start`.

    `tokens` is the number of tokens in its tokenizer, 0 where it has none.
    """

    path: Path
    start: int
    tokens: int


def read_header(path: Path) -> Header:
    """The header of a GGUF file that this library can run.

    Of the tensors' data only the rotary factors are read, half a head of numbers.

    Raises UserError for a file that is no GGUF, damaged, incomplete or one of several parts, and
    for an architecture, a rotary scaling or a quantization that is not supported.
    """
    parsed = parse(path)
    if parsed.values.get("split.count", 1) not in (0, 1):
        raise UserError(
            f"{path}: one of {_short(parsed.values['split.count'])} parts: join them with "
            "llama-gguf-split --merge"
        )
    shape = _shape(path, parsed)
    _check_tensors(path, shape, parsed.tensors)
    tokens = parsed.lengths.get("tokenizer.ggml.tokens", 0)
    if tokens not in (0, shape.vocab):
        raise UserError(f"{path}: damaged, {tokens} tokens but embeddings of {shape.vocab}")
    tensors = _tensors(path, parsed)
    end = max(tensor.offset + tensor.nbytes for tensor in tensors.values()) + parsed.start
    if end > parsed.size:
        raise UserError(
            f"{path}: incomplete, {end - parsed.size} of its {end} bytes are missing: "
            "copy or download it again"
        )
    if shape.rope_factors:
        at = parsed.start + tensors["rope_freqs.weight"].offset
        shape = replace(shape, rope_factors=_rope_factors(path, at, shape.head_dim // 2))
    name = str(parsed.values.get("general.name", path.stem))
    return Header(name, shape, tensors, path, parsed.start, tokens)


class _Settings:
    """The metadata of one architecture, checked."""

    def __init__(self, path: Path, values: Mapping[str, Any], architecture: str) -> None:
        self.path, self.values, self.architecture = path, values, architecture

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise self._wrong(key, value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A float32 as the decimal that it was made from: 1e-05 instead of 9.99999974e-06."""
        value = self._get(key, default)
        if not isinstance(value, float) or not 1e-30 < value < 1e30:
            raise self._wrong(key, value)
        return float(str(np.float32(value)))

    def allow(self, key: str, *allowed: Any) -> None:
        value = self.values.get(f"{self.architecture}.{key}", allowed[0])
        if value not in allowed:
            raise UserError(
                f"{self.path}: {self.architecture}.{key} of {_short(value)} is not supported"
            )

    def _get(self, key: str, default: float | None) -> Any:
        value = self.values.get(f"{self.architecture}.{key}", default)
        if value is None:
            raise UserError(f"{self.path}: {self.architecture}.{key} is missing: convert it anew")
        return value

    def _wrong(self, key: str, value: Any) -> UserError:
        return UserError(f"{self.path}: damaged, {self.architecture}.{key} is {_short(value)}")


def _shape(path: Path, parsed: Parsed) -> Shape:
    """The shape by the metadata; rotary factors are still 1. Defaults are llama.cpp's."""
    architecture = parsed.values.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"{path}: architecture {_short(architecture)} is not supported, only "
            f"{' and '.join(ARCHITECTURES)}"
        )
    entries = parsed.tensors
    if "token_embd.weight" not in entries:
        raise UserError(f"{path}: tensor token_embd.weight is missing: it holds no whole model")
    settings = _Settings(path, parsed.values, architecture)
    dim, heads = settings.integer("embedding_length"), settings.integer("attention.head_count")
    kv_heads = settings.integer("attention.head_count_kv", heads)
    if heads % kv_heads:
        raise UserError(f"{path}: damaged, {heads} heads cannot share keys of {kv_heads}")
    head_dim = settings.integer("attention.key_length", max(1, dim // heads))
    if head_dim % 2:
        raise UserError(f"{path}: damaged, heads of {head_dim} have no halves to rotate")
    settings.allow("expert_count", 0)
    settings.allow("rope.scaling.type", "none")
    settings.allow("rope.dimension_count", head_dim)
    settings.allow("attention.value_length", head_dim)
    return Shape(
        architecture=architecture,
        blocks=settings.integer("block_count"),
        dim=dim,
        hidden_dim=settings.integer("feed_forward_length"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=entries["token_embd.weight"].shape[0],
        context=settings.integer("context_length"),
        rope_theta=settings.number("rope.freq_base", 10000.0),
        norm_eps=settings.number("attention.layer_norm_rms_epsilon"),
        tied="output.weight" not in entries,
        rope_factors=(1.0,) * (head_dim // 2 if "rope_freqs.weight" in entries else 0),
    )


def _check_tensors(path: Path, shape: Shape, entries: Mapping[str, Entry]) -> None:
    """Raise UserError unless the file has the tensors of `shape`, and no others."""
    if shape.blocks > len(entries):
        raise UserError(f"{path}: {shape.blocks} blocks, but only {len(entries)} tensors")
    expected = shape.tensors()
    for name, size in expected.items():
        if name not in entries:
            raise UserError(f"{path}: tensor {name} is missing: it holds no whole model")
        if entries[name].shape != size:
            raise UserError(f"{path}: tensor {name} is {entries[name].shape} instead of {size}")
    for name in entries:
        if name not in expected:
            raise UserError(
                f"{path}: tensor {name!r} is not known to {shape.architecture}: not supported"
            )


def _tensors(path: Path, parsed: Parsed) -> dict[str, TensorInfo]:
    entries = parsed.tensors.values()
    stored = [(entry.name, entry.shape, _quantization(path, entry)) for entry in entries]
    tensors = place(stored, parsed.alignment)
    for entry in entries:
        if entry.offset != tensors[entry.name].offset:
            raise UserError(f"{path}: damaged, tensor {entry.name} is not where it should be")
    return tensors


def _quantization(path: Path, entry: Entry) -> GGMLQuantizationType:
    kinds = (GGMLQuantizationType.F32,) if len(entry.shape) == 1 else SUPPORTED
    if entry.kind not in kinds:
        known = entry.kind in list(GGMLQuantizationType)
        name = GGMLQuantizationType(entry.kind).name if known else f"type {entry.kind}"
        choice = ", ".join(NAMES[: len(kinds)])
        raise UserError(
            f"{path}: tensor {entry.name} is stored as {name}, which is not supported: "
            f"choose a file with {choice}"
        )
    kind = GGMLQuantizationType(entry.kind)
    block = GGML_QUANT_SIZES[kind][0]
    if entry.shape[-1] % block:
        raise UserError(
            f"{path}: damaged, {kind.name} has blocks of {block}, but tensor {entry.name} has rows "
            f"of {entry.shape[-1]}"
        )
    return kind


def _rope_factors(path: Path, at: int, count: int) -> tuple[float, ...]:
    factors = np.fromfile(path, "<f4", count, offset=at)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise UserError(f"{path}: damaged, rope_freqs.weight has factors that are no numbers")
    return tuple(factors.tolist())


def _short(value: Any) -> str:
    return repr(value)[:80]
