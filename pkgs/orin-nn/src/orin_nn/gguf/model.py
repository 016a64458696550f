"""A model as it is stored: its shape, and each tensor's quantization, place and bytes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from orin_core.cli import UserError
from orin_nn.gguf.shapes import Shape

SUPPORTED = (
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.BF16,
    GGMLQuantizationType.Q8_0,
    GGMLQuantizationType.Q4_0,
    GGMLQuantizationType.Q4_K,
    GGMLQuantizationType.Q5_K,
    GGMLQuantizationType.Q6_K,
)
NAMES = tuple(quantization.name for quantization in SUPPORTED)


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor is and how it is stored. `shape` is rows first, `offset` in bytes from the
    start of the tensors' data."""

    name: str
    shape: tuple[int, ...]
    quantization: GGMLQuantizationType
    offset: int

    @property
    def row_bytes(self) -> int:
        block, size = GGML_QUANT_SIZES[self.quantization]
        return self.shape[-1] // block * size

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.row_bytes


@dataclass(frozen=True)
class Model:
    """A model in a file, or one that a file could hold."""

    name: str
    shape: Shape
    tensors: Mapping[str, TensorInfo]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def quantization(self) -> str:
        """The quantization of most of its bytes: files mix several."""
        totals = dict.fromkeys(NAMES, 0)
        for tensor in self.tensors.values():
            totals[tensor.quantization.name] += tensor.nbytes
        return max(totals, key=lambda name: totals[name])


def place(
    tensors: Iterable[tuple[str, tuple[int, ...], GGMLQuantizationType]], alignment: int
) -> dict[str, TensorInfo]:
    """`tensors` one after the other, each at a multiple of `alignment`, as the format wants it."""
    placed, end = {}, 0
    for name, shape, quantization in tensors:
        placed[name] = TensorInfo(name, shape, quantization, -(-end // alignment) * alignment)
        end = placed[name].offset + placed[name].nbytes
    return placed


def quantization(name: str) -> GGMLQuantizationType:
    """The quantization called `name`, in either case. Raises UserError for one not supported."""
    if name.upper() not in NAMES:
        raise UserError(f"unknown quantization {name!r}: choose {', '.join(NAMES)}")
    return GGMLQuantizationType[name.upper()]
