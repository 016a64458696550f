"""The same transformer in plain PyTorch, to stand beside tinygrad's; see `torch_worker`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from gguf.quants import dequantize
from torch import Tensor
from torch.nn.functional import embedding, linear, rms_norm, scaled_dot_product_attention, silu

from orin_bench.llm.source import Source
from orin_bench.torch_worker import TorchStep
from orin_core.cli import UserError
from orin_nn.gguf.shapes import Shape


def engines(source: Source, prompt: Sequence[int], generated: int) -> list[TorchStep]:
    """Reading `prompt` eagerly, and generating eagerly and as a CUDA graph, in that order.

    A step ends with its token on the host. After `generated` tokens the first of them comes again.
    Raises UserError without a GPU that PyTorch can use.
    """
    if not torch.cuda.is_available():
        raise UserError("--versus torch: this PyTorch finds no CUDA device")
    steps = Steps(Model(source, "cuda", len(prompt) + generated), prompt, generated)
    return [
        _prepared("torch eager", lambda: steps.read),
        _prepared("torch eager", lambda: steps.generate),
        _prepared("torch graph", steps.captured),
    ]


class Model:
    """The weights of `source` in float16 on `device`, and a cache of `context` positions."""

    def __init__(self, source: Source, device: str, context: int) -> None:
        self.shape = shape = source.model.shape
        self.device = device

        def load(name: str) -> Tensor:
            tensor = source.model.tensors[name]
            numbers = dequantize(source.read(tensor), tensor.quantization)
            return torch.from_numpy(numbers.astype(np.float16).reshape(tensor.shape)).to(device)

        with ThreadPoolExecutor() as pool:
            weights = dict(zip(shape.tensors(), pool.map(load, shape.tensors()), strict=True))
        self.embedding = weights["token_embd.weight"]
        self.head = weights.get("output.weight", self.embedding)
        self.norm = weights["output_norm.weight"]
        self.blocks = [
            {
                name.split(".")[2]: weight
                for name, weight in weights.items()
                if name.startswith(f"blk.{index}.")
            }
            for index in range(shape.blocks)
        ]
        for block in self.blocks:  # one product instead of three, and of two
            block["qkv"] = torch.cat([block.pop(f"attn_{name}") for name in "qkv"])
            block["gate_up"] = torch.cat([block.pop(f"ffn_{name}") for name in ("gate", "up")])
        size = shape.blocks, 2, 1, shape.kv_heads, context, shape.head_dim
        self.cache = torch.zeros(size, dtype=torch.float16, device=device)
        self.rope = _rotary_table(shape, context).to(device)

    def __call__(self, tokens: Tensor, positions: Tensor, seen: int, mask: Tensor | None) -> Tensor:
        """Logits (vocab) after `tokens` (T) at `positions` (T), which look at the first `seen`
        positions, or at those of them where `mask` (1, 1, 1, seen) is true."""
        shape, count = self.shape, tokens.shape[0]
        heads = shape.heads, shape.kv_heads, shape.kv_heads
        cosine, sine = self.rope[:, positions]
        h = embedding(tokens, self.embedding)
        for block, cache in zip(self.blocks, self.cache, strict=True):
            x = linear(self._norm(h, block["attn_norm"]), block["qkv"])
            parts = x.split([n * shape.head_dim for n in heads], dim=1)
            q, k, v = (
                part.view(1, count, n, shape.head_dim).transpose(1, 2)
                for part, n in zip(parts, heads, strict=True)
            )
            if shape.architecture == "qwen3":
                q = self._norm(q, block["attn_q_norm"])
                k = self._norm(k, block["attn_k_norm"])
            q, k = (self._rotate(x, cosine, sine) for x in (q, k))
            cache[0].index_copy_(2, positions, k)
            cache[1].index_copy_(2, positions, v)
            out = self._attend(q, cache[0, :, :, :seen], cache[1, :, :, :seen], mask)
            h = h + linear(out.transpose(1, 2).reshape(count, -1), block["attn_output"])
            x = linear(self._norm(h, block["ffn_norm"]), block["gate_up"])
            gate, up = x.chunk(2, dim=1)
            h = h + linear(silu(gate) * up, block["ffn_down"])
        return linear(self._norm(h[-1], self.norm), self.head)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight.shape, weight, self.shape.norm_eps)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(1, heads, T, head_dim) of `q` likewise; T is 1 or all that was seen."""
        if q.shape[2] > 1:
            return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        # The queries that share keys stand in the place of tokens: no kernel copies the keys then.
        rows = q.view(1, self.shape.kv_heads, -1, self.shape.head_dim)
        return scaled_dot_product_attention(rows, k, v, attn_mask=mask).view(q.shape)

    def _rotate(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """llama.cpp stores LLaMA's heads so that pairs are neighbours, Qwen's as halves."""
        if self.shape.architecture == "llama":
            a, b = x[..., ::2], x[..., 1::2]
            return torch.stack([a * cosine - b * sine, b * cosine + a * sine], -1).flatten(-2)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


class Steps:
    """What is timed: `prompt` read, and `generated` tokens after it, again and again."""

    def __init__(self, model: Model, prompt: Sequence[int], generated: int) -> None:
        self.model, self.length, self.generated = model, len(prompt), generated
        self.prompt = torch.tensor(prompt, device=model.device)
        self.positions = torch.arange(self.length + generated, device=model.device)
        self.first = self.read()
        # The last token, and where it stands.
        self.token, self.position = self.prompt[:1].clone(), self.positions[:1].clone()
        self.rewind()

    def rewind(self) -> None:
        self.made = 0
        self.token.fill_(self.first)
        self.position.fill_(self.length)

    def read(self) -> int:
        positions = self.positions[: self.length]
        return int(self.model(self.prompt, positions, self.length, None).argmax())

    def generate(self) -> int:
        self._step(self.length + self.made + 1, None)
        return self._arrived()

    def captured(self) -> Callable[[], int]:
        """`generate` as one CUDA graph, which looks at all positions through a mask."""

        def step() -> None:
            mask = self.positions <= self.position
            self._step(len(self.positions), mask.view(1, 1, 1, -1))

        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # as PyTorch's documentation of graphs wants it
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        self.rewind()

        def replay() -> int:
            graph.replay()
            return self._arrived()

        return replay

    def _step(self, seen: int, mask: Tensor | None) -> None:
        logits = self.model(self.token, self.position, seen, mask)
        self.token.copy_(logits.argmax(0, keepdim=True))
        self.position.add_(1)

    def _arrived(self) -> int:
        token = int(self.token)
        self.made += 1
        if self.made == self.generated:
            self.rewind()
        return token


def _rotary_table(shape: Shape, context: int) -> Tensor:
    """Cosines and sines (2, context, head_dim / 2) of every position's angles."""
    powers = np.arange(0, shape.head_dim, 2) / shape.head_dim
    frequencies = shape.rope_theta**-powers / np.array(shape.rope_factors or 1.0)
    angles = np.outer(np.arange(context), frequencies)
    return torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)]).astype(np.float16))


def _prepared(name: str, make: Callable[[], Callable[[], int]]) -> TorchStep:
    """The step that `make` makes, after its first call. Memory is the most that was allocated."""
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step = make()
    step()
    seconds = time.perf_counter() - start
    return TorchStep(name, seconds, torch.cuda.max_memory_allocated(), step, torch.cuda.synchronize)
