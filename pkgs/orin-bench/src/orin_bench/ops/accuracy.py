"""How far results are from the reference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orin_bench.ops.operation import Floats
from orin_core.cli import UserError

# The relative error that rounding cannot explain. float16 keeps 11 bits, bfloat16 8, tf32 11 of the
# factors: a right kernel stays ten times below, a wrong one is off by 1.
TOLERANCES = {"float32": 1e-4, "tf32": 5e-3, "float16": 1e-2, "bfloat16": 5e-2, "int8": 1e-1}
# A quantized matrix is exact as it is stored, and its products are in float32.
QUANTIZED = 1e-3


@dataclass(frozen=True)
class Error:
    """`relative` is ||result - reference|| / ||reference||, `largest` the largest difference."""

    relative: float
    largest: float


def measure_error(results: NDArray[np.float32], reference: Floats) -> Error:
    difference = results.astype(np.float64) - reference
    norm = float(np.linalg.norm(difference) / np.linalg.norm(reference))
    return Error(norm, float(np.abs(difference).max()))


def check_error(what: str, error: Error, dtype: str) -> None:
    """Raise UserError, which names the row as `what`, for an error that is no rounding."""
    tolerance = TOLERANCES.get(dtype, QUANTIZED)
    if not error.relative <= tolerance:  # nor is NaN
        raise UserError(
            f"{what}: the result is wrong, its relative error {error.relative:.2g} is above "
            f"{tolerance:g}; its speed would mean nothing"
        )
