"""The two phases of a language model's work: how much arithmetic and memory traffic they take.

They are named as llama-bench names them: pp512 reads a prompt of 512 tokens at once; tg128 @ d512
generates 128 tokens, one after the other, after 512 that were read before.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from gguf import GGMLQuantizationType

from orin_nn.gguf.model import Model
from orin_nn.gguf.shapes import Shape
from orin_nn.gguf.size import bytes_per_token, cache_bytes


@dataclass(frozen=True)
class Phase:
    """`tokens` after `before` others: all in one step, or `generated`, a step each."""

    tokens: int
    before: int
    generated: bool

    @property
    def name(self) -> str:
        return f"tg{self.tokens} @ d{self.before}" if self.generated else f"pp{self.tokens}"

    @property
    def steps(self) -> int:
        return self.tokens if self.generated else 1

    @property
    def step_tokens(self) -> int:
        return self.tokens // self.steps

    @property
    def context(self) -> int:
        """What comes before a step, in the mean over the steps."""
        return self.before + (self.steps - 1) // 2

    def flops(self, shape: Shape) -> int:
        """Operations of a step, two for each multiply-accumulate of matrices and attention.

        Of a prompt only the last token's logits are computed; a token attends to those before it
        and itself.
        """
        sizes = shape.tensors().items()
        blocks = sum(math.prod(n) for name, n in sizes if "blk." in name and len(n) == 2)
        head = shape.vocab * shape.dim
        tokens = self.step_tokens
        pairs = tokens * self.context + tokens * (tokens + 1) // 2
        attention = 2 * pairs * shape.heads * shape.head_dim * shape.blocks
        return 2 * (blocks * tokens + head + attention)

    def bytes(self, model: Model) -> int:
        """Bytes that a step passes to and from memory: the weights once, the keys and values of
        what came before, and its own. More of them are what a program does beyond need."""
        return bytes_per_token(model, self.context) + cache_bytes(model, self.step_tokens - 1)


@dataclass(frozen=True)
class Task:
    """Tokens to read, and to generate after them, with a cache of `context` positions."""

    prompt: int
    generate: int
    context: int

    @property
    def phases(self) -> tuple[Phase, Phase]:
        return Phase(self.prompt, 0, False), Phase(self.generate, self.prompt, True)

    def tokens(self, vocab: int) -> list[int]:
        """A prompt of random tokens, always the same."""
        ids: list[int] = np.random.default_rng(0).integers(0, vocab, self.prompt).tolist()
        return ids


def expanded(model: Model, kept: Iterable[str] = ()) -> Model:
    """`model` as a program holds it whose matrices are float16 in all quantizations but `kept`."""
    names, half = set(kept), GGMLQuantizationType.F16
    tensors = {
        name: replace(tensor, quantization=half)
        if len(tensor.shape) > 1 and tensor.quantization.name not in names
        else tensor
        for name, tensor in model.tensors.items()
    }
    return replace(model, tensors=tensors)
