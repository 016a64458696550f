"""What stands between a transformer's matrix products, on a CPU: a kernel each.

tinygrad looks at every position of a graph's context, those yet to come too, and takes a kernel for
each step: next to a small model's products these were half of the time.
"""

from tinygrad import Tensor, dtypes
from tinygrad.uop.ops import UOp

from orin_nn.cpu.program import program

# Heads of whole vectors, the widest of which have 16 lanes.
LANES = 16


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm (arXiv:1910.07467) of the rows of `x` (N, K) in float32 with `weight` (K)."""
    n, k = x.shape
    out = Tensor.empty(n, k, dtype=dtypes.float32, device=x.device)
    defined = {"N": n, "K": k, "EPS": f"{eps}f"}

    def build(*buffers: UOp) -> UOp:
        return program("norm", buffers, defined, 2 * n * k)

    return out.custom_kernel(x, weight, fxn=build)[0]


def enter(
    q: UOp, cache: UOp, qkv: UOp, table: UOp, rows: UOp, *norms: UOp, pairs: bool, eps: float
) -> UOp:
    """The kernel that new tokens enter by, as `orin_nn.attention.enter` says."""
    (n, heads, d), (_, kv_heads, slots, _) = q.shape, cache.shape
    defined: dict[str, int | str] = {"N": n, "HEADS": heads, "KV_HEADS": kv_heads, "D": d}
    defined |= {"SLOTS": slots, "POSITIONS": table.shape[1], "PAIRS": int(pairs)}
    defined |= {"EPS": f"{eps}f"} if norms else {}
    buffers = q, cache, qkv, table, rows, *norms
    return program("enter", buffers, defined, 4 * n * (heads + 2 * kv_heads) * d, written=2)


def attend(q: Tensor, cache: Tensor, rows: Tensor, pages: Tensor, page: int) -> Tensor:
    """Attention of `q` (N, heads, d), scaled, over `cache` (2, kv_heads, slots, d), where `rows`
    (N, 3) and `pages` (S, P) say: (N, heads * d) in float32. `d` is a multiple of LANES."""
    (n, heads, d), (_, kv_heads, slots, _) = q.shape, cache.shape
    sequences, held = pages.shape
    out = Tensor.empty(n, heads * d, dtype=dtypes.float32, device=q.device)
    defined = {"N": n, "HEADS": heads, "KV_HEADS": kv_heads, "D": d, "SLOTS": slots}
    defined |= {"PAGE": page, "PAGES": held, "SEQUENCES": sequences}

    def build(*buffers: UOp) -> UOp:
        return program("attention", buffers, defined, n * heads * held * page * d)

    return out.custom_kernel(q, cache, rows, pages, fxn=build)[0]
