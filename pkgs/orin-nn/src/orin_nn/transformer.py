"""Language models as GGUF files hold them: LLaMA and Qwen3, from tokens to logits.

The arithmetic is that of the two architectures' papers (arXiv:2407.21783, arXiv:2505.09388):
RMSNorm, rotary positions, grouped-query attention over a cache, SwiGLU. Activations are float32,
keys and values float16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor, TinyJit, UOp, dtypes

from orin_nn.gguf.model import Model, TensorInfo
from orin_nn.gguf.shapes import Shape
from orin_nn.linear import Linear

Read = Callable[[TensorInfo], NDArray[np.uint8]]

# Positions that one block of threads attends to: the cache grows by so many at a time.
CHUNK = 64


class Block:
    """One layer: attention and feed-forward, each added to what it was given."""

    def __init__(self, model: Model, read: Read, index: int, device: str, context: int) -> None:
        self.shape = shape = model.shape
        prefix = f"blk.{index}."

        def stacked(*names: str) -> list[Linear]:
            """One matrix where the quantizations agree, so that one product does for all."""
            infos = [model.tensors[f"{prefix}{name}.weight"] for name in names]
            same = len({info.quantization for info in infos}) == 1
            groups = [infos] if same else [[info] for info in infos]
            return [Linear.load([(i, read(i)) for i in group], device) for group in groups]

        def vector(name: str) -> Tensor | None:
            info = model.tensors.get(f"{prefix}{name}.weight")
            return None if info is None else _vector(read(info), device)

        self.attn_norm, self.ffn_norm = vector("attn_norm"), vector("ffn_norm")
        self.q_norm, self.k_norm = vector("attn_q_norm"), vector("attn_k_norm")
        self.qkv = stacked("attn_q", "attn_k", "attn_v")
        self.output = stacked("attn_output")[0]
        self.gate_up = stacked("ffn_gate", "ffn_up")
        self.down = stacked("ffn_down")[0]
        size = 2, shape.kv_heads, context, shape.head_dim
        self.cache = Tensor.zeros(*size, dtype=dtypes.float16, device=device).contiguous().realize()

    @property
    def matrices(self) -> list[Linear]:
        return [*self.qkv, self.output, *self.gate_up, self.down]

    def __call__(
        self, h: Tensor, rope: Tensor, visible: Tensor, start: UOp | int, chunks: UOp | int
    ) -> Tensor:
        """`h` (T, dim) at positions from `start` on, through the layer."""
        eps = self.shape.norm_eps
        x = rms_norm(h, self.attn_norm, eps)
        h = self.output(self._attention(x, rope, visible, start, chunks), h)
        x = rms_norm(h, self.ffn_norm, eps)
        gate, up = _products(self.gate_up, x).split(self.shape.hidden_dim, dim=1)
        return self.down((gate.silu() * up).contiguous(), h)

    def _attention(
        self, x: Tensor, rope: Tensor, visible: Tensor, start: UOp | int, chunks: UOp | int
    ) -> Tensor:
        """(T, dim) to (T, heads * head_dim)."""
        shape, tokens = self.shape, x.shape[0]
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        parts = _products(self.qkv, x).split([queries, keys, keys], dim=1)
        q, k, v = (p.reshape(tokens, -1, shape.head_dim).transpose(0, 1) for p in parts)
        if self.q_norm is not None:
            q = rms_norm(q, self.q_norm, shape.norm_eps)
            k = rms_norm(k, self.k_norm, shape.norm_eps)
        q, k = self._rotate(q, rope), self._rotate(k, rope)

        stored = Tensor.stack(k, v).cast(self.cache.dtype)
        place = self.cache[:, :, start : start + tokens]
        cache = Tensor(self.cache.uop.after(place.uop.store(stored.uop)))
        cache = cache.reshape(2, shape.kv_heads, 1, -1, CHUNK, shape.head_dim)[:, :, :, :chunks]
        # The queries of one group share its keys.
        q = (q * shape.head_dim**-0.5).reshape(shape.kv_heads, -1, 1, 1, shape.head_dim)
        groups = shape.heads // shape.kv_heads
        visible = visible.expand(1, groups, *visible.shape[2:]).reshape(1, -1, *visible.shape[3:])
        out = attend(q.contiguous(), cache[0], cache[1], visible)
        out = out.reshape(shape.heads, tokens, shape.head_dim).transpose(0, 1)
        return out.reshape(tokens, -1).contiguous()

    def _rotate(self, x: Tensor, rope: Tensor) -> Tensor:
        """Rotary positions (arXiv:2104.09864) of (heads, T, head_dim).

        llama.cpp stores LLaMA's heads so that a pair are neighbours, Qwen's as halves.
        """
        cosine, sine = rope[0], rope[1]
        if self.shape.architecture == "llama":
            a, b = x[..., ::2], x[..., 1::2]
            return Tensor.stack(a * cosine - b * sine, b * cosine + a * sine, dim=-1).flatten(-2)
        a, b = x.chunk(2, dim=-1)
        return (a * cosine - b * sine).cat(b * cosine + a * sine, dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """Attention in parts: softmax over each chunk of keys, then over chunks.

    `q` (heads, queries, 1, 1, d), `k` and `v` (heads, 1, chunks, CHUNK, d), `visible` (1, queries,
    chunks, CHUNK), true where a query may see a key. Returns (heads, queries, d) in float32.
    The parts are rescaled by their maxima as in flash-decoding (arXiv:2307.08691).
    """
    scores = (q * k).sum(-1, dtype=dtypes.float32)
    scores = visible.where(scores, -float("inf")).contiguous()
    # A chunk wholly in the future has no maximum: any finite one will do.
    largest = scores.max(-1, keepdim=True).maximum(-1e30).contiguous()
    weights = (scores - largest).exp()
    sums, largest = weights.sum(-1).contiguous(), largest.squeeze(-1)
    values = (weights.unsqueeze(-1) * v).sum(3, dtype=dtypes.float32).contiguous()
    scale = (largest - largest.max(2, keepdim=True)).exp()
    return (values * scale.unsqueeze(-1)).sum(2) / (sums * scale).sum(2).unsqueeze(-1)


class Transformer:
    """A model ready on one device, for one sequence of at most `context` tokens.

    `read` gives a tensor's bytes as GGUF stores them, (rows, bytes of a row).
    """

    def __init__(self, model: Model, read: Read, device: str, context: int) -> None:
        self.shape, self.device = model.shape, device
        self.context = -(-context // CHUNK) * CHUNK
        tensors = model.tensors

        def matrix(name: str) -> Linear:
            return Linear.load([(tensors[name], read(tensors[name]))], device)

        self.embedding = matrix("token_embd.weight")
        self.head = self.embedding if self.shape.tied else matrix("output.weight")
        self.norm = _vector(read(tensors["output_norm.weight"]), device)
        self.rope = rotary_table(self.shape, self.context, device)
        self.blocks = [
            Block(model, read, index, device, self.context) for index in range(self.shape.blocks)
        ]
        self.start = UOp.variable("start", 0, self.context - 1)
        self.chunks = UOp.variable("chunks", 1, self.context // CHUNK)
        self.steps: dict[int, TinyJit[Tensor]] = {}

    def __call__(self, tokens: Tensor, start: int) -> Tensor:
        """Logits (vocab) in float32 after `tokens` (T), realized, at positions from `start` on.

        What was computed before for positions below `start` is seen, what follows is overwritten.
        Every T is captured as a graph of its own in its first two calls.
        """
        count = tokens.shape[0]
        step = self.steps.setdefault(count, TinyJit(self.forward))
        chunks = -(-(start + count) // CHUNK)
        return step(tokens, self.start.bind(start), self.chunks.bind(chunks))

    def forward(self, tokens: Tensor, start: UOp | int, chunks: UOp | int) -> Tensor:
        count = tokens.shape[0]
        h = self.embedding.rows(tokens).contiguous()
        rope = self.rope[:, start : start + count].contiguous()
        query = (Tensor.arange(count, device=self.device) + start).reshape(1, 1, count, 1, 1)
        key = Tensor.arange(self.context, device=self.device).reshape(1, 1, 1, -1, CHUNK)
        visible = (key <= query)[:, :, :, :chunks]
        for block in self.blocks:
            h = block(h, rope, visible, start, chunks)
        h = rms_norm(h[-1:], self.norm, self.shape.norm_eps)
        return self.head(h).reshape(-1).realize()


def rotary_table(shape: Shape, context: int, device: str) -> Tensor:
    """Cosines and sines (2, context, head_dim / 2) of every position's angles, in float32."""
    factors = np.array(shape.rope_factors or 1.0)
    powers = np.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = np.outer(np.arange(context), shape.rope_theta**-powers / factors)
    return Tensor(np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32), device=device)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last axis (arXiv:1910.07467)."""
    return (x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight).contiguous()


def _products(matrices: list[Linear], x: Tensor) -> Tensor:
    products = [matrix(x) for matrix in matrices]
    return products[0] if len(products) == 1 else Tensor.cat(*products, dim=1)


def _vector(data: NDArray[np.uint8], device: str) -> Tensor:
    return Tensor(data.reshape(-1).view(np.float32).copy(), device=device).realize()
