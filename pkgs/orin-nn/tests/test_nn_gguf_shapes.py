"""The known shapes are those of the published models."""

import math

import pytest

from orin_nn.gguf.shapes import (
    LLAMA_3_2_1B,
    LLAMA_3_2_3B,
    QWEN3_0_6B,
    TINY_LLAMA,
    TINY_QWEN3,
    Shape,
)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (LLAMA_3_2_1B, 1_235_814_400),
        (LLAMA_3_2_3B, 3_212_749_824),
        (QWEN3_0_6B, 596_049_920),
    ],
)
def test_parameters_are_the_published_number(shape: Shape, parameters: int) -> None:
    assert shape.parameters == parameters


def test_llama_cpp_counts_rotary_factors_as_well() -> None:
    """It calls the model of 3.2 billion one of 3,212,749,888 parameters."""
    total = sum(math.prod(size) for size in LLAMA_3_2_3B.tensors().values())
    assert total == 3_212_749_888


def test_tensors_of_an_untied_model_and_of_normalized_heads() -> None:
    assert TINY_LLAMA.tensors()["output.weight"] == (512, 256)
    assert TINY_QWEN3.tensors()["blk.1.attn_k_norm.weight"] == (128,)
    assert not {"output.weight", "rope_freqs.weight"} & TINY_QWEN3.tensors().keys()


@pytest.mark.parametrize("shape", [LLAMA_3_2_1B, LLAMA_3_2_3B])
def test_rope_factors_one_by_one(shape: Shape) -> None:
    """The loop of llama.cpp's converter, over the "rope_scaling" of the model's config.json."""
    factor, low, high, original = 32.0, 1.0, 4.0, 8192
    expected = []
    for index in range(0, shape.head_dim, 2):
        wavelength = 2 * math.pi * shape.rope_theta ** (index / shape.head_dim)
        if wavelength < original / high:
            expected.append(1.0)
        elif wavelength > original / low:
            expected.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            expected.append(1 / ((1 - smooth) / factor + smooth))
    assert shape.rope_factors == pytest.approx(expected, rel=1e-6)
    assert {1.0, 32.0} < set(shape.rope_factors)
