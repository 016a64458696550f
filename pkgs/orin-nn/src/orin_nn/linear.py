"""Matrices of a model, in the quantization in which they came, and their products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gguf.quants import dequantize
from numpy.typing import NDArray
from tinygrad import Device, Tensor, dtypes

from orin_core.cli import UserError
from orin_nn.cpu.product import product
from orin_nn.cpu.program import runs_c
from orin_nn.formats import FORMATS, Format
from orin_nn.gemm import M, choose, gemm
from orin_nn.gguf.model import TensorInfo
from orin_nn.gpu import is_gpu
from orin_nn.matvec import fits, matvec


class Linear:
    """A matrix (N, K) in `form`, as the planes that `form` splits it into, on one device."""

    def __init__(self, planes: Sequence[Tensor], form: Format, shape: tuple[int, int]) -> None:
        self.planes, self.form, self.shape = list(planes), form, shape

    @classmethod
    def load(cls, parts: Sequence[tuple[TensorInfo, NDArray[np.uint8]]], device: str) -> Linear:
        """Matrices of one quantization and width, one above the other, from GGUF's bytes.

        A quantization without kernels of its own becomes float16. Raises UserError for weights that
        float16 cannot hold.
        """
        info = parts[0][0]
        form = FORMATS.get(info.quantization.name)
        rows = np.concatenate([data for _, data in parts])
        if form is None:
            form = FORMATS["F16"]
            with np.errstate(over="ignore"):
                halves = dequantize(rows, info.quantization).astype(np.float16)
            if not np.isfinite(halves).all():
                raise UserError(
                    f"tensor {info.name} has {info.quantization.name} weights that float16 cannot"
                    " hold: give a file in Q8_0"
                )
            rows = halves.view(np.uint8)
        raw = Tensor(rows, device=device).realize()
        planes = [plane.contiguous() for plane in form.planes(raw)]
        Tensor.realize(*planes)
        # Until then tinygrad's CUDA keeps what it copied in the host's memory, matrix after matrix.
        Device[device].synchronize()
        return cls(planes, form, (rows.shape[0], info.shape[-1]))

    @property
    def nbytes(self) -> int:
        """What one product with it reads."""
        return sum(int(plane.nbytes()) for plane in self.planes)

    def __call__(self, x: Tensor, residual: Tensor | None = None, *, gated: bool = False) -> Tensor:
        """`x` (T, K) in float32 times the transpose, plus `residual` (T, N): (T, N) in float32.

        With `gated` (T, N / 2): the SiLU of the upper rows' values times the lower ones', as in
        SwiGLU (arXiv:2002.05202). On a GPU several rows at once go through tensor cores, in
        float16 with float32 sums: values of `x` beyond 65504 become infinite there.
        """
        if runs_c(x.device):
            return product(x, self.planes, self.form, residual, gated)
        (n, k), gpu = self.shape, is_gpu(x.device)
        if gpu and fits(n, k, self.form, x.shape[0]):
            if not gated or x.shape[0] == 1:
                return matvec(x, self.planes, self.form, residual, gated)
            y = _gated(matvec(x, self.planes, self.form))
            return y if residual is None else (y + residual).contiguous()
        dtype, count = dtypes.float16 if gpu else dtypes.float32, x.shape[0]
        if gpu:  # to whole tiles
            x = x.pad(((0, -count % M), (0, 0)))
        x = x.cast(dtype).contiguous()
        # After `x`: else tinygrad expands every matrix of a model first, and holds them together.
        planes = [Tensor(plane.uop.after(x.uop)) for plane in self.planes]
        weight = self.form.expand(planes).cast(dtype)
        if gpu and choose(x, weight):
            y = gemm(x, weight, dtypes.float32)
        else:
            y = x.dot(weight.T, dtype=dtypes.float32)
        y = y[:count]
        if gated:
            y = _gated(y)
        if residual is not None:
            return (y + residual).contiguous()
        return y if gated or count == x.shape[0] else y.contiguous()

    def rows(self, indices: Tensor) -> Tensor:
        """The rows at `indices` (T): (T, K) in float32."""
        return self.form.expand([plane[indices] for plane in self.planes]).float()


def _gated(y: Tensor) -> Tensor:
    gate, up = y.chunk(2, dim=1)
    return (gate.silu() * up).contiguous()
