"""The quantizations of GGUF that run without being expanded: layout, expansion and kernel terms.

GGUF stores a matrix as rows of blocks, each with its scales beside its values. Here every field
of the blocks becomes a tensor of its own, bit for bit: then neighbouring threads read
neighbouring bytes, in loads of eight or sixteen. The layouts are ggml's (ggml-common.h:
block_q8_0, block_q4_K, block_q6_K).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import Ops, UOp

Vector = Callable[[UOp], UOp]  # a value by its index


@dataclass(frozen=True)
class Place:
    """Which values a thread takes: those of `part` of `row` that its place on each axis names."""

    row: UOp
    part: UOp
    threads: Sequence[UOp]
    axis: Callable[[int], UOp]  # makes an unrolled axis of a size


class Format(ABC):
    """One way to store a matrix (N, K), its reduced axis last."""

    name: ClassVar[str]
    block: ClassVar[int]  # values that share a block, which divides K
    bytes: ClassVar[int]  # of a block
    part: ClassVar[int]  # values that a matrix-vector product's threads take together
    threads: ClassVar[tuple[int, ...]] = ()  # how many share a part, by axes

    @abstractmethod
    def planes(self, raw: Tensor) -> list[Tensor]:
        """The fields of GGUF's bytes (N, K / block * bytes), a tensor each, not realized."""

    @abstractmethod
    def expand(self, planes: Sequence[Tensor]) -> Tensor:
        """The values (N, K), lazily: in float32, or in float16 if that is how they are stored."""

    @abstractmethod
    def terms(self, planes: Sequence[UOp], x: Vector, at: Place) -> UOp:
        """In a kernel, one thread's sum over its values of a row's part, times those of `x` (K)."""


class Float(Format):
    """float16 as it is."""

    name, block, bytes, part = "F16", 1, 2, 8

    def planes(self, raw: Tensor) -> list[Tensor]:
        return [raw.bitcast(dtypes.float16)]

    def expand(self, planes: Sequence[Tensor]) -> Tensor:
        return planes[0]

    def terms(self, planes: Sequence[UOp], x: Vector, at: Place) -> UOp:
        k = at.part * 8 + (i := at.axis(8))
        return _sum(planes[0][at.row, k].cast(dtypes.float32) * x(k), i)


class Q8(Format):
    """Q8_0: 32 signed bytes and a float16 scale."""

    name, block, bytes, part = "Q8_0", 32, 34, 16

    def planes(self, raw: Tensor) -> list[Tensor]:
        blocks = raw.reshape(raw.shape[0], -1, self.bytes)
        return [_words(blocks[:, :, 2:]), _halves(blocks[:, :, :2])]

    def expand(self, planes: Sequence[Tensor]) -> Tensor:
        values, scale = planes
        signed = values.bitcast(dtypes.int8).reshape(*scale.shape, 32)
        return (signed.float() * scale.float().unsqueeze(-1)).flatten(1)

    def terms(self, planes: Sequence[UOp], x: Vector, at: Place) -> UOp:
        values, scale = planes
        word, byte = at.axis(4), at.axis(4)
        value = _byte(_bits(values[at.row, at.part * 4 + word]), byte).cast(dtypes.int8)
        product = value.cast(dtypes.float32) * x(at.part * 16 + word * 4 + byte)
        return _sum(product, word, byte) * scale[at.row, at.part // 2].cast(dtypes.float32)


class Q6K(Format):
    """Q6_K: 256 values of 6 bits, a signed byte of scale for each 16, a float16 for all.

    A block is two halves of 128 values. Of each, value l + 32 j (l < 32, j < 4) has its low four
    bits in byte l + 32 (j % 2), the lower nibble where j < 2, and its high two in byte l at 2 j.
    """

    name, block, bytes, part, threads = "Q6_K", 256, 210, 128, (4,)

    def planes(self, raw: Tensor) -> list[Tensor]:
        blocks = raw.reshape(raw.shape[0], -1, self.bytes)
        fields = blocks[:, :, :128], blocks[:, :, 128:192], blocks[:, :, 192:208]
        return [*map(_words, fields), _halves(blocks[:, :, 208:])]

    def expand(self, planes: Sequence[Tensor]) -> Tensor:
        low, high, scales, scale = planes
        n = low.shape[0]
        low = low.bitcast(dtypes.uint8).reshape(n, -1, 1, 64)
        low = Tensor.cat(low.bitwise_and(15), low.rshift(4), dim=2).reshape(n, -1, 4, 32)
        high = high.bitcast(dtypes.uint8).reshape(n, -1, 1, 32)
        high = Tensor.cat(*(high.rshift(2 * j).bitwise_and(3) for j in range(4)), dim=2)
        values = low.bitwise_or(high.lshift(4)).cast(dtypes.int8) - 32
        part = scales.bitcast(dtypes.int8).float() * _each(scale, 16)
        return (values.float().reshape(n, -1, 16) * part.unsqueeze(-1)).reshape(n, -1)

    def terms(self, planes: Sequence[UOp], x: Vector, at: Place) -> UOp:
        # Four threads share a half: each takes eight neighbours l and, at them, all four j.
        low, high, scales, scale = planes
        row, half, (l8,) = at.row, at.part, at.threads
        upper, lower, word, byte = at.axis(2), at.axis(2), at.axis(2), at.axis(4)
        nibbles = _bits(low[row, half * 16 + lower * 8 + l8 * 2 + word])
        pairs = _bits(high[row, half * 8 + l8 * 2 + word])
        # Four values at once, a byte each, of j = 2 upper + lower.
        four = _shift(nibbles, upper * 4) & 0x0F0F0F0F
        four = four | ((_shift(pairs, upper * 4 + lower * 2) & 0x03030303) << 4)
        value = _byte(four, byte).cast(dtypes.float32) - 32.0
        term = x(half * 128 + upper * 64 + lower * 32 + l8 * 8 + word * 4 + byte)
        # A half's eight scales are two words, of which j and l / 16 name a byte.
        signed = _shift(_bits(scales[row, half * 2 + upper]), lower * 16 + l8 // 2 * 8) & 0xFF
        sixteen = signed.cast(dtypes.int8).cast(dtypes.float32)
        products = _sum(value * term, word, byte) * sixteen
        return _sum(products, upper, lower) * scale[row, half // 2].cast(dtypes.float32)


class Q4K(Format):
    """Q4_K: 256 values of 4 bits in eight groups of 32, each with a 6-bit scale and minimum.

    Groups 2 i and 2 i + 1 are the lower and upper nibbles of 32 bytes. Of the twelve bytes of
    scales and minima, the first eight hold groups 0 to 3's whole and two bits of the others'.
    """

    name, block, bytes, part, threads = "Q4_K", 256, 144, 256, (2, 2, 2)

    def planes(self, raw: Tensor) -> list[Tensor]:
        blocks = raw.reshape(raw.shape[0], -1, self.bytes)
        small = blocks[:, :, 4:16].flatten(1).contiguous()
        return [_words(blocks[:, :, 16:]), small, _halves(blocks[:, :, :4])]

    def expand(self, planes: Sequence[Tensor]) -> Tensor:
        values, small, both = planes
        n = values.shape[0]
        bytes_ = values.bitcast(dtypes.uint8).reshape(n, -1, 1, 32)
        nibbles = Tensor.cat(bytes_.bitwise_and(15), bytes_.rshift(4), dim=2).reshape(n, -1, 32)
        a, b, c = small.reshape(n, -1, 3, 4).split(1, dim=2)
        low, high = c.bitwise_and(15), c.rshift(4)
        scale = Tensor.cat(a.bitwise_and(63), low.bitwise_or(a.rshift(6).lshift(4)), dim=2)
        least = Tensor.cat(b.bitwise_and(63), high.bitwise_or(b.rshift(6).lshift(4)), dim=2)
        both = both.float().reshape(n, -1, 2)
        scale = scale.float().reshape(n, -1) * _each(both[:, :, 0], 8)
        least = least.float().reshape(n, -1) * _each(both[:, :, 1], 8)
        return (nibbles.float() * scale.unsqueeze(-1) - least.unsqueeze(-1)).reshape(n, -1)

    def terms(self, planes: Sequence[UOp], x: Vector, at: Place) -> UOp:
        # Two threads share 32 bytes, which hold two groups of values: each takes sixteen.
        values, small, both = planes
        row, block, (late, odd, side) = at.row, at.part, at.threads
        upper, word, byte = at.axis(2), at.axis(4), at.axis(4)
        nibbles = _bits(values[row, block * 32 + late * 16 + odd * 8 + side * 4 + word])
        value = _byte(_shift(nibbles, upper * 4) & 0x0F0F0F0F, byte).cast(dtypes.float32)
        k = block * 256 + late * 128 + odd * 64 + upper * 32 + side * 16 + word * 4 + byte
        term = x(k)
        a, b, c = (
            small[row, block * 12 + 4 * field + odd * 2 + upper].cast(dtypes.int32)
            for field in range(3)
        )
        first = late < 1
        scale = first.where(a & 63, (c & 15) | ((a >> 6) << 4)).cast(dtypes.float32)
        least = first.where(b & 63, (c >> 4) | ((b >> 6) << 4)).cast(dtypes.float32)
        d, dmin = (both[row, block * 2 + i].cast(dtypes.float32) for i in range(2))
        terms = _sum(value * term, word, byte) * scale * d - _sum(term, word, byte) * least * dmin
        return _sum(terms, upper)


FORMATS: dict[str, Format] = {f.name: f for f in (Float(), Q8(), Q6K(), Q4K())}


def _words(field: Tensor) -> Tensor:
    """Bytes (N, blocks, bytes) as float32 of the same bits: tinygrad joins loads of floats only."""
    return field.flatten(1).contiguous().bitcast(dtypes.float32)


def _halves(field: Tensor) -> Tensor:
    return field.flatten(1).contiguous().bitcast(dtypes.float16)


def _each(scale: Tensor, times: int) -> Tensor:
    """(N, blocks) in float32, every one `times` times."""
    n, blocks = scale.shape
    return scale.float().unsqueeze(-1).expand(n, blocks, times).reshape(n, -1)


def _bits(word: UOp) -> UOp:
    return word.bitcast(dtypes.uint32)


def _shift(word: UOp, by: UOp) -> UOp:
    return word >> by.cast(dtypes.uint32)


def _byte(word: UOp, index: UOp) -> UOp:
    return _shift(word, index * 8) & 0xFF


def _sum(terms: UOp, *axes: UOp) -> UOp:
    return terms.reduce(*axes, arg=Ops.ADD)
