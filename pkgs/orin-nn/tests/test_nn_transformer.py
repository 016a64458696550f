"""Logits of small models against a reference in float64, token by token and prompt by prompt."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from orin_nn.gguf.model import NAMES, Model
from orin_nn.gguf.random_model import random_model, random_tensor
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.gguf.size import bytes_per_token, cache_bytes
from orin_nn.transformer import Transformer
from transformer_reference import reference

# Keys and values are float16, as are weights without a kernel, and logits' deviation is about 1.
TOLERANCE = 1e-2


def load(model: Model, context: int) -> Transformer:
    return Transformer(model, partial(random_tensor, model), "CPU", context)


def tokens(count: int, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, TINY_LLAMA.vocab, count).tolist()
    return ids


def feed(transformer: Transformer, ids: list[int], end: int) -> NDArray[np.float32]:
    """Logits after `ids`, which end before position `end` of a sequence in pages that lie apart."""
    pages = list(range(transformer.pages - 1, 0, -1))
    answer = transformer.step(ids, range(end - len(ids), end), [pages])
    logits: NDArray[np.float32] = answer.logits.numpy()[0]
    assert answer.likeliest.item() == logits.argmax()
    return logits


@pytest.mark.slow
@pytest.mark.parametrize("quantization", NAMES)
@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3])
def test_logits(shape: Shape, quantization: str) -> None:
    model, ids = random_model(shape, quantization), tokens(20)
    expected, transformer = reference(model, ids), load(model, 64)
    np.testing.assert_allclose(feed(transformer, ids[:16], 16), expected[15], atol=TOLERANCE)
    for end in range(17, 21):
        logits = feed(transformer, ids[end - 1 : end], end)
        np.testing.assert_allclose(logits, expected[end - 1], atol=TOLERANCE)


def test_across_chunks_and_graphs() -> None:
    """Attention goes by chunks of 64 positions, and another graph begins at 256."""
    model, ids = random_model(replace(TINY_QWEN3, blocks=1), "F16"), tokens(260)
    expected, transformer = reference(model, ids), load(model, 300)

    def check(first: int, end: int) -> None:
        logits = feed(transformer, ids[first:end], end)
        np.testing.assert_allclose(logits, expected[end - 1], atol=TOLERANCE)

    check(0, 62)
    for end in range(63, 68):
        check(end - 1, end)
    # Another text from there on, and the same again: what a graph replays has no memory of it.
    other = tokens(1, seed=1)
    logits = feed(transformer, other, 63)
    np.testing.assert_allclose(logits, reference(model, ids[:62] + other)[-1], atol=TOLERANCE)
    for end in (124, 186, 248):
        check(end - 62, end)
    for end in range(249, 261):
        check(end - 1, end)
    assert len(transformer.graphs) == 3


def test_many_sequences_at_once() -> None:
    """Of different lengths, two of which share a page; what fills up a step disturbs none."""
    model = random_model(replace(TINY_LLAMA, blocks=1), "F16")
    transformer = Transformer(model, partial(random_tensor, model), "CPU", 256, pages=40)
    texts = [tokens(30), tokens(16) + tokens(9, seed=2), tokens(40, seed=3)]
    pages = [[7, 21], [7, 8], [30, 2, 11]]
    fill = [0] * 8, [-1] * 8
    for text, held, start in zip(texts, pages, (0, 16, 0), strict=True):
        part = text[start:-3]
        stand = range(start, start + len(part))
        transformer.step([*fill[0], *part], [*fill[1], *stand], [held])
    expected = [reference(model, text) for text in texts]
    for back in (3, 2, 1):
        positions = [len(text) - back for text in texts]
        now = [text[-back] for text in texts]
        answer = transformer.step([*now, 0], [*positions, -1], [*pages, []])
        for index, position in enumerate(positions):
            logits = answer.logits.numpy()[index]
            np.testing.assert_allclose(logits, expected[index][position], atol=TOLERANCE)
            assert answer.likeliest.numpy()[index] == logits.argmax()


def test_matrices_of_several_quantizations() -> None:
    """Files mix them, also among those that are multiplied together otherwise."""
    model = random_model(TINY_LLAMA, "Q4_K")
    others = {"attn_v": "Q6_K", "ffn_up": "Q8_0", "ffn_down": "F16", "token_embd": "Q8_0"}
    tensors = {
        name: replace(tensor, quantization=GGMLQuantizationType[others[part]])
        if (part := name.split(".")[-2]) in others
        else tensor
        for name, tensor in model.tensors.items()
    }
    model, ids = replace(model, tensors=tensors), tokens(9)
    expected, transformer = reference(model, ids), load(model, 64)
    np.testing.assert_allclose(feed(transformer, ids[:8], 8), expected[7], atol=TOLERANCE)
    np.testing.assert_allclose(feed(transformer, ids[8:], 9), expected[8], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "quantization"),
    [(TINY_LLAMA, "F16"), (TINY_QWEN3, "Q8_0"), (TINY_LLAMA, "Q6_K"), (TINY_QWEN3, "Q4_K")],
)
def test_it_holds_the_bytes_that_a_token_is_said_to_read(shape: Shape, quantization: str) -> None:
    model = random_model(shape, quantization)
    transformer = load(model, 64)
    matrices = [matrix for block in transformer.blocks for matrix in block.matrices]
    held = sum(matrix.nbytes for matrix in [*matrices, transformer.head])
    norms = sum(tensor.nbytes for tensor in model.tensors.values() if len(tensor.shape) == 1)
    if shape.rope_factors:
        norms -= model.tensors["rope_freqs.weight"].nbytes  # applied when it was loaded
    row = 0 if shape.tied else model.tensors["token_embd.weight"].row_bytes
    cache = cache_bytes(model, 30) + cache_bytes(model, 1)
    assert bytes_per_token(model, 30) == held + norms + row + cache


def test_beyond_the_context() -> None:
    transformer = load(random_model(replace(TINY_LLAMA, blocks=1), "F16"), 50)
    assert transformer.context == 64
    with pytest.raises(ValueError, match="position 65 is beyond the context of 64"):
        feed(transformer, tokens(65), 65)
