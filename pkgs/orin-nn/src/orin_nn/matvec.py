"""A matrix times a vector, the operation that decoding a token consists of, bound by memory.

tinygrad's optimizer gives a quantized product a thread a row, with loads of single bytes. Here a
warp reads a row's bytes together, each thread eight or sixteen of them at a time. What stands
before and after the product in a transformer is done within it, since a kernel's launch takes as
long as reading four megabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.formats import Format, Place

# Rows that a warp computes at once, since they share the vector's loads, and warps of a block.
# Measured on an H200 at 3072 by 3072, float16, microseconds: 1 row 7.9, 2 rows 7.8, 4 rows 11.2.
ROWS, WARPS = 2, 4
# float16 keeps four loads in flight a thread: a row's bytes are more than a quantized one's.
UNROLL = {"F16": 4}


@dataclass(frozen=True)
class Norm:
    """RMSNorm over the last axis (arXiv:1910.07467) with `weight` (K)."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


def matvec(
    x: Tensor,
    planes: Sequence[Tensor],
    form: Format,
    norm: Norm | None = None,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """The matrix stored in `planes` (N, K) times `x` (1, K), which `norm` is applied to first.

    (1, N) in float32, `residual` (1, N) added. With `gated` the upper half of the rows passes
    through SiLU and multiplies the lower, as in SwiGLU (arXiv:2002.05202): (1, N / 2).
    Raises ValueError where the shape does not divide into warps: see `fits`.
    """
    n, k = planes[0].shape[0], x.shape[1]
    if not fits(n, k, form):
        raise ValueError(f"a product of {n} by {k} in {form.name} does not divide into warps")
    out = Tensor.empty(1, n // 2 if gated else n, dtype=dtypes.float32, device=x.device)
    inputs = [
        x,
        *planes,
        *([norm.weight] if norm else []),
        *([residual] if residual is not None else []),
    ]
    eps = norm.eps if norm else None

    def build(y: UOp, x: UOp, *rest: UOp) -> UOp:
        stored, others = rest[: len(planes)], list(rest[len(planes) :])
        weight = others.pop(0) if norm else None
        return kernel(y, x, stored, form, weight, eps, others.pop() if others else None, gated)

    return out.custom_kernel(*inputs, fxn=build)[0]


def fits(n: int, k: int, form: Format) -> bool:
    return _groups(k, form) > 0 and n % _rows_at_once(k, form) == 0


def fits_norm(k: int, form: Format) -> bool:
    """Whether a norm can be applied within the product."""
    return k % _squares(k, form) == 0


def kernel(
    y: UOp,
    x: UOp,
    planes: Sequence[UOp],
    form: Format,
    weight: UOp | None,
    eps: float | None,
    residual: UOp | None,
    gated: bool,
) -> UOp:
    """The kernel of `matvec`, with `weight` and `eps` of the norm."""
    n, k = planes[0].shape[0], x.shape[1]
    ids = count()

    def axis(size: int, kind: AxisType) -> UOp:
        return UOp.range(size, next(ids), kind)

    groups = _groups(k, form)
    steps = k // form.part // groups
    unroll = UNROLL.get(form.name, 1)
    while steps % unroll:
        unroll //= 2
    block = axis(n // _rows_at_once(k, form), AxisType.GLOBAL)
    # Axes of their own, since a product of axes that is divided again would not be summed.
    group = axis(groups, AxisType.GROUP_REDUCE)
    threads = [axis(size, AxisType.GROUP_REDUCE) for size in form.threads]
    side = axis(_rows_a_warp(k, form), AxisType.LOCAL)
    warp = axis(WARPS, AxisType.LOCAL)
    step = axis(steps // unroll, AxisType.REDUCE)
    load = axis(unroll, AxisType.UNROLL)
    axes = step, group, *threads, load
    part = (step * unroll + load) * groups + group

    def vector(i: UOp) -> UOp:
        return x[0, i] if weight is None else x[0, i] * weight[i]

    def product(index: UOp) -> UOp:
        """A row's product with the normalized vector."""
        place = Place(index, part, threads, lambda size: axis(size, AxisType.UNROLL))
        return form.terms(planes, vector, place).reduce(*axes, arg=Ops.ADD) * scale

    scale: UOp | float = 1.0
    if eps is not None:
        # Every warp takes the mean anew: it has the vector at hand, and a kernel costs more.
        rounds, four = axis(k // _squares(k, form), AxisType.REDUCE), axis(4, AxisType.UNROLL)
        # Unrolled axes in between keep tinygrad from merging those of the threads into one.
        between = [axis(2, AxisType.UNROLL) for _ in (group, *threads)]
        at = rounds
        for two, thread in zip(between, (group, *threads), strict=True):
            at = (at * 2 + two) * (thread.vmax + 1) + thread
        value = x[0, at * 4 + four]
        squares = (value * value).reduce(rounds, group, *threads, four, *between, arg=Ops.ADD)
        scale = (squares * (1 / k) + eps).rsqrt()

    first = (block * WARPS + warp) * _rows_a_warp(k, form) + side
    if gated:  # a warp's two rows are a gate and what it opens for
        index, ended = first, []
        gate = product(first)
        total = gate * (1 + (-gate).exp()).reciprocal() * product(first + n // 2)
    else:  # or neighbours
        row = axis(ROWS, AxisType.UPCAST)
        index, ended = first * ROWS + row, [row]
        total = product(index)
    if residual is not None:
        total = total + residual[0, index]
    name = f"matvec_{form.name.lower()}_{n}_{k}"
    stored = y[0, index].store(total).end(block, side, warp, *ended)
    return stored.sink(arg=KernelInfo(name=name, opts_to_apply=()))


def _groups(k: int, form: Format) -> int:
    """Parts of a row that a warp takes at once, 0 where none fits."""
    groups = 32 // prod(form.threads)
    while groups and k % (form.part * groups):
        groups //= 2
    return groups


def _squares(k: int, form: Format) -> int:
    """Values that a warp squares at once for the norm."""
    return 8 * max(1, _groups(k, form)) * prod(2 * size for size in form.threads)


def _rows_a_warp(k: int, form: Format) -> int:
    """Several short rows share a warp."""
    return 32 // (max(1, _groups(k, form)) * prod(form.threads))


def _rows_at_once(k: int, form: Format) -> int:
    return ROWS * WARPS * _rows_a_warp(k, form)
