"""A whole layer of a language model: LLaMA's or Qwen3's."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from orin_bench.ops import counts
from orin_bench.ops.counts import Work
from orin_bench.ops.operation import SAMPLE, WIDTHS, Arrays, Floats, Indices, Operation, normal
from orin_bench.ops.operations import rotary_angles
from orin_nn.gguf.random_model import random_model, random_tensors
from orin_nn.gguf.shapes import Shape

# Enough rows for any quantization: the embedding is no part of a layer.
VOCABULARY = 32
# Tokens whose results are compared with the reference.
TOKENS = 8
PREFIX, SUFFIX = "blk.0.", ".weight"


@dataclass(frozen=True)
class Block(Operation):
    """The last `queries` of `context` positions through a layer of `shape`, float16 by its file.

    Its inputs are the tokens' states (queries, dim), keys and values of the positions before them
    (kv_heads, context - queries, head_dim), keys rotated, and the weights in the order of `names`.
    Heads are rotated as halves.
    """

    shape: Shape
    queries: int
    context: int
    name = "block"

    def __str__(self) -> str:
        return f"{'decode' if self.queries == 1 else 'prefill'} at {self.context}"

    @property
    def result(self) -> tuple[int, ...]:
        return self.queries, self.shape.dim

    @property
    def names(self) -> list[str]:
        """The layer's tensors, as GGUF calls them between prefix and suffix."""
        return [
            name.removeprefix(PREFIX).removesuffix(SUFFIX)
            for name in self.layer.tensors()
            if name.startswith(PREFIX)
        ]

    @property
    def layer(self) -> Shape:
        """A model of this one layer, its frequencies not stretched."""
        return replace(self.shape, blocks=1, vocab=VOCABULARY, tied=True, rope_factors=())

    @property
    def streams(self) -> bool:
        return self.queries == 1

    def work(self, dtype: str) -> Work:
        s = self.shape
        sizes = s.dim, s.hidden_dim, s.heads, s.kv_heads, s.head_dim, self.queries, self.context
        return counts.block(*sizes, WIDTHS[dtype])

    def inputs(self, rng: np.random.Generator) -> Arrays:
        past = self.shape.kv_heads, self.context - self.queries, self.shape.head_dim
        states = normal(rng, *self.result), normal(rng, *past), normal(rng, *past)
        tensors = random_tensors(random_model(self.layer, "F16"), int(rng.integers(1 << 31)))
        stored = {info.name: (info, data) for info, data in tensors}
        weights = []
        for name in self.names:
            info, data = stored[f"{PREFIX}{name}{SUFFIX}"]
            kind = np.float16 if info.quantization == GGMLQuantizationType.F16 else np.float32
            weights.append(data.view(kind).reshape(info.shape))
        return [*states, *weights]

    def reference(self, inputs: Arrays, at: Indices) -> Floats:
        s = self.shape
        h, past_keys, past_values = (part.astype(np.float64) for part in inputs[:3])
        weights = dict(zip(self.names, inputs[3:], strict=True))
        at_row, at_column = np.divmod(at, s.dim)
        tokens, of_row = np.unique(at_row, return_inverse=True)
        positions = np.arange(self.context - self.queries, self.context)

        def heads(x: Floats, name: str) -> Floats:
            """The projection of x (T, dim) by heads, (T, heads, head_dim)."""
            product = x @ weights[f"attn_{name}"].T.astype(np.float64)
            return product.reshape(len(x), -1, s.head_dim)

        def turned(x: Floats, name: str, places: NDArray[Any]) -> Floats:
            if f"attn_{name}_norm" in weights:
                x = _norm(x, weights[f"attn_{name}_norm"], s.norm_eps)
            return _rotate(x, rotary_angles(places, s.head_dim, s.rope_theta))

        x = _norm(h, weights["attn_norm"], s.norm_eps)
        keys = turned(heads(x, "k"), "k", positions).transpose(1, 0, 2)
        keys = np.concatenate([past_keys, keys], axis=1)
        values = np.concatenate([past_values, heads(x, "v").transpose(1, 0, 2)], axis=1)
        queries = turned(heads(x[tokens], "q"), "q", positions[tokens])
        queries = queries.reshape(len(tokens), s.kv_heads, -1, s.head_dim)
        scores = np.einsum("tgqd,gkd->tgqk", queries, keys) / np.sqrt(s.head_dim)
        future = np.arange(self.context) > positions[tokens, None]
        scores[np.broadcast_to(future[:, None, None], scores.shape)] = -np.inf
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = np.einsum("tgqk,gkd->tgqd", shares, values).reshape(len(tokens), -1)
        h = h[tokens] + attended @ weights["attn_output"].T.astype(np.float64)
        x = _norm(h, weights["ffn_norm"], s.norm_eps)
        gate, up = (x @ weights[f"ffn_{name}"].T.astype(np.float64) for name in ("gate", "up"))
        h = h + (gate / (1 + np.exp(-gate)) * up) @ weights["ffn_down"].T.astype(np.float64)
        results: Floats = h[of_row, at_column]
        return results

    def sample(self, rng: np.random.Generator) -> Indices:
        """Some results of a few tokens: one takes the whole layer."""
        tokens = np.repeat(rng.integers(0, self.queries, TOKENS, np.int32), SAMPLE // TOKENS)
        columns = rng.integers(0, self.shape.dim, SAMPLE, np.int32)
        return np.asarray(tokens * self.shape.dim + columns, np.int32)

    def scratch(self, dtype: str) -> int:
        """The scores, as in attention, or the feed-forward part's three."""
        s = self.shape
        return 8 * self.queries * max(s.heads * self.context, 3 * s.hidden_dim)


def _norm(x: Floats, weight: Floats, eps: float) -> Floats:
    scaled: Floats = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight
    return scaled


def _rotate(x: Floats, angles: Floats) -> Floats:
    """(T, heads, head_dim), each head's halves as pairs, by (T, head_dim / 2)."""
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
