"""RMSNorm (arXiv:1910.07467)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count

from tinygrad import Tensor, dtypes
from tinygrad.dtype import AddrSpace
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.cpu import attention as cpu
from orin_nn.cpu.program import runs_c
from orin_nn.gpu import is_gpu

THREADS = 128
# Beyond so many rows tinygrad's own kernels fill the chip.
ROWS = 64


@dataclass(frozen=True)
class Norm:
    """RMSNorm over the last axis with `weight` (K)."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """`x` (..., K) in float32, normalized.

        Few rows (N, K) on a GPU take one kernel; tinygrad's two leave most of the chip idle.
        """
        k = x.shape[-1]
        if x.ndim == 2 and runs_c(x.device):
            return cpu.norm(x, self.weight, self.eps)
        # A row of one step would be summed over an axis of one place, which tinygrad refuses.
        divides = k % THREADS == 0 and k > THREADS
        if x.ndim == 2 and x.shape[0] <= ROWS and divides and is_gpu(x.device):
            out = Tensor.empty(*x.shape, dtype=dtypes.float32, device=x.device)
            build = partial(kernel, eps=self.eps)
            return out.custom_kernel(x, self.weight, fxn=build)[0]
        scale = (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return (x * scale * self.weight).contiguous()


def kernel(out: UOp, x: UOp, weight: UOp, eps: float) -> UOp:
    """The kernel of rows (N, K): every block takes a whole row's mean, and a part of it."""
    (rows, k), ids = x.shape, count()

    def axis(size: int, kind: AxisType) -> UOp:
        return UOp.range(size, next(ids), kind)

    row = axis(rows, AxisType.GLOBAL)
    block, thread = axis(k // THREADS, AxisType.GLOBAL), axis(THREADS, AxisType.LOCAL)
    step = axis(k // THREADS, AxisType.REDUCE)
    other, four = axis(THREADS // 4, AxisType.REDUCE), axis(4, AxisType.UNROLL)
    value = x[row, step * THREADS + thread]
    shared = UOp.placeholder((THREADS,), dtypes.float32, 0, AddrSpace.LOCAL)
    squares = (value * value).reduce(step, arg=Ops.ADD)
    shared = shared.after(shared[thread].store(squares).barrier())
    mean = shared[other * 4 + four].reduce(other, four, arg=Ops.ADD) * (1 / k)
    index = block * THREADS + thread
    normal = x[row, index] * (mean + eps).rsqrt() * weight[index]
    stored = out[row, index].store(normal).end(row, block, thread)
    return stored.sink(arg=KernelInfo(name=f"rms_norm_{k}", opts_to_apply=()))
