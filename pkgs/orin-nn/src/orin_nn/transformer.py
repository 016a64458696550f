"""Language models as GGUF files hold them: LLaMA and Qwen3, from tokens to logits.

The arithmetic is that of the two architectures' papers (arXiv:2407.21783, arXiv:2505.09388):
RMSNorm, rotary positions, grouped-query attention over a cache, SwiGLU. Activations are float32,
keys and values float16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.device import LRUAllocator
from tinygrad.helpers import Context

from orin_nn.attention import CHUNK, Place, attend, enter, remember
from orin_nn.gguf.model import Model, TensorInfo
from orin_nn.gguf.shapes import Shape
from orin_nn.gpu import is_gpu
from orin_nn.linear import Linear
from orin_nn.norm import Norm

Read = Callable[[TensorInfo], NDArray[np.uint8]]

# Graphs are captured for contexts of so many positions, and twice, four times that, ...
SHORTEST = 256


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

        def norm(name: str) -> Norm:
            return Norm(_vector(read(model.tensors[f"{prefix}{name}.weight"]), device), eps)

        eps = shape.norm_eps
        self.attn_norm, self.ffn_norm = norm("attn_norm"), norm("ffn_norm")
        # Queries' and keys', head by head.
        heads = ("attn_q_norm", "attn_k_norm") if shape.architecture == "qwen3" else ()
        self.head_norms = [norm(name) for name in heads]
        self.qkv = stacked("attn_q", "attn_k", "attn_v")
        self.output, self.down = stacked("attn_output")[0], stacked("ffn_down")[0]
        self.gate_up = stacked("ffn_gate", "ffn_up")
        size = 2, shape.kv_heads, context, shape.head_dim
        self.cache = Tensor.zeros(*size, dtype=dtypes.float16, device=device).contiguous().realize()

    @property
    def matrices(self) -> list[Linear]:
        return [*self.qkv, self.output, *self.gate_up, self.down]

    def __call__(self, h: Tensor, place: Place) -> Tensor:
        """`h` (T, dim) through the layer."""
        x = self.attn_norm(h)
        products = [matrix(x) for matrix in self.qkv]
        qkv = products[0] if len(products) == 1 else Tensor.cat(*products, dim=1)
        q, cache = self._enter(qkv, place)
        h = self.output(attend(q, cache, place), h)
        x = self.ffn_norm(h)
        if len(self.gate_up) == 1:
            x = self.gate_up[0](x, gated=True)
        else:
            gate, up = (matrix(x) for matrix in self.gate_up)
            x = (gate.silu() * up).contiguous()
        return self.down(x, h)

    def _enter(self, qkv: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """Queries (heads, T, head_dim), rotated and scaled, and the cache with the new keys."""
        shape, tokens = self.shape, qkv.shape[0]
        pairs = shape.architecture == "llama"
        if tokens == 1 and is_gpu(qkv.device):
            q = Tensor.empty(shape.heads, 1, shape.head_dim, device=qkv.device)
            build = partial(enter, pairs=pairs, eps=shape.norm_eps)
            weights = [norm.weight for norm in self.head_norms]
            inputs = self.cache, qkv, place.table, place.position, *weights
            q, cache, *_ = q.custom_kernel(*inputs, fxn=build)
            return q, cache
        keys = shape.kv_heads * shape.head_dim
        parts = qkv.split([shape.heads * shape.head_dim, keys, keys], dim=1)
        q, k, v = (p.reshape(tokens, -1, shape.head_dim).transpose(0, 1) for p in parts)
        if self.head_norms:
            q, k = (norm(x) for norm, x in zip(self.head_norms, (q, k), strict=True))
        q, k = (rotate(x.contiguous(), place.rope, pairs) for x in (q, k))
        new = Tensor.stack(k, v).cast(self.cache.dtype)
        cache = self.cache.custom_kernel(new, place.position, fxn=remember)[0]
        return q * shape.head_dim**-0.5, cache


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
        weight = _vector(read(tensors["output_norm.weight"]), device)
        self.norm = Norm(weight, self.shape.norm_eps)
        self.table = rotary_table(self.shape, self.context, device)
        self.blocks = [
            Block(model, read, index, device, self.context) for index in range(self.shape.blocks)
        ]
        self.position = Tensor([0], dtype=dtypes.int32, device=device).realize()
        # What held the bytes as they came, which tinygrad keeps for others of the same size.
        if isinstance(allocator := Device[device].allocator, LRUAllocator):
            allocator.free_cache()
        self.steps: dict[tuple[int, int], TinyJit[Tensor]] = {}

    def seek(self, position: int) -> None:
        """Let the next tokens stand at `position`: what is stored before it stays."""
        self.position.assign(Tensor([position], dtype=dtypes.int32, device=self.device)).realize()

    def __call__(self, tokens: Tensor, end: int) -> Tensor:
        """Logits (vocab) in float32 after `tokens` (T) int32, realized, that follow the last ones.

        `end` is the position after them: shapes depend on it, the position itself is kept on the
        device. Every T and every power of two that holds `end` is captured as a graph of its own,
        which writes its logits to the same place each time. Raises ValueError beyond the context.
        """
        if end > self.context:
            raise ValueError(f"position {end} is beyond the context of {self.context}")
        context = SHORTEST
        while context < end:
            context *= 2
        key = tokens.shape[0], min(context, self.context)
        if key not in self.steps:
            self.steps[key] = TinyJit(partial(self.forward, context=key[1]))
        with Context(JIT_BATCH_SIZE=0):  # one graph, and so one launch, for all kernels
            return self.steps[key](tokens)

    def forward(self, tokens: Tensor, context: int) -> Tensor:
        """A step without its graph: `context` is the number of positions that it looks at."""
        count = tokens.shape[0]
        positions = self.position + Tensor.arange(count, dtype=dtypes.int32, device=self.device)
        rope = self.table[:, positions].contiguous()  # lazily: a single token does without
        place = Place(self.position, context, self.table, rope)
        h = self.embedding.rows(tokens).contiguous()
        for block in self.blocks:
            h = block(h, place)
        logits = self.head(self.norm(h[-1:].contiguous())).reshape(-1)
        Tensor.realize(logits, self.position.assign(self.position + count))
        return logits


def rotate(x: Tensor, rope: Tensor, pairs: bool) -> Tensor:
    """Rotary positions (arXiv:2104.09864) of (heads, T, d) by cosines and sines (2, T, d / 2).

    llama.cpp stores LLaMA's heads so that `pairs` are neighbours, Qwen's as halves.
    """
    cosine, sine = rope[0], rope[1]
    a, b = (x[..., ::2], x[..., 1::2]) if pairs else x.chunk(2, dim=-1)
    turned = a * cosine - b * sine, b * cosine + a * sine
    return Tensor.stack(*turned, dim=-1).flatten(-2) if pairs else Tensor.cat(*turned, dim=-1)


def rotary_table(shape: Shape, context: int, device: str) -> Tensor:
    """Cosines and sines (2, context, head_dim / 2) of every position's angles, in float32."""
    factors = np.array(shape.rope_factors or 1.0)
    powers = np.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = np.outer(np.arange(context), shape.rope_theta**-powers / factors)
    return Tensor(np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32), device=device)


def _vector(data: NDArray[np.uint8], device: str) -> Tensor:
    return Tensor(data.reshape(-1).view(np.float32).copy(), device=device).realize()
