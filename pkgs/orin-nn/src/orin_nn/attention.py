"""Attention of new tokens over a cache of keys and values.

One token at a time, as in decoding, goes through two kernels written for it, flash-decoding
(arXiv:2307.08691): every block of threads attends to one chunk of positions, and the chunks are
joined. Several at once are matrix products, which go through tensor cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import log

from tinygrad import Tensor, dtypes
from tinygrad.dtype import AddrSpace
from tinygrad.uop.ops import AxisType, KernelInfo, Ops, UOp

from orin_nn.gpu import is_gpu

# Positions that one block of threads attends to.
CHUNK = 64
LOG2E = 1 / log(2)


@dataclass(frozen=True)
class Place:
    """Where T new tokens stand among the first `context` positions, a multiple of CHUNK."""

    position: Tensor  # (1) int32: of the first of them
    context: int
    table: Tensor  # (2, positions, head_dim / 2): cosines and sines of every position
    rope: Tensor  # (2, T, head_dim / 2): those of the tokens


def attend(q: Tensor, cache: Tensor, place: Place) -> Tensor:
    """Attention of `q` (heads, T, d), scaled, over `cache` (2, kv_heads, positions, d).

    (T, heads * d) in float32. A query sees what stands before it and itself.
    """
    tokens, head_dim = q.shape[1:]
    if tokens == 1 and is_gpu(q.device) and head_dim % CHUNK == 0:
        return _decode(q, cache, place)
    cache = cache[:, :, : place.context]
    kv_heads = cache.shape[1]
    dtype = cache.dtype if is_gpu(q.device) else dtypes.float32
    # The queries of one group share its keys: (kv_heads, queries, d).
    rows = q.cast(dtype).reshape(kv_heads, -1, head_dim).contiguous()
    scores = rows.dot(cache[0].cast(dtype).transpose(1, 2), dtype=dtypes.float32)
    keys = Tensor.arange(place.context, dtype=dtypes.int32, device=q.device)
    queries = place.position + Tensor.arange(tokens, dtype=dtypes.int32, device=q.device)
    visible = (keys <= queries.unsqueeze(1)).repeat(q.shape[0] // kv_heads, 1)
    weights = visible.where(scores, -float("inf")).softmax(-1).cast(dtype).contiguous()
    out = weights.dot(cache[1].cast(dtype), dtype=dtypes.float32)
    return out.reshape(-1, tokens, head_dim).transpose(0, 1).reshape(tokens, -1).contiguous()


def remember(cache: UOp, new: UOp, position: UOp) -> UOp:
    """The kernel that puts keys and values `new` (2, kv_heads, T, d) into the cache."""
    kind, head, token, i = (UOp.range(size, axis) for axis, size in enumerate(new.shape))
    at = position[0].cast(dtypes.weakint) + token
    stored = cache[kind, head, at, i].store(new[kind, head, token, i])
    return stored.end(kind, head, token, i).sink(arg=KernelInfo(name="remember"))


def _decode(q: Tensor, cache: Tensor, place: Place) -> Tensor:
    heads, _, head_dim = q.shape
    chunks = place.context // CHUNK
    parts = Tensor.empty(chunks, heads, head_dim + 2, dtype=dtypes.float32, device=q.device)
    parts = parts.custom_kernel(q.contiguous(), cache, place.position, fxn=partial_attention)[0]
    out = Tensor.empty(1, heads * head_dim, dtype=dtypes.float32, device=q.device)
    return out.custom_kernel(parts, fxn=join)[0]


def enter(
    q: UOp, cache: UOp, qkv: UOp, rope: UOp, position: UOp, *norms: UOp, pairs: bool, eps: float
) -> UOp:
    """The kernel that a new token enters by: queries into q (heads, 1, d), rotated and scaled by
    1/sqrt(d), keys and values into the cache (2, kv_heads, positions, d).

    `qkv` (1, (heads + 2 kv_heads) * d) are the products; `norms`, if any, the weights (d) of the
    queries' and the keys' RMSNorm. With `pairs` neighbours are rotated, else the halves of a head.
    """
    heads, _, head_dim = q.shape
    kv_heads, half = cache.shape[1], head_dim // 2
    axis = _axes()
    # Queries, keys and values are heads one after the other.
    head, i = axis(heads + 2 * kv_heads, AxisType.GLOBAL), axis(half, AxisType.LOCAL)
    is_query, is_value = head < heads, head >= heads + kv_heads
    places = (i * 2, i * 2 + 1) if pairs else (i, i + half)
    a, b = values = tuple(qkv[0, head * head_dim + place] for place in places)
    if norms:
        each = axis(head_dim, AxisType.REDUCE)
        whole = qkv[0, head * head_dim + each]
        scale = ((whole * whole).reduce(each, arg=Ops.ADD) * (1 / head_dim) + eps).rsqrt()
        a, b = (
            value * scale * is_query.where(norms[0][place], norms[1][place])
            for value, place in zip(values, places, strict=True)
        )
    at = position[0].cast(dtypes.weakint)
    cosine, sine = rope[0, at, i], rope[1, at, i]
    rotated = a * cosine - b * sine, b * cosine + a * sine
    stored = []
    for place, value, turned in zip(places, values, rotated, strict=True):
        stored.append(q[head.valid(is_query), 0, place].store(turned * head_dim**-0.5))
        slot = (head - heads).valid(head >= heads)
        kept = is_value.where(value, turned).cast(cache.dtype.base)
        stored.append(cache[slot // kv_heads, slot % kv_heads, at, place].store(kept))
    return UOp.group(*stored).end(head, i).sink(arg=KernelInfo(name="enter", opts_to_apply=()))


def partial_attention(parts: UOp, q: UOp, cache: UOp, position: UOp) -> UOp:
    """parts (chunks, heads, d + 2) of q (heads, 1, d) over each chunk of cache (2, kv_heads, n, d).

    The first d are the chunk's values, weighted; then the maximum of its scores, and the weights'
    sum. A chunk wholly in the future has a maximum of -1e30, so that it weighs nothing.
    """
    chunks, heads, _ = parts.shape
    kv_heads, head_dim = cache.shape[1], cache.shape[3]
    group, sides = heads // kv_heads, head_dim // CHUNK
    axis = _axes()
    chunk, kv_head = axis(chunks, AxisType.GLOBAL), axis(kv_heads, AxisType.GLOBAL)
    # A thread for each value: first it is a share of a position's score, then a component.
    lane, side = axis(CHUNK, AxisType.LOCAL), axis(sides, AxisType.LOCAL)
    query, other = axis(group, AxisType.UPCAST), axis(group, AxisType.UPCAST)

    step, four = axis(CHUNK // 4, AxisType.REDUCE), axis(4, AxisType.UNROLL)
    i = side * CHUNK + step * 4 + four
    product = q[kv_head * group + query, 0, i] * cache[0, kv_head, chunk * CHUNK + lane, i].cast(
        dtypes.float32
    )
    score = product.reduce(step, four, arg=Ops.ADD)
    shared = UOp.placeholder((group, sides, CHUNK), dtypes.float32, 0, AddrSpace.LOCAL)
    shared = shared.after(shared[query, side, lane].store(score).end(query).barrier())

    def scores(key: UOp) -> UOp:
        """The score of the chunk's position `key` in base 2, whose powers are an instruction."""
        whole = sum((shared[other, part, key] for part in range(1, sides)), shared[other, 0, key])
        seen = chunk * CHUNK + key <= position[0].cast(dtypes.weakint)
        return seen.where(whole * LOG2E, -1e30)

    step, four = axis(CHUNK // 4, AxisType.REDUCE), axis(4, AxisType.UNROLL)
    largest = scores(step * 4 + four).reduce(step, four, arg=Ops.MAX)
    step, four = axis(CHUNK // 4, AxisType.REDUCE), axis(4, AxisType.UNROLL)
    key = step * 4 + four
    # Of a chunk in the future every weight would be 1.
    weight = (scores(key) - largest.maximum(-1e29)).exp2()
    component = lane * sides + side
    value = cache[1, kv_head, chunk * CHUNK + key, component].cast(dtypes.float32)
    head = kv_head * group + other
    stored = (
        parts[chunk, head, component].store((weight * value).reduce(step, four, arg=Ops.ADD)),
        parts[chunk, head, head_dim].store(largest),
        parts[chunk, head, head_dim + 1].store(weight.reduce(step, four, arg=Ops.ADD)),
    )
    ended = UOp.group(*stored).end(chunk, kv_head, lane, side, other)
    return ended.sink(arg=KernelInfo(name="partial_attention", opts_to_apply=()))


def join(out: UOp, parts: UOp) -> UOp:
    """out (1, heads * d) of what `partial_attention` left of each chunk."""
    chunks, heads, width = parts.shape
    head_dim = width - 2
    axis = _axes()
    head, lane = axis(heads, AxisType.GLOBAL), axis(head_dim, AxisType.LOCAL)
    if chunks == 1:  # over an axis of one place tinygrad does not reduce
        total, sums = parts[0, head, lane], parts[0, head, head_dim + 1]
    else:
        chunk = axis(chunks, AxisType.REDUCE)
        largest = parts[chunk, head, head_dim].reduce(chunk, arg=Ops.MAX)
        chunk = axis(chunks, AxisType.REDUCE)
        weight = (parts[chunk, head, head_dim] - largest).exp2()
        total = (weight * parts[chunk, head, lane]).reduce(chunk, arg=Ops.ADD)
        sums = (weight * parts[chunk, head, head_dim + 1]).reduce(chunk, arg=Ops.ADD)
    stored = out[0, head * head_dim + lane].store(total / sums).end(head, lane)
    return stored.sink(arg=KernelInfo(name="join_attention", opts_to_apply=()))


def _axes() -> Callable[[int, AxisType], UOp]:
    ids = count()
    return lambda size, kind: UOp.range(size, next(ids), kind)
