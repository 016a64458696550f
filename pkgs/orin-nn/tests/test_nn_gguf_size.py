"""Bytes that a token reads, against sums by hand, and the memory that a model takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from orin_nn.gguf.header import read_header
from orin_nn.gguf.random_model import random_model, write_random
from orin_nn.gguf.shapes import LLAMA_3_2_3B, QWEN3_0_6B, TINY_LLAMA, Shape
from orin_nn.gguf.size import bytes_per_token, cache_bytes, memory_needed

# LLaMA 3.2 3B: each block has matrices of 3072x3072 (queries, output), 1024x3072 (keys, values) and
# 8192x3072 (gate, up, down); the embedding, 128256x3072, is the output matrix as well.
LLAMA_MATRICES = 28 * (2 * 3072 * 3072 + 2 * 1024 * 3072 + 3 * 8192 * 3072) + 128256 * 3072
# Two norms a block and a last one, float32.
LLAMA_NORMS = (28 * 2 + 1) * 3072 * 4
# Keys and values of 28 blocks, 8 heads of 128, float16.
LLAMA_POSITION = 28 * 2 * 8 * 128 * 2

# Qwen3 0.6B: 2048x1024 (queries, output), 1024x1024 (keys, values), 3072x1024, tied 151936x1024.
QWEN_MATRICES = 28 * (2 * 2048 * 1024 + 2 * 1024 * 1024 + 3 * 3072 * 1024) + 151936 * 1024
# Besides, every block normalizes queries and keys over the 128 of a head.
QWEN_NORMS = ((28 * 2 + 1) * 1024 + 28 * 2 * 128) * 4
QWEN_POSITION = 28 * 2 * 8 * 128 * 2


@pytest.mark.parametrize(
    ("shape", "quantization", "by_hand", "total"),
    [
        # 256 weights in 210 bytes; 512 positions read and one written.
        (
            LLAMA_3_2_3B,
            "Q6_K",
            LLAMA_MATRICES // 256 * 210 + LLAMA_NORMS + 513 * LLAMA_POSITION,
            2_694_850_560,
        ),
        (
            LLAMA_3_2_3B,
            "F16",
            LLAMA_MATRICES * 2 + LLAMA_NORMS + 513 * LLAMA_POSITION,
            6_484_684_800,
        ),
        # 32 weights in 34 bytes.
        (
            QWEN3_0_6B,
            "Q8_0",
            QWEN_MATRICES // 32 * 34 + QWEN_NORMS + 513 * QWEN_POSITION,
            692_330_496,
        ),
    ],
)
def test_bytes_per_token_by_hand(shape: Shape, quantization: str, by_hand: int, total: int) -> None:
    assert bytes_per_token(random_model(shape, quantization), 512) == by_hand == total


def test_an_embedding_of_its_own_is_read_in_one_row() -> None:
    tied = random_model(replace(TINY_LLAMA, tied=True), "Q8_0")
    untied = random_model(TINY_LLAMA, "Q8_0")
    assert bytes_per_token(untied, 0) - bytes_per_token(tied, 0) == 256 // 32 * 34


def test_a_file_and_its_plan_have_the_same_sizes(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_LLAMA, "Q5_K")
    header, model = read_header(path), random_model(TINY_LLAMA, "Q5_K")
    assert bytes_per_token(header, 99) == bytes_per_token(model, 99)
    assert memory_needed(header, 99, 7) == memory_needed(model, 99, 7)
    assert header.start + header.nbytes <= path.stat().st_size < header.start + header.nbytes + 32


def test_a_cache_of_full_context() -> None:
    """Keys and values of 8 heads of 128 in 28 blocks: 4.7 GB at 40,960 positions."""
    assert cache_bytes(random_model(QWEN3_0_6B, "F16"), 40960) == 40960 * 114_688


def test_memory_needed_has_all_parts() -> None:
    model = random_model(LLAMA_3_2_3B, "Q6_K")
    decode, prompt = memory_needed(model, 4096), memory_needed(model, 4096, 512)
    weights_and_cache = LLAMA_MATRICES // 256 * 210 + LLAMA_NORMS + 64 * 4 + 4096 * LLAMA_POSITION
    # For one position: 128256 logits, cosines and sines of 4096 positions, and 24 heads' queries
    # and scores over the context twice, beside three vectors of 3072.
    rest = 4 * (128256 + 4096 * 128 + 2 * 24 * (128 + 4096) + 3 * 3072)
    assert decode == weights_and_cache + rest
    # A prompt's scores of 512 positions alone are 2 x 201 MB.
    assert 2 * 24 * 511 * 4096 * 4 < prompt - decode < 2.2 * 24 * 511 * 4096 * 4
    assert memory_needed(model, 8192) - decode > 4096 * LLAMA_POSITION
