"""Which types a device computes with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tinygrad import Device, Tensor, dtypes
from tinygrad.dtype import to_dtype


def missing(device: str, dtype: str) -> str | None:
    """Why `device` (tinygrad's name) cannot compute in `dtype`, None if it can."""
    renderer = Device[device].renderer
    if dtype == "tf32":
        cores = getattr(renderer, "tensor_cores", None) or []
        return None if any(core.dtype_in == dtypes.float32 for core in cores) else "no tensor cores"
    kind = to_dtype(dtype)
    if kind not in renderer.supported_dtypes():
        return "tinygrad has no such type here"
    try:
        with _quiet():
            values = Tensor([1, 2, 3], device=device).cast(kind).contiguous().realize()
            (values * values + values).float().numpy()
    except Exception as error:  # a compiler that lacks the type fails in a way of its own
        return f"does not compile ({type(error).__name__})"
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what a compiler's process says to stderr."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
