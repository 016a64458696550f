"""What an operation takes in arithmetic, and the fewest bytes it moves.

A multiply-accumulate is two operations. Of an exponential, a division and a square root each is
one. The bytes are those that have to pass between memory and chip: every input is read once, every
result written once, and whatever stands in between stays on the chip. A width is the bytes of one
value.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Arithmetic operations, and bytes read and written."""

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.bytes


def matmul(m: int, n: int, k: int, width: int, result_width: int) -> Work:
    """(m, k) by (k, n): each of m n results sums k products."""
    return Work(2 * m * n * k, (m * k + n * k) * width + m * n * result_width)


def conv2d(
    images: int, channels: int, filters: int, size: int, kernel: int, width: int, result_width: int
) -> Work:
    """A convolution of `images` squares of `size` that keeps their size (stride 1, padded).

    Each of images * filters * size^2 results sums channels * kernel^2 products. Those with the
    padding count, as everywhere in the literature: 2 % of a 3x3 kernel's at size 56, 9 % at 14.
    """
    results = images * filters * size**2
    inputs = images * channels * size**2
    weights = filters * channels * kernel**2
    return Work(
        2 * results * channels * kernel**2, (inputs + weights) * width + results * result_width
    )


def attention(
    heads: int, kv_heads: int, head_dim: int, queries: int, context: int, width: int
) -> Work:
    """Causal attention of the last `queries` of `context` positions, of every query to its past.

    Query i (from 0) sees context - queries + i + 1 keys, together
    queries (context - queries) + queries (queries + 1) / 2. Each such pair takes head_dim
    multiply-accumulates for its score and as many for its value, in every head; the softmax does
    not count, as in FlashAttention's figures (arXiv:2205.14135). Queries are read and results
    written in `heads`, keys and values read in `kv_heads`.
    """
    pairs = queries * (context - queries) + queries * (queries + 1) // 2
    values = 2 * heads * queries * head_dim + 2 * kv_heads * context * head_dim
    return Work(4 * heads * head_dim * pairs, values * width)


def rms_norm(tokens: int, dim: int, width: int) -> Work:
    """Of each value its square, that one's sum, and the products with mean and weight."""
    return Work(4 * tokens * dim, (2 * tokens * dim + dim) * width)


def rope(tokens: int, heads: int, head_dim: int, width: int) -> Work:
    """A pair of values takes four products and two sums; a token has a cosine and sine a pair."""
    values = tokens * heads * head_dim
    return Work(3 * values, (2 * values + tokens * head_dim) * width)


def swiglu(tokens: int, hidden_dim: int, width: int) -> Work:
    """gate / (1 + exp(-gate)) * up: an exponential, a sum, a division, a product, a sign."""
    values = tokens * hidden_dim
    return Work(5 * values, 3 * values * width)


def matvec(n: int, k: int, matrix_bytes: int, width: int) -> Work:
    """A matrix (n, k), stored in `matrix_bytes`, times a vector; unpacking it does not count."""
    return Work(2 * n * k, matrix_bytes + (n + k) * width)


def embedding(tokens: int, dim: int, width: int) -> Work:
    """The rows of so many tokens, read and written, by indices of four bytes. No arithmetic."""
    return Work(0, tokens * (2 * dim * width + 4))


def block(
    dim: int,
    hidden_dim: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    queries: int,
    context: int,
    width: int,
) -> Work:
    """A transformer's layer over the last `queries` of `context` positions.

    Its matrices are those of queries and output (heads * head_dim by dim), keys and values
    (kv_heads * head_dim by dim), and three of the feed-forward part (hidden_dim by dim); each
    weight takes a multiply-accumulate a token. To these comes attention; norms, rotary positions
    and SwiGLU are below a percent and do not count. Matrices and earlier keys and values are read
    once, the new ones written, the layer's input read and its result written. The norms' weights,
    below a thousandth, do not count.
    """
    query, keys = heads * head_dim, kv_heads * head_dim
    weights = dim * (2 * query + 2 * keys + 3 * hidden_dim)
    attended = attention(heads, kv_heads, head_dim, queries, context, width)
    values = weights + 2 * keys * context + 2 * dim * queries
    return Work(2 * weights * queries + attended.flops, values * width)
