"""What every operation has: its size, its inputs, and a reference for single results."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from orin_bench.ops.counts import Work

Arrays = Sequence[NDArray[Any]]
Floats = NDArray[np.float64]
Indices = NDArray[np.int32]

# Bytes of a value. tf32 is stored as float32, and rounded by the tensor cores.
WIDTHS = {"float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
# int8 is summed in int32, which is the result.
RESULT_WIDTHS = WIDTHS | {"int8": 4}
# Results that are compared with the reference.
SAMPLE = 256
# Sets of inputs that a step takes at most: tinygrad schedules each by itself.
MOST_SETS = 32
SEED = 0


@dataclass(frozen=True)
class Operation(ABC):
    """An operation of one size, without its data; libraries compute it in stock.py and others.

    `shared` is how many of the first inputs all sets of inputs have in common. `elementwise` tells
    that it computes in float32 whatever type its values are stored in.
    """

    name: ClassVar[str]
    shared: ClassVar[int] = 0
    elementwise: ClassVar[bool] = False

    @abstractmethod
    def __str__(self) -> str:
        """The size, in a few characters."""

    @property
    @abstractmethod
    def result(self) -> tuple[int, ...]:
        """The shape of the result."""

    @property
    def streams(self) -> bool:
        """Whether memory alone bounds it, so that its speed is quoted in GB/s."""
        return self.elementwise

    @abstractmethod
    def work(self, dtype: str) -> Work: ...

    @abstractmethod
    def inputs(self, rng: np.random.Generator) -> Arrays:
        """Random inputs: floats that are then rounded to the type, indices, bytes as stored."""

    @abstractmethod
    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        """The results at the flat indices `at`, in float64 from inputs that are not rounded."""

    def sets(self, rng: np.random.Generator, count: int) -> list[Arrays]:
        """`count` sets of inputs; equal numbers will do, if each is given memory of its own."""
        return [self.inputs(rng)] * count

    def sample(self, rng: np.random.Generator) -> Indices:
        """Flat indices of some results, all over them."""
        return rng.integers(0, int(np.prod(self.result)), SAMPLE, np.int32)

    def arithmetic(self, dtype: str) -> str:
        """The type whose peak bounds it, if its values are stored in `dtype`."""
        return "float32" if self.elementwise else dtype

    def resident(self, dtype: str) -> int:
        """Bytes of what all sets share."""
        return 0

    def scratch(self, dtype: str) -> int:
        """Bytes that are written between a plain implementation's kernels."""
        return 0


def normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, np.float32)


@lru_cache(maxsize=1)
def draw(operation: Operation) -> tuple[list[Arrays], Indices]:
    """MOST_SETS sets of inputs, and flat indices of results: in every process the same."""
    rng = np.random.default_rng(SEED)
    return operation.sets(rng, MOST_SETS), operation.sample(rng)


@lru_cache(maxsize=1)
def references(operation: Operation) -> Floats:
    """The reference for every set of `draw`, (MOST_SETS, indices)."""
    sets, at = draw(operation)
    known = {id(inputs): operation.reference(inputs, at) for inputs in unique(sets)}
    return np.stack([known[id(inputs)] for inputs in sets])


def unique(sets: Sequence[Arrays]) -> list[Arrays]:
    return list({id(inputs): inputs for inputs in sets}.values())


def stored(inputs: Arrays, dtype: str) -> tuple[Arrays, float]:
    """`inputs` as a computation in `dtype` starts from them, and what its results times are true.

    For int8 every array is divided by a scale that takes its largest magnitude to 127 and rounded
    (absmax quantization, arXiv:2208.07339); other types are left to the library's own rounding.
    """
    if dtype != "int8":
        return inputs, 1.0
    scales = [float(np.abs(array).max()) / 127 for array in inputs]
    pairs = zip(inputs, scales, strict=True)
    return [np.rint(array / scale).astype(np.int8) for array, scale in pairs], math.prod(scales)
