"""The operations that models consist of, each with random inputs and a reference in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from orin_bench.ops import counts
from orin_bench.ops.counts import Work
from orin_bench.ops.operation import (
    RESULT_WIDTHS,
    WIDTHS,
    Arrays,
    Floats,
    Indices,
    Operation,
    normal,
)
from orin_nn.gguf.weights import random_matrix

EPS = 1e-6  # of RMSNorm
THETA = 500000.0  # of rotary positions, LLaMA 3's


@dataclass(frozen=True)
class Matmul(Operation):
    """x (m, k) times the transpose of w (n, k), as a linear layer computes it."""

    m: int
    n: int
    k: int
    name = "matmul"

    def __str__(self) -> str:
        return f"{self.m} x {self.n} x {self.k}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.m, self.n

    def work(self, dtype: str) -> Work:
        return counts.matmul(self.m, self.n, self.k, WIDTHS[dtype], RESULT_WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return [normal(rng, self.m, self.k), normal(rng, self.n, self.k)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        rows, columns = np.divmod(at, self.n)
        x, w = (part.astype(np.float64) for part in (inputs[0][rows], inputs[1][columns]))
        sums: Floats = (x * w).sum(1)
        return sums


@dataclass(frozen=True)
class Conv2d(Operation):
    """x (images, channels, size, size) through `filters` of (channels, kernel, kernel), padded."""

    images: int
    channels: int
    filters: int
    size: int
    kernel: int = 3
    name = "conv2d"

    def __str__(self) -> str:
        kernel = f"{self.kernel}x{self.kernel}"
        return f"{self.images} x {self.channels}-{self.filters} {kernel} at {self.size}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.images, self.filters, self.size, self.size

    def work(self, dtype: str) -> Work:
        sizes = self.images, self.channels, self.filters, self.size, self.kernel
        return counts.conv2d(*sizes, WIDTHS[dtype], RESULT_WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        x = normal(rng, self.images, self.channels, self.size, self.size)
        return [x, normal(rng, self.filters, self.channels, self.kernel, self.kernel)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        x, w = inputs
        around = ((self.kernel // 2,) * 2,) * 2
        padded = np.pad(x, ((0, 0), (0, 0), *around))
        windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))
        image, filter_, row, column = np.unravel_index(at, self.result)
        seen = windows[image, :, row, column].astype(np.float64)
        sums: Floats = (seen * w[filter_]).sum((1, 2, 3))
        return sums


@dataclass(frozen=True)
class Attention(Operation):
    """softmax(q k / sqrt(head_dim)) v, causal, of the last `queries` of `context` positions.

    q (heads, queries, head_dim), k and v (kv_heads, context, head_dim): each of these is shared by
    heads / kv_heads heads (grouped-query attention, arXiv:2305.13245).
    """

    heads: int
    kv_heads: int
    head_dim: int
    queries: int
    context: int
    name = "attention"

    def __str__(self) -> str:
        kind = "decode" if self.queries == 1 else "prefill"
        return f"{kind} {self.heads}/{self.kv_heads} heads at {self.context}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.heads, self.queries, self.head_dim

    @property
    def streams(self) -> bool:
        return self.queries == 1

    def work(self, dtype: str) -> Work:
        sizes = self.heads, self.kv_heads, self.head_dim, self.queries, self.context
        return counts.attention(*sizes, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        keys = self.kv_heads, self.context, self.head_dim
        return [normal(rng, *self.result), normal(rng, *keys), normal(rng, *keys)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        q, k, v = (part.astype(np.float64) for part in inputs)
        rows, of_row = np.unique(at // self.head_dim, return_inverse=True)
        out = np.empty((len(rows), self.head_dim))
        for i, (head, query) in enumerate(zip(*np.divmod(rows, self.queries), strict=True)):
            group, seen = (
                head // (self.heads // self.kv_heads),
                self.context - self.queries + query + 1,
            )
            scores = k[group, :seen] @ q[head, query] / np.sqrt(self.head_dim)
            weights = np.exp(scores - scores.max())
            out[i] = weights @ v[group, :seen] / weights.sum()
        return out[of_row, at % self.head_dim]

    def sample(self, rng: np.random.Generator) -> Indices:
        """Few queries, whose keys are many, and some columns of each."""
        picked = super().sample(rng).reshape(-1, 16)
        return (picked[:, :1] - picked[:, :1] % self.head_dim + picked % self.head_dim).ravel()

    def scratch(self, dtype: str) -> int:
        """The scores of every query with every key, in float32 and after the softmax."""
        return self.heads * self.queries * self.context * (4 + WIDTHS[dtype])


@dataclass(frozen=True)
class RMSNorm(Operation):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis of (tokens, dim) (arXiv:1910.07467)."""

    tokens: int
    dim: int
    name, elementwise = "rms_norm", True

    def __str__(self) -> str:
        return f"{self.tokens} x {self.dim}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.tokens, self.dim

    def work(self, dtype: str) -> Work:
        return counts.rms_norm(self.tokens, self.dim, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return [normal(rng, self.tokens, self.dim), normal(rng, self.dim)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        row, column = np.divmod(at, self.dim)
        x, weight = inputs[0][row].astype(np.float64), inputs[1]
        scale: Floats = np.sqrt((x**2).mean(1) + EPS)
        return x[np.arange(len(at)), column] / scale * weight[column]


@dataclass(frozen=True)
class RoPE(Operation):
    """Rotary positions (arXiv:2104.09864) of x (heads, tokens, head_dim).

    The first half of a head's values and the second are pairs, as in Qwen; cosines and sines come
    as tables (tokens, head_dim / 2).
    """

    tokens: int
    heads: int
    head_dim: int
    name, elementwise = "rope", True

    def __str__(self) -> str:
        return f"{self.tokens} x {self.heads} heads of {self.head_dim}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.heads, self.tokens, self.head_dim

    def work(self, dtype: str) -> Work:
        return counts.rope(self.tokens, self.heads, self.head_dim, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        angles = rotary_angles(np.arange(self.tokens), self.head_dim, THETA)
        return [normal(rng, *self.result), np.cos(angles), np.sin(angles)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        x, cosine, sine = (part.astype(np.float64) for part in inputs)
        head, token, column = np.unravel_index(at, self.result)
        half = self.head_dim // 2
        pair = column % half
        other = np.where(column < half, -x[head, token, pair + half], x[head, token, pair])
        return x[head, token, column] * cosine[token, pair] + other * sine[token, pair]


@dataclass(frozen=True)
class SwiGLU(Operation):
    """silu(gate) * up of (tokens, hidden_dim) (arXiv:2002.05202)."""

    tokens: int
    hidden_dim: int
    name, elementwise = "swiglu", True

    def __str__(self) -> str:
        return f"{self.tokens} x {self.hidden_dim}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.tokens, self.hidden_dim

    def work(self, dtype: str) -> Work:
        return counts.swiglu(self.tokens, self.hidden_dim, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return [normal(rng, *self.result), normal(rng, *self.result)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        gate, up = (part.ravel()[at].astype(np.float64) for part in inputs)
        opened: Floats = gate / (1 + np.exp(-gate)) * up
        return opened


@dataclass(frozen=True)
class Matvec(Operation):
    """A matrix (n, k) as GGUF quantizes it, times a vector (k) in float32."""

    n: int
    k: int
    quantization: str
    name, elementwise = "matvec", True

    def __str__(self) -> str:
        return f"{self.n} x {self.k}"

    @property
    def kind(self) -> GGMLQuantizationType:
        return GGMLQuantizationType[self.quantization]

    @property
    def result(self) -> tuple[int, ...]:
        return (self.n,)

    def work(self, dtype: str) -> Work:
        block, size = GGML_QUANT_SIZES[self.kind]
        return counts.matvec(self.n, self.k, self.n * self.k // block * size, WIDTHS["float32"])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        return [random_matrix((self.n, self.k), self.kind, rng), normal(rng, self.k)]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        raw, x = inputs
        rows = dequantize(raw[at], self.kind).astype(np.float64)
        products: Floats = rows @ x.astype(np.float64)
        return products


@dataclass(frozen=True)
class Embedding(Operation):
    """The rows of a table (vocab, dim) at random tokens."""

    tokens: int
    vocab: int
    dim: int
    name, elementwise, shared = "embedding", True, 1

    def __str__(self) -> str:
        return f"{self.tokens} of {self.vocab} x {self.dim}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.tokens, self.dim

    def work(self, dtype: str) -> Work:
        return counts.embedding(self.tokens, self.dim, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        raw = random_matrix((self.vocab, self.dim), GGMLQuantizationType.F16, rng)
        return [raw.view(np.float16), self._some(rng)]

    def sets(self, rng: np.random.Generator, count: int) -> list[Arrays]:
        """One table, and rows of it that no other set reads."""
        table, first = self.inputs(rng)
        return [[table, first], *([table, self._some(rng)] for _ in range(count - 1))]

    def _some(self, rng: np.random.Generator) -> Indices:
        return rng.integers(0, self.vocab, self.tokens, np.int32)

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        table, tokens = inputs
        row, column = np.divmod(at, self.dim)
        return table[tokens[row], column].astype(np.float64)

    def resident(self, dtype: str) -> int:
        return self.vocab * self.dim * WIDTHS[dtype]


def rotary_angles(positions: NDArray[Any], head_dim: int, theta: float) -> Floats:
    """(positions, head_dim / 2): position times theta^(-2 i / head_dim)."""
    powers = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    angles: Floats = np.outer(positions, powers)
    return angles
