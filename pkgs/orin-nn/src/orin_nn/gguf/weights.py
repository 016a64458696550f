"""Random weights in the formats of GGUF files, fast enough to make gigabytes of them.

All of a quantized block is random but its scale, and all of a float but its exponent, so that
every path of a decoder is used and nothing is computed number by number.
"""

import math
from functools import lru_cache

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize
from numpy.typing import NDArray

# The bits of the mantissa, and the exponent of 1.0 as stored.
_FLOATS = {Kind.F32: (23, 127), Kind.F16: (10, 15), Kind.BF16: (7, 127)}
# The byte of a block at which its float16 scale begins.
_SCALE = {Kind.Q8_0: 0, Kind.Q4_0: 0, Kind.Q4_K: 0, Kind.Q5_K: 0, Kind.Q6_K: 208}
# Quants without a sign have a scale for what is subtracted as well, in the next two bytes: it gets
# the mean of the quants times the scale.
_MEAN = {Kind.Q4_K: 7.5, Kind.Q5_K: 15.5}


def random_matrix(
    shape: tuple[int, ...], kind: Kind, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """The bytes of a matrix of `shape` (rows, columns), a row of them each, whose weights have a
    mean of 0 and a deviation of 1/sqrt(columns): products with it neither grow nor vanish.

    The deviation of floats is within a factor of sqrt(2) of that. `columns` is a multiple of the
    block of `kind`.
    """
    rows, columns = shape
    make = _floats if kind in _FLOATS else _blocks
    block = GGML_QUANT_SIZES[kind][0]
    data = make(rows * columns // block, kind, 1 / math.sqrt(columns), generator)
    return data.reshape(rows, -1)


def _floats(
    count: int, kind: Kind, deviation: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Numbers of any sign and mantissa in four octaves."""
    mantissa, one = _FLOATS[kind]
    size, octaves = GGML_QUANT_SIZES[kind][1], 4
    # The mean square is 7/3 in the octave of 1 to 2, and four times that in each next one.
    spread = math.sqrt(7 / 3 * (1 + 4 + 16 + 64) / octaves)
    exponent = one + round(math.log2(deviation / spread))
    data = _random_bytes(count * size, generator)
    numbers = data.view(f"<u{size}")
    numbers &= numbers.dtype.type(1 << (8 * size - 1) | (octaves << mantissa) - 1)
    numbers += numbers.dtype.type(exponent << mantissa)
    return data


def _blocks(
    count: int, kind: Kind, deviation: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    return _random_blocks(count, kind, deviation / _deviation(kind), generator)


def _random_blocks(
    count: int, kind: Kind, largest: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Random blocks, whose scales are between -`largest` and `largest`."""
    size = GGML_QUANT_SIZES[kind][1]
    blocks = _random_bytes(count * size, generator).reshape(count, size)
    scales = (generator.random(count, np.float32) * 2 - 1) * np.float32(largest)
    at = _SCALE[kind]
    blocks[:, at : at + 2] = scales.astype("<f2").view(np.uint8).reshape(count, 2)
    if kind in _MEAN:
        minimums = scales * np.float32(_MEAN[kind])
        blocks[:, at + 2 : at + 4] = minimums.astype("<f2").view(np.uint8).reshape(count, 2)
    return blocks


@lru_cache
def _deviation(kind: Kind) -> float:
    """Of the weights in random blocks whose scales are between -1 and 1."""
    blocks = _random_blocks(1 << 14, kind, 1.0, np.random.default_rng(0))
    return float(dequantize(blocks, kind).std())


def _random_bytes(count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Ten times as fast as `Generator.bytes`."""
    words = generator.integers(0, 2**64 - 1, -(-count // 8), np.uint64, endpoint=True)
    return words.view(np.uint8)[:count]
