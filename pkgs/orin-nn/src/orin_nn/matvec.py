"""A matrix times a vector, the operation that decoding a token consists of, bound by memory.

tinygrad's optimizer gives a quantized product a thread a row, with loads of single bytes. Here a
warp reads a row's bytes together, each thread eight or sixteen of them at a time. What follows the
product in a transformer is done within it, since a launch takes as long as reading megabytes.
"""

from collections.abc import Sequence
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


def matvec(
    x: Tensor,
    planes: Sequence[Tensor],
    form: Format,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """The matrix stored in `planes` (N, K) times `x` (1, K): (1, N), all in float32.

    `residual` (1, N) is added. With `gated` the upper half of the rows passes through SiLU and
    multiplies the lower, as in SwiGLU (arXiv:2002.05202): (1, N / 2). Raises ValueError where the
    shape does not divide into warps: see `fits`.
    """
    n, k = planes[0].shape[0], x.shape[1]
    if not fits(n, k, form):
        raise ValueError(f"a product of {n} by {k} in {form.name} does not divide into warps")
    out = Tensor.empty(1, n // 2 if gated else n, dtype=dtypes.float32, device=x.device)
    added = [] if residual is None else [residual]

    def build(y: UOp, x: UOp, *rest: UOp) -> UOp:
        return kernel(y, x, rest[: len(planes)], form, rest[len(planes) :], gated)

    return out.custom_kernel(x, *planes, *added, fxn=build)[0]


def fits(n: int, k: int, form: Format) -> bool:
    return _groups(k, form) > 0 and n % _rows_at_once(k, form) == 0


def kernel(
    y: UOp, x: UOp, planes: Sequence[UOp], form: Format, residual: Sequence[UOp], gated: bool
) -> UOp:
    """The kernel of `matvec`."""
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
    # Axes of their own, since a product of axes that is divided again would not be summed. The
    # last comes first, so that a warp's neighbouring threads read neighbouring values of `x`.
    threads = [axis(size, AxisType.GROUP_REDUCE) for size in reversed(form.threads)][::-1]
    group = axis(groups, AxisType.GROUP_REDUCE)
    side = axis(_rows_a_warp(k, form), AxisType.LOCAL)
    warp = axis(WARPS, AxisType.LOCAL)
    step = axis(steps // unroll, AxisType.REDUCE)
    load = axis(unroll, AxisType.UNROLL)
    part = (step * unroll + load) * groups + group

    def product(row: UOp) -> UOp:
        place = Place(row, part, threads, lambda size: axis(size, AxisType.UNROLL))
        terms = form.terms(planes, lambda i: x[0, i], place)
        return terms.reduce(step, group, *threads, load, arg=Ops.ADD)

    first = (block * WARPS + warp) * _rows_a_warp(k, form) + side
    if gated:  # a warp's two rows are a gate and what it opens for
        index, ended = first, []
        gate = product(first)
        total = gate * (1 + (-gate).exp()).reciprocal() * product(first + n // 2)
    else:  # or neighbours
        row = axis(ROWS, AxisType.UPCAST)
        index, ended = first * ROWS + row, [row]
        total = product(index)
    for added in residual:
        total = total + added[0, index]
    name = f"matvec_{form.name.lower()}_{n}_{k}"
    stored = y[0, index].store(total).end(block, side, warp, *ended)
    return stored.sink(arg=KernelInfo(name=name, opts_to_apply=()))


def _groups(k: int, form: Format) -> int:
    """Parts of a row that a warp takes at once, 0 where none fits."""
    groups = 32 // prod(form.threads)
    while groups and k % (form.part * groups):
        groups //= 2
    return groups


def _rows_a_warp(k: int, form: Format) -> int:
    """Several short rows share a warp."""
    return 32 // (max(1, _groups(k, form)) * prod(form.threads))


def _rows_at_once(k: int, form: Format) -> int:
    return ROWS * WARPS * _rows_a_warp(k, form)
