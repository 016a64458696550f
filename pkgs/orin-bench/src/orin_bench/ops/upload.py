"""Inputs on a device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor
from tinygrad.dtype import to_dtype

# What tinygrad has as a type; tf32 and quantized matrices compute with float32.
TYPES = ("float32", "float16", "bfloat16")


class Upload:
    """Copies arrays to `device`, floating ones rounded to `dtype`; those `shared` only once."""

    def __init__(self, device: str, dtype: str, shared: Sequence[NDArray[Any]]) -> None:
        self.device = device
        self.dtype = to_dtype(dtype if dtype in TYPES else "float32")
        self._shared = {id(array): self._copy(array) for array in shared}

    def __call__(self, array: NDArray[Any]) -> Tensor:
        known = self._shared.get(id(array))
        return self._copy(array) if known is None else known

    def _copy(self, array: NDArray[Any]) -> Tensor:
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        tensor = Tensor(array, device=self.device)
        if np.issubdtype(array.dtype, np.floating):
            tensor = tensor.cast(self.dtype)
        return tensor.contiguous().realize()
