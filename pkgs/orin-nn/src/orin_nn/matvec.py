"""A matrix times a few vectors, the operation that decoding consists of, bound by memory.

tinygrad's optimizer gives a quantized product a thread a row, with loads of single bytes. Here a
warp reads a row's bytes together, each thread eight or sixteen of them at a time. What follows the
product in a transformer is done within it, since a launch takes as long as reading megabytes.
Several vectors, one of each sequence that is decoded, share the matrix as it passes by.
"""

from collections.abc import Sequence
from itertools import count
from math import prod

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.formats import Format, Place

# Rows that a warp computes at once, since they share the vectors' loads, for one vector and for
# several, and warps of a block. Measured on an H200 at 3072 by 3072, float16, microseconds: for one
# vector 1 row 7.9, 2 rows 7.8, 4 rows 11.2; for eight 22.3, 13.6 and 12.2.
ROWS, MORE_ROWS, WARPS = 2, 4, 4
# Vectors that a warp multiplies by a row at once: beyond that the sums leave too few registers.
COLUMNS = 8
# So many vectors cost no less than tensor cores do: a quantized matrix would first be expanded for
# those, float16 is as they take it. For eight an H200 takes 12.2 us as above, and 7.7 with them.
LARGEST, LARGEST_F16 = 16, 7
# One vector's float16 keeps four loads in flight a thread: a row's bytes are more than a quantized
# one's.
UNROLL = {"F16": 4}


def matvec(
    x: Tensor,
    planes: Sequence[Tensor],
    form: Format,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """The matrix stored in `planes` (N, K) times each of `x` (T, K): (T, N), all in float32.

    `residual` (T, N) is added. With `gated`, which takes a single vector, the upper half of the
    rows passes through SiLU and multiplies the lower, as in SwiGLU (arXiv:2002.05202): (1, N / 2).
    Raises ValueError where the shape does not divide into warps: see `fits`.
    """
    n, (vectors, k) = planes[0].shape[0], x.shape
    if not fits(n, k, form, vectors):
        raise ValueError(
            f"{n} by {k} in {form.name} times {vectors} vectors does not divide into warps"
        )
    out = Tensor.empty(vectors, n // 2 if gated else n, dtype=dtypes.float32, device=x.device)
    added = [] if residual is None else [residual]

    def build(y: UOp, x: UOp, *rest: UOp) -> UOp:
        return kernel(y, x, rest[: len(planes)], form, rest[len(planes) :], gated)

    return out.custom_kernel(x, *planes, *added, fxn=build)[0]


def fits(n: int, k: int, form: Format, vectors: int = 1) -> bool:
    if vectors > (LARGEST_F16 if form.name == "F16" else LARGEST):
        return False
    if vectors > COLUMNS and vectors % COLUMNS:
        return False
    return _groups(k, form) > 0 and n % _rows_at_once(k, form, vectors) == 0


def kernel(
    y: UOp, x: UOp, planes: Sequence[UOp], form: Format, residual: Sequence[UOp], gated: bool
) -> UOp:
    """The kernel of `matvec`."""
    n, (vectors, k) = planes[0].shape[0], x.shape
    columns = min(vectors, COLUMNS)
    ids = count()

    def axis(size: int, kind: AxisType) -> UOp:
        return UOp.range(size, next(ids), kind)

    groups = _groups(k, form)
    steps = k // form.part // groups
    unroll = UNROLL.get(form.name, 1) if vectors == 1 else 1
    while steps % unroll:
        unroll //= 2
    several = axis(vectors // columns, AxisType.GLOBAL)
    block = axis(n // _rows_at_once(k, form, vectors), AxisType.GLOBAL)
    # Axes of their own, since a product of axes that is divided again would not be summed. The
    # last comes first, so that a warp's neighbouring threads read neighbouring values of `x`.
    threads = [axis(size, AxisType.GROUP_REDUCE) for size in reversed(form.threads)][::-1]
    group = axis(groups, AxisType.GROUP_REDUCE)
    side = axis(_rows_a_warp(k, form), AxisType.LOCAL)
    warp = axis(WARPS, AxisType.LOCAL)
    step = axis(steps // unroll, AxisType.REDUCE)
    load = axis(unroll, AxisType.UNROLL)
    part = (step * unroll + load) * groups + group
    each = axis(columns, AxisType.UPCAST)
    column = several * columns + each

    def product(row: UOp) -> UOp:
        place = Place(row, part, threads, lambda size: axis(size, AxisType.UNROLL))
        terms = form.terms(planes, lambda i: x[column, i], place)
        return terms.reduce(step, group, *threads, load, arg=Ops.ADD)

    # A warp's rows are neighbours, or a gate and what it opens for.
    outputs = _rows(vectors) // (1 + gated)
    row = axis(outputs, AxisType.UPCAST)
    index = ((block * WARPS + warp) * _rows_a_warp(k, form) + side) * outputs + row
    total = product(index)
    if gated:
        total = total * (1 + (-total).exp()).reciprocal() * product(index + n // 2)
    for added in residual:
        total = total + added[column, index]
    name = f"matvec_{form.name.lower()}_{vectors}_{n}_{k}"
    stored = y[column, index].store(total).end(several, block, side, warp, each, row)
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


def _rows(vectors: int) -> int:
    return ROWS if vectors == 1 else MORE_ROWS


def _rows_at_once(k: int, form: Format, vectors: int) -> int:
    return _rows(vectors) * WARPS * _rows_a_warp(k, form)
