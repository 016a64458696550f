"""Language models as GGUF files hold them: LLaMA and Qwen3, from tokens to logits.

The arithmetic is that of the two architectures' papers (arXiv:2407.21783, arXiv:2505.09388):
RMSNorm, rotary positions, grouped-query attention over a cache, SwiGLU. Activations are float32,
keys and values float16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.device import LRUAllocator
from tinygrad.helpers import Context

from orin_nn.attention import CHUNK, PAGE, Place, attend, enter, remember
from orin_nn.cpu import attention as cpu
from orin_nn.cpu.program import runs_c
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

    def __init__(self, model: Model, read: Read, index: int, device: str, pages: int) -> None:
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
        size = 2, shape.kv_heads, pages * PAGE, shape.head_dim
        self.cache = Tensor.zeros(*size, dtype=dtypes.float16, device=device).contiguous().realize()

    @property
    def matrices(self) -> list[Linear]:
        return [*self.qkv, self.output, *self.gate_up, self.down]

    def __call__(self, h: Tensor, place: Place) -> Tensor:
        """`h` (N, dim) through the layer."""
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
        """Queries (N, heads, head_dim), rotated and scaled, and the cache with the new keys."""
        shape, count = self.shape, qkv.shape[0]
        pairs = shape.architecture == "llama"
        in_c = runs_c(qkv.device) and shape.head_dim % cpu.LANES == 0
        if in_c or (place.pages.shape[0] == count and is_gpu(qkv.device)):
            q = Tensor.empty(count, shape.heads, shape.head_dim, device=qkv.device)
            build = partial(cpu.enter if in_c else enter, pairs=pairs, eps=shape.norm_eps)
            weights = [norm.weight for norm in self.head_norms]
            inputs = self.cache, qkv, place.table, place.rows, *weights
            q, cache, *_ = q.custom_kernel(*inputs, fxn=build)
            return q, cache
        keys = shape.kv_heads * shape.head_dim
        parts = qkv.split([shape.heads * shape.head_dim, keys, keys], dim=1)
        q, k, v = (part.reshape(count, -1, shape.head_dim) for part in parts)
        if self.head_norms:
            q, k = (norm(x) for norm, x in zip(self.head_norms, (q, k), strict=True))
        q, k = (rotate(x.contiguous(), place.rope, pairs) for x in (q, k))
        new = Tensor.stack(k, v).transpose(1, 2).cast(self.cache.dtype)
        cache = self.cache.custom_kernel(new, place.rows, fxn=remember)[0]
        return q * shape.head_dim**-0.5, cache


class Answer(NamedTuple):
    """What a step computed, each (S, ...) for the last token of every sequence. Once a step's
    graph is captured it comes at once, and reading it waits for the device."""

    logits: Tensor  # (S, vocab) float32
    likeliest: Tensor  # (S) int32: the places of the largest logits
    hidden: Tensor  # (S, dim) float32: the last layer's output, normalized

    def tokens(self) -> list[int]:
        """`likeliest` as numbers, with a tenth of the work that `Tensor.tolist` makes of it."""
        array = np.empty(self.likeliest.shape, np.int32)
        self.likeliest.uop.buffer.copyout(array.data.cast("B"))
        tokens: list[int] = array.tolist()
        return tokens


class Transformer:
    """A model ready on one device, for sequences of at most `context` tokens.

    `read` gives a tensor's bytes as GGUF stores them, (rows, bytes of a row). The cache has `pages`
    pages of PAGE positions, by default as many as one sequence takes, which `step` is told to use.
    Page 0 belongs to no sequence: what fills up a step is written there.
    """

    def __init__(
        self, model: Model, read: Read, device: str, context: int, pages: int | None = None
    ) -> None:
        self.shape, self.device = model.shape, device
        self.context = -(-context // CHUNK) * CHUNK
        self.pages = 1 + self.context // PAGE if pages is None else pages
        tensors = model.tensors

        def matrix(name: str) -> Linear:
            return Linear.load([(tensors[name], read(tensors[name]))], device)

        self.embedding = matrix("token_embd.weight")
        self.head = self.embedding if self.shape.tied else matrix("output.weight")
        weight = _vector(read(tensors["output_norm.weight"]), device)
        self.norm = Norm(weight, self.shape.norm_eps)
        self.table = rotary_table(self.shape, self.context, device).realize()
        self.blocks = [
            Block(model, read, index, device, self.pages) for index in range(self.shape.blocks)
        ]
        # What held the bytes as they came, which tinygrad keeps for others of the same size.
        if isinstance(allocator := Device[device].allocator, LRUAllocator):
            allocator.free_cache()
        self.graphs: dict[tuple[int, int, int], Graph] = {}

    def step(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        pages: Sequence[Sequence[int]],
        context: int = 0,
    ) -> Answer:
        """Compute N `tokens` that stand at `positions`: one of each of N sequences, or consecutive
        ones of a single sequence.

        `pages` are those of each sequence, enough for its last token, and what stands before the
        tokens has been computed into them. A token at position -1 fills up the step, before those
        of a single sequence or as a sequence of its own, which has no pages: its answer means
        nothing. Every N, number of sequences and power of two that holds all positions, and
        `context` at least, is captured as a graph of its own, whose answer is the same tensors each
        time. Raises ValueError beyond the context.
        """
        graph = self.graph(len(tokens), len(pages), max(*positions, context - 1) + 1)
        graph.fill(tokens, positions, pages)
        return graph.run()

    def graph(self, tokens: int, sequences: int, end: int) -> Graph:
        """The graph of a step of so many tokens and sequences, none of which reaches `end`.

        Raises ValueError beyond the context.
        """
        if end > self.context:
            raise ValueError(f"position {end} is beyond the context of {self.context}")
        context = SHORTEST
        while context < end:
            context *= 2
        key = tokens, sequences, min(context, self.context) // PAGE
        if key not in self.graphs:
            self.graphs[key] = Graph(self.forward, *key, self.device)
        return self.graphs[key]

    def forward(self, rows: Tensor, pages: Tensor) -> Answer:
        """A step without its graph, of `Place`'s `rows` and `pages`."""
        sequences = pages.shape[0]
        rope = self.table[:, rows[:, 1]].contiguous()  # lazily: on a GPU one token does without
        place = Place(rows, pages, self.table, rope)
        h = self.embedding.rows(rows[:, 0]).contiguous()
        for block in self.blocks:
            h = block(h, place).realize()
        hidden = self.norm(h[-sequences:].contiguous())
        logits = self.head(hidden)
        answer = Answer(logits, argmax(logits), hidden)
        Tensor.realize(*answer)
        return answer


class Graph:
    """The kernels of a step of N tokens, S sequences and P pages each, launched at once."""

    def __init__(
        self,
        forward: Callable[[Tensor, Tensor], Answer],
        tokens: int,
        sequences: int,
        pages: int,
        device: str,
    ) -> None:
        self._rows = np.zeros((tokens, 3), np.int32)
        self._pages = np.zeros((sequences, pages), np.int32)
        self.inputs = [
            Tensor(array, device=device).contiguous().realize()
            for array in (self._rows, self._pages)
        ]
        # Of an argument tinygrad would tell every kernel anew where it is, each time.
        self._jit = TinyJit(partial(forward, *self.inputs))
        # The first run is captured already, for half the time: none computes what others keep.
        self._jit.cnt = 1

    def fill(
        self, tokens: Sequence[int], positions: Sequence[int], pages: Sequence[Sequence[int]]
    ) -> None:
        """Say what the next run computes, as `Transformer.step` explains."""
        rows, table = self._rows, np.zeros_like(self._pages)
        rows[:, 0], rows[:, 1] = tokens, positions
        for index, held in enumerate(pages):
            inside = held[: table.shape[1]]
            table[index, : len(inside)] = inside
        sequence = 0 if len(pages) == 1 else np.arange(len(rows))
        page, offset = np.divmod(rows[:, 1], PAGE)
        rows[:, 2] = table[sequence, page] * PAGE + offset
        rows[rows[:, 1] < 0] = 0
        _copy(rows, self.inputs[0])
        if not np.array_equal(table, self._pages):
            self._pages = table
            _copy(table, self.inputs[1])

    def run(self) -> Answer:
        with Context(JIT_BATCH_SIZE=0):  # one graph, and so one launch, for all kernels
            answer: Answer = self._jit()
        return answer


def _copy(array: NDArray[np.int32], tensor: Tensor) -> None:
    tensor.uop.buffer.copyin(array.data.cast("B"))


def rotate(x: Tensor, rope: Tensor, pairs: bool) -> Tensor:
    """Rotary positions (arXiv:2104.09864) of (N, heads, d) by cosines and sines (2, N, d / 2).

    llama.cpp stores LLaMA's heads so that `pairs` are neighbours, Qwen's as halves.
    """
    cosine, sine = (part.unsqueeze(1) for part in (rope[0], rope[1]))
    a, b = (x[..., ::2], x[..., 1::2]) if pairs else x.chunk(2, dim=-1)
    turned = a * cosine - b * sine, b * cosine + a * sine
    return Tensor.stack(*turned, dim=-1).flatten(-2) if pairs else Tensor.cat(*turned, dim=-1)


def rotary_table(shape: Shape, context: int, device: str) -> Tensor:
    """Cosines and sines (2, context, head_dim / 2) of every position's angles, in float32."""
    factors = np.array(shape.rope_factors or 1.0)
    powers = np.arange(0, shape.head_dim, 2) / shape.head_dim
    angles = np.outer(np.arange(context), shape.rope_theta**-powers / factors)
    return Tensor(np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32), device=device)


# The likeliest token is looked for in rows of about so many, which the chip searches at once.
ROW = 256


def argmax(logits: Tensor) -> Tensor:
    """The places of the largest of each row of `logits` (S, N), (S) int32, the first of equal ones.

    tinygrad's own has one group of threads look at all of a row.
    """
    sequences, count = logits.shape
    parts = logits.reshape(sequences, -1, math.gcd(ROW, count))
    part = parts.max(2).contiguous().argmax(1).contiguous()
    rows = Tensor.arange(sequences, device=logits.device)
    return (part * parts.shape[2] + parts[rows, part].argmax(1)).cast(dtypes.int32).contiguous()


def _vector(data: NDArray[np.uint8], device: str) -> Tensor:
    return Tensor(data.reshape(-1).view(np.float32).copy(), device=device).realize()
