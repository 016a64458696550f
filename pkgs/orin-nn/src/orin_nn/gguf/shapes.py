"""The shapes of language models, and the tensors that a GGUF file of such a shape holds."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """The dimensions of a transformer of grouped-query attention and SwiGLU, without its weights.

    With `architecture` "qwen3", queries and keys are normalized head by head. `tied` means that
    the embedding is the output matrix as well. The rotary frequencies, theta^(-2i/head_dim), are
    divided by `rope_factors` where there are any.
    """

    architecture: str
    blocks: int
    dim: int
    hidden_dim: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    rope_theta: float
    norm_eps: float
    tied: bool
    rope_factors: tuple[float, ...] = ()

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The dimensions of every tensor by its name in the file, rows (outputs) first."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        block: dict[str, tuple[int, ...]] = {
            "attn_norm": (self.dim,),
            "attn_q": (queries, self.dim),
            "attn_k": (keys, self.dim),
            "attn_v": (keys, self.dim),
            "attn_output": (self.dim, queries),
            "ffn_norm": (self.dim,),
            "ffn_gate": (self.hidden_dim, self.dim),
            "ffn_up": (self.hidden_dim, self.dim),
            "ffn_down": (self.dim, self.hidden_dim),
        }
        if self.architecture == "qwen3":
            block |= {"attn_q_norm": (self.head_dim,), "attn_k_norm": (self.head_dim,)}
        names = {"token_embd.weight": (self.vocab, self.dim), "output_norm.weight": (self.dim,)}
        if not self.tied:
            names["output.weight"] = (self.vocab, self.dim)
        if self.rope_factors:
            names["rope_freqs.weight"] = (self.head_dim // 2,)
        for index in range(self.blocks):
            names |= {f"blk.{index}.{name}.weight": size for name, size in block.items()}
        return names

    @property
    def parameters(self) -> int:
        """How many weights the model has; rotary factors are none."""
        return sum(
            math.prod(size) for name, size in self.tensors().items() if name != "rope_freqs.weight"
        )


def llama3_rope_factors(head_dim: int, theta: float) -> tuple[float, ...]:
    """What LLaMA 3.2 divides its `head_dim / 2` rotary frequencies by.

    Wavelengths of more than 8192 positions are stretched 32 times, those below a quarter of that
    not at all, and in between it rises smoothly: "rope_scaling" of the model's config.json, whose
    meaning is in `_compute_llama3_parameters` of transformers.
    """
    factor, low, high, original = 32.0, 1.0, 4.0, 8192
    wavelengths = 2 * math.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
    return tuple((1 / ((1 - smooth) / factor + smooth)).astype(np.float32).tolist())


# Each from the config.json that its makers publish.
LLAMA_3_2_1B = Shape(
    architecture="llama",
    blocks=16,
    dim=2048,
    hidden_dim=8192,
    heads=32,
    kv_heads=8,
    head_dim=64,
    vocab=128256,
    context=131072,
    rope_theta=500000.0,
    norm_eps=1e-5,
    tied=True,
    rope_factors=llama3_rope_factors(64, 500000.0),
)
LLAMA_3_2_3B = Shape(
    architecture="llama",
    blocks=28,
    dim=3072,
    hidden_dim=8192,
    heads=24,
    kv_heads=8,
    head_dim=128,
    vocab=128256,
    context=131072,
    rope_theta=500000.0,
    norm_eps=1e-5,
    tied=True,
    rope_factors=llama3_rope_factors(128, 500000.0),
)
QWEN3_0_6B = Shape(
    architecture="qwen3",
    blocks=28,
    dim=1024,
    hidden_dim=3072,
    heads=16,
    kv_heads=8,
    head_dim=128,
    vocab=151936,
    context=40960,
    rope_theta=1000000.0,
    norm_eps=1e-6,
    tied=True,
)

# For tests: what differs between architectures, in the smallest rows that every quantization fits.
TINY_LLAMA = Shape(
    architecture="llama",
    blocks=2,
    dim=256,
    hidden_dim=512,
    heads=4,
    kv_heads=2,
    head_dim=64,
    vocab=512,
    context=256,
    rope_theta=500000.0,
    norm_eps=1e-5,
    tied=False,
    rope_factors=llama3_rope_factors(64, 500000.0),
)
TINY_QWEN3 = Shape(
    architecture="qwen3",
    blocks=2,
    dim=256,
    hidden_dim=768,
    heads=4,
    kv_heads=2,
    head_dim=128,
    vocab=512,
    context=256,
    rope_theta=1000000.0,
    norm_eps=1e-6,
    tied=True,
)
