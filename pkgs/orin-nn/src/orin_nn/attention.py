"""Attention of new tokens over a cache of keys and values.

The cache is paged (arXiv:2309.06180): a sequence holds pages anywhere in it, and sequences that
begin alike share some. One new token a sequence, as in decoding, goes through two kernels written
for it, flash-decoding (arXiv:2307.08691): every block of threads attends to one chunk of positions,
and the chunks are joined. Several tokens of one sequence are matrix products, which go through
tensor cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import log

from tinygrad import Tensor, dtypes
from tinygrad.dtype import AddrSpace
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.cpu import attention as cpu
from orin_nn.cpu.program import runs_c
from orin_nn.gpu import is_gpu

# Positions of a page, the piece in which the cache is given to sequences.
PAGE = 16
# Positions that one block of threads attends to: whole pages.
CHUNK = 64
# Loads that a thread has under way at once.
LOADS = 16
LOG2E = 1 / log(2)


@dataclass(frozen=True)
class Place:
    """Where N new tokens stand: one in each of S = N sequences, or all of them in one, S = 1.

    A sequence's context, its first positions, is P pages, whose chunks are whole.
    """

    rows: Tensor  # (N, 3) int32: each token, its position, and its place in the cache
    pages: Tensor  # (S, P) int32: the pages of the cache that hold each sequence
    table: Tensor  # (2, positions, head_dim / 2): cosines and sines of every position
    rope: Tensor  # (2, N, head_dim / 2): those of the tokens

    @property
    def context(self) -> int:
        return int(self.pages.shape[1]) * PAGE


def attend(q: Tensor, cache: Tensor, place: Place) -> Tensor:
    """Attention of `q` (N, heads, d), scaled, over `cache` (2, kv_heads, pages * PAGE, d).

    (N, heads * d) in float32. A query sees what stands before it in its sequence, and itself.
    """
    rows, heads, head_dim = q.shape
    sequences, context = place.pages.shape[0], place.context
    if sequences == rows and is_gpu(q.device) and head_dim % CHUNK == 0:
        return _decode(q, cache, place)
    if runs_c(q.device) and head_dim % cpu.LANES == 0:
        return cpu.attend(q, cache, place.rows, place.pages, PAGE)
    kv_heads, device = cache.shape[1], q.device
    dtype = cache.dtype if is_gpu(device) else dtypes.float32
    offsets = Tensor.arange(PAGE, dtype=dtypes.int32, device=device)
    slots = (place.pages.unsqueeze(-1) * PAGE + offsets).reshape(-1)
    held = cache[:, :, slots].cast(dtype).contiguous()
    keys, values = held.reshape(2, kv_heads, sequences, context, head_dim)
    # The queries of one group and sequence share their keys: (kv_heads, S, queries, d).
    grouped = q.cast(dtype).reshape(sequences, rows // sequences, kv_heads, -1, head_dim)
    grouped = grouped.permute(2, 0, 1, 3, 4).reshape(kv_heads, sequences, -1, head_dim).contiguous()
    scores = grouped.dot(keys.transpose(2, 3), dtype=dtypes.float32)
    seen = Tensor.arange(context, dtype=dtypes.int32, device=device) <= place.rows[:, 1:2]
    seen = seen.reshape(sequences, -1, 1, context).expand(-1, -1, heads // kv_heads, -1)
    visible = seen.reshape(sequences, -1, context)
    weights = visible.where(scores, -float("inf")).softmax(-1).cast(dtype).contiguous()
    out = weights.dot(values, dtype=dtypes.float32)
    out = out.reshape(kv_heads, sequences, -1, heads // kv_heads, head_dim).permute(1, 2, 0, 3, 4)
    return out.reshape(rows, -1).contiguous()


def remember(cache: UOp, new: UOp, rows: UOp) -> UOp:
    """The kernel that puts keys and values `new` (2, kv_heads, N, d) where `rows` (N, 3) say."""
    kind, head, row, i = (UOp.range(size, axis) for axis, size in enumerate(new.shape))
    slot = _within(rows[row, 2], cache.shape[2])
    stored = cache[kind, head, slot, i].store(new[kind, head, row, i])
    return stored.end(kind, head, row, i).sink(arg=KernelInfo(name="remember"))


def _decode(q: Tensor, cache: Tensor, place: Place) -> Tensor:
    rows, heads, head_dim = q.shape
    size = rows, place.context // CHUNK, heads, head_dim + 2
    parts = Tensor.empty(*size, dtype=dtypes.float32, device=q.device)
    inputs = q.contiguous(), cache, place.rows, place.pages
    parts = parts.custom_kernel(*inputs, fxn=partial_attention)[0]
    out = Tensor.empty(rows, heads * head_dim, dtype=dtypes.float32, device=q.device)
    return out.custom_kernel(parts, fxn=join)[0]


def enter(
    q: UOp, cache: UOp, qkv: UOp, table: UOp, rows: UOp, *norms: UOp, pairs: bool, eps: float
) -> UOp:
    """The kernel that new tokens enter by: queries into q (N, heads, d), rotated and scaled by
    1/sqrt(d), keys and values into the cache (2, kv_heads, pages * PAGE, d).

    `qkv` (N, (heads + 2 kv_heads) * d) are the products; `norms`, if any, the weights (d) of the
    queries' and the keys' RMSNorm. With `pairs` neighbours are rotated, else the halves of a head.
    """
    tokens, heads, head_dim = q.shape
    kv_heads, half = cache.shape[1], head_dim // 2
    axis = _axes()
    row = axis(tokens, AxisType.GLOBAL)
    # Queries, keys and values are heads one after the other.
    head, i = axis(heads + 2 * kv_heads, AxisType.GLOBAL), axis(half, AxisType.LOCAL)
    is_query, is_value = head < heads, head >= heads + kv_heads
    places = (i * 2, i * 2 + 1) if pairs else (i, i + half)
    a, b = values = tuple(qkv[row, head * head_dim + place] for place in places)
    if norms:
        each = axis(head_dim, AxisType.REDUCE)
        whole = qkv[row, head * head_dim + each]
        scale = ((whole * whole).reduce(each, arg=Ops.ADD) * (1 / head_dim) + eps).rsqrt()
        a, b = (
            value * scale * is_query.where(norms[0][place], norms[1][place])
            for value, place in zip(values, places, strict=True)
        )
    position, at = _within(rows[row, 1], table.shape[1]), _within(rows[row, 2], cache.shape[2])
    cosine, sine = table[0, position, i], table[1, position, i]
    rotated = a * cosine - b * sine, b * cosine + a * sine
    stored = []
    for place, value, turned in zip(places, values, rotated, strict=True):
        stored.append(q[row, head.valid(is_query), place].store(turned * head_dim**-0.5))
        slot = (head - heads).valid(head >= heads)
        kept = is_value.where(value, turned).cast(cache.dtype.base)
        stored.append(cache[slot // kv_heads, slot % kv_heads, at, place].store(kept))
    ended = UOp.group(*stored).end(row, head, i)
    return ended.sink(arg=KernelInfo(name="enter", opts_to_apply=()))


def partial_attention(parts: UOp, q: UOp, cache: UOp, rows: UOp, pages: UOp) -> UOp:
    """parts (N, chunks, heads, d + 2) of q (N, heads, d) over each chunk of its sequence's pages of
    cache (2, kv_heads, n, d).

    The first d are the chunk's values, weighted; then the maximum of its scores, and the weights'
    sum. A chunk wholly in the future has a maximum of -1e30, so that it weighs nothing.
    """
    tokens, chunks, heads, _ = parts.shape
    kv_heads, head_dim = cache.shape[1], cache.shape[3]
    group, sides, of_chunk = heads // kv_heads, head_dim // CHUNK, CHUNK // PAGE
    axis = _axes()
    row, chunk = axis(tokens, AxisType.GLOBAL), axis(chunks, AxisType.GLOBAL)
    kv_head = axis(kv_heads, AxisType.GLOBAL)
    # A thread for each value: first it is a share of a position's score, then a component. Axes
    # of their own for page and place, since tinygrad divides an index badly.
    page, offset = axis(of_chunk, AxisType.LOCAL), axis(PAGE, AxisType.LOCAL)
    side = axis(sides, AxisType.LOCAL)
    query, other = axis(group, AxisType.UPCAST), axis(group, AxisType.UPCAST)
    lane, position = page * PAGE + offset, rows[row, 1].cast(dtypes.weakint)

    def slot(page: UOp, offset: UOp) -> UOp:
        held = _within(pages[row, chunk * of_chunk + page], cache.shape[2] // PAGE)
        return held * PAGE + offset

    # A thread waits for sixteen loads at once: for four at a time the same took twice as long.
    step, load = axis(CHUNK // LOADS, AxisType.REDUCE), axis(LOADS, AxisType.UNROLL)
    i = side * CHUNK + step * LOADS + load
    key = cache[0, kv_head, slot(page, offset), i].cast(dtypes.float32)
    score = (q[row, kv_head * group + query, i] * key).reduce(step, load, arg=Ops.ADD)
    shared = UOp.placeholder((group, sides, CHUNK), dtypes.float32, 0, AddrSpace.LOCAL)
    shared = shared.after(shared[query, side, lane].store(score).end(query).barrier())

    def scores(key: UOp) -> UOp:
        """The score of the chunk's position `key` in base 2, whose powers are an instruction."""
        whole = sum((shared[other, part, key] for part in range(1, sides)), shared[other, 0, key])
        return (chunk * CHUNK + key <= position).where(whole * LOG2E, -1e30)

    step, load = axis(CHUNK // LOADS, AxisType.REDUCE), axis(LOADS, AxisType.UNROLL)
    largest = scores(step * LOADS + load).reduce(step, load, arg=Ops.MAX)
    each, load = axis(of_chunk, AxisType.REDUCE), axis(PAGE, AxisType.UNROLL)
    # Of a chunk in the future every weight would be 1.
    weight = (scores(each * PAGE + load) - largest.maximum(-1e29)).exp2()
    component = lane * sides + side
    value = cache[1, kv_head, slot(each, load), component].cast(dtypes.float32)
    head = kv_head * group + other
    stored = (
        parts[row, chunk, head, component].store((weight * value).reduce(each, load, arg=Ops.ADD)),
        parts[row, chunk, head, head_dim].store(largest),
        parts[row, chunk, head, head_dim + 1].store(weight.reduce(each, load, arg=Ops.ADD)),
    )
    ended = UOp.group(*stored).end(row, chunk, kv_head, page, offset, side, other)
    return ended.sink(arg=KernelInfo(name="partial_attention", opts_to_apply=()))


def join(out: UOp, parts: UOp) -> UOp:
    """out (N, heads * d) of what `partial_attention` left of each chunk."""
    tokens, chunks, heads, width = parts.shape
    head_dim = width - 2
    axis = _axes()
    row, head = axis(tokens, AxisType.GLOBAL), axis(heads, AxisType.GLOBAL)
    lane = axis(head_dim, AxisType.LOCAL)
    if chunks == 1:  # over an axis of one place tinygrad does not reduce
        total, sums = parts[row, 0, head, lane], parts[row, 0, head, head_dim + 1]
    else:
        chunk = axis(chunks, AxisType.REDUCE)
        largest = parts[row, chunk, head, head_dim].reduce(chunk, arg=Ops.MAX)
        chunk = axis(chunks, AxisType.REDUCE)
        weight = (parts[row, chunk, head, head_dim] - largest).exp2()
        total = (weight * parts[row, chunk, head, lane]).reduce(chunk, arg=Ops.ADD)
        sums = (weight * parts[row, chunk, head, head_dim + 1]).reduce(chunk, arg=Ops.ADD)
    stored = out[row, head * head_dim + lane].store(total / sums).end(row, head, lane)
    return stored.sink(arg=KernelInfo(name="join_attention", opts_to_apply=()))


def _within(value: UOp, size: int) -> UOp:
    """`value` as an index of an axis of `size`. Of one that could be anything tinygrad computes the
    place in 64 bits, with a division for every load, and joins no loads."""
    return value.maximum(0).minimum(size - 1).cast(dtypes.weakint)


def _axes() -> Callable[[int, AxisType], UOp]:
    ids = count()
    return lambda size, kind: UOp.range(size, next(ids), kind)
