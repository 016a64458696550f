"""What small, medium and large mean: the shapes of models that people run."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orin_bench.ops.block import Block
from orin_bench.ops.operation import Operation
from orin_bench.ops.operations import (
    Attention,
    Conv2d,
    Embedding,
    Matmul,
    Matvec,
    RMSNorm,
    RoPE,
    SwiGLU,
)
from orin_nn.gguf.shapes import LLAMA_3_2_3B, QWEN3_0_6B, Shape

# From Meta's config.json. Its rotary factors, which are others than 3.2's, change no speed.
LLAMA_3_1_8B = replace(
    LLAMA_3_2_3B, blocks=32, dim=4096, hidden_dim=14336, heads=32, tied=False, rope_factors=()
)
MODELS = {"small": QWEN3_0_6B, "medium": LLAMA_3_2_3B, "large": LLAMA_3_1_8B}
SQUARES = {"small": 1024, "medium": 2048, "large": 4096}
IMAGES = {"small": 1, "medium": 8, "large": 64}
CONTEXTS = {"small": 512, "medium": 2048, "large": 8192}
# Of a prompt through a whole block.
PROMPTS = {"small": 128, "medium": 512, "large": 2048}
# Of a prompt through a part of one, as in llama-bench's pp512.
TOKENS = 512
QUANTIZATIONS = ("Q8_0", "Q6_K", "Q4_K")


def operations(name: str, size: str, *, prompts: bool = True) -> list[Operation]:
    """The operations called `name`, one of OPERATIONS, at `size`, one of MODELS.

    Without `prompts` those that take a whole prompt through attention are left out.
    """
    made = OPERATIONS[name](size, MODELS[size])
    return [each for each in made if prompts or getattr(each, "queries", 1) == 1]


def _matmul(size: str, model: Shape) -> list[Operation]:
    """A square, and a prompt through a feed-forward matrix."""
    square = SQUARES[size]
    return [Matmul(square, square, square), Matmul(TOKENS, model.hidden_dim, model.dim)]


def _conv2d(size: str, model: Shape) -> list[Operation]:
    """ResNet-50's 3x3 convolutions, of its first stage and of its third."""
    return [Conv2d(IMAGES[size], 64, 64, 56), Conv2d(IMAGES[size], 256, 256, 14)]


def _attention(size: str, model: Shape) -> list[Operation]:
    """A whole prompt, and one more token: LLaMA 3.2 3B's heads at every size."""
    heads = LLAMA_3_2_3B.heads, LLAMA_3_2_3B.kv_heads, LLAMA_3_2_3B.head_dim
    context = CONTEXTS[size]
    return [Attention(*heads, context, context), Attention(*heads, 1, context)]


def _block(size: str, model: Shape) -> list[Operation]:
    return [Block(model, PROMPTS[size], PROMPTS[size]), Block(model, 1, CONTEXTS[size])]


OPERATIONS: Mapping[str, Callable[[str, Shape], list[Operation]]] = {
    "matmul": _matmul,
    "conv2d": _conv2d,
    "attention": _attention,
    "rms_norm": lambda size, model: [RMSNorm(TOKENS, model.dim)],
    "rope": lambda size, model: [RoPE(TOKENS, model.heads, model.head_dim)],
    "swiglu": lambda size, model: [SwiGLU(TOKENS, model.hidden_dim)],
    "matvec": lambda size, model: [
        Matvec(model.hidden_dim, model.dim, kind) for kind in QUANTIZATIONS
    ],
    "embedding": lambda size, model: [Embedding(TOKENS, model.vocab, model.dim)],
    "block": _block,
}
