"""Matrix products on a CPU, over weights as they are stored.

tinygrad's own kernel adds up one product after the other and expands a quantized matrix value by
value: of 25 GB/s it reads 1. Here vectors of the processor's width take a row's neighbours, every
weight is read and expanded once for several vectors, and the rows are shared among the cores.
"""

from collections.abc import Sequence

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import UOp

from orin_nn.cpu.program import program
from orin_nn.formats import Format


def product(
    x: Tensor,
    planes: Sequence[Tensor],
    form: Format,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """`x` (T, K) times the transpose of the matrix stored in `planes` (N, K): (T, N), in float32.

    `residual` (T, N) is added. With `gated` the upper half of the rows passes through SiLU and
    multiplies the lower, as in SwiGLU (arXiv:2002.05202): (T, N / 2).
    """
    (t, k), n = x.shape, planes[0].shape[0]
    out = Tensor.empty(t, n // 2 if gated else n, dtype=dtypes.float32, device=x.device)
    defined = {form.name: 1, "T": t, "N": n, "K": k}
    defined |= {"GATED": 1} if gated else {}
    defined |= {} if residual is None else {"RESIDUAL": 1}

    def build(*buffers: UOp) -> UOp:
        return program("product", buffers, defined, t * n * k)

    added = [] if residual is None else [residual]
    return out.custom_kernel(x, *planes, *added, fxn=build)[0]
