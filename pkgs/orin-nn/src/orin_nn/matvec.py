"""A matrix times a vector, the operation that decoding a token consists of, bound by memory.

tinygrad's optimizer gives a quantized product a thread a row, with loads of single bytes. Here a
warp reads a row's bytes together, each thread eight or sixteen of them at a time.
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
    x: Tensor, planes: Sequence[Tensor], form: Format, residual: Tensor | None = None
) -> Tensor:
    """The matrix stored in `planes` (N, K) times `x` (K) in float32, plus `residual` (N).

    (N) in float32. Raises ValueError where the shape does not divide into warps: see `fits`.
    """
    n, k = planes[0].shape[0], x.shape[0]
    if not fits(n, k, form):
        raise ValueError(f"a product of {n} by {k} in {form.name} does not divide into warps")
    out = Tensor.empty(n, dtype=dtypes.float32, device=x.device)
    added = [] if residual is None else [residual]

    def build(y: UOp, x: UOp, *rest: UOp) -> UOp:
        return kernel(y, x, rest[: len(planes)], rest[len(planes) :], form)

    return out.custom_kernel(x, *planes, *added, fxn=build)[0]


def fits(n: int, k: int, form: Format) -> bool:
    return _groups(k, form) > 0 and n % _rows_at_once(k, form) == 0


def kernel(y: UOp, x: UOp, planes: Sequence[UOp], residual: Sequence[UOp], form: Format) -> UOp:
    """y (N) = planes (N, K) times x (K), plus the residual if there is one."""
    n, k = y.shape[0], x.shape[0]
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
    row = axis(ROWS, AxisType.UPCAST)
    step = axis(steps // unroll, AxisType.REDUCE)
    load = axis(unroll, AxisType.UNROLL)

    index = ((block * WARPS + warp) * _rows_a_warp(k, form) + side) * ROWS + row
    part = (step * unroll + load) * groups + group
    place = Place(index, part, threads, lambda size: axis(size, AxisType.UNROLL))
    terms = form.terms(planes, x, place)
    total = terms.reduce(step, group, *threads, load, arg=Ops.ADD)
    for added in residual:
        total = total + added[index]
    name = f"matvec_{form.name.lower()}_{n}_{k}"
    stored = y[index].store(total).end(block, side, warp, row)
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
