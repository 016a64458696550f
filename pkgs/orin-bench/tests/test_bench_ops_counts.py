"""What operations take: the formulas against counts by hand and one by one."""

import pytest

from orin_bench.ops import counts
from orin_bench.ops.block import Block
from orin_bench.ops.operations import Matvec
from orin_bench.ops.sizes import LLAMA_3_1_8B
from orin_nn.gguf.shapes import LLAMA_3_2_3B, QWEN3_0_6B, Shape


def test_matmul() -> None:
    """2 by 4 times 4 by 3 in float16: 6 results of 4 products; 8 + 12 values read, 6 written."""
    work = counts.matmul(2, 3, 4, 2, 2)
    assert (work.flops, work.bytes) == (48, 52)
    assert work.intensity == 48 / 52


def test_a_large_matmul() -> None:
    """4096^3: 137 GFLOP on three matrices of 32 MiB, 1365 FLOP per byte."""
    work = counts.matmul(4096, 4096, 4096, 2, 2)
    assert (work.flops, work.bytes) == (137_438_953_472, 3 * 33_554_432)


def test_int8_results_are_four_bytes() -> None:
    assert counts.matmul(2, 3, 4, 1, 4).bytes == 20 + 24
    assert counts.conv2d(1, 2, 3, 4, 3, 1, 4).bytes == 32 + 54 + 48 * 4


def test_conv2d() -> None:
    """ResNet-50's first 3x3, one picture: 231 MFLOP."""
    work = counts.conv2d(1, 64, 64, 56, 3, 4, 4)
    assert work.flops == 2 * 64 * 56 * 56 * 64 * 9 == 231_211_008
    assert work.bytes == 4 * (64 * 56 * 56 + 64 * 64 * 9 + 64 * 56 * 56) == 1_753_088


@pytest.mark.parametrize(("queries", "context"), [(1, 9), (9, 9), (4, 9), (1, 1)])
def test_attention_counts_what_is_seen(queries: int, context: int) -> None:
    seen = [context - queries + query + 1 for query in range(queries)]
    work = counts.attention(6, 2, 8, queries, context, 2)
    assert work.flops == sum(6 * 2 * 8 * keys * 2 for keys in seen)
    assert work.bytes == 2 * (2 * 6 * queries * 8 + 2 * 2 * context * 8)


def test_attention_of_llama() -> None:
    """3.2 3B after 2048 tokens: 25 MFLOP, 8 MiB of keys and values."""
    work = counts.attention(24, 8, 128, 1, 2048, 2)
    assert work.flops == 25_165_824
    assert work.bytes == 8 * 2**20 + 2 * 24 * 128 * 2


def test_elementwise() -> None:
    assert counts.rms_norm(3, 5, 2) == counts.Work(60, 70)
    assert counts.rope(3, 2, 4, 2) == counts.Work(72, 120)
    assert counts.swiglu(3, 5, 2) == counts.Work(75, 90)
    assert counts.embedding(3, 5, 2) == counts.Work(0, 72)


@pytest.mark.parametrize(
    ("kind", "bits"), [("Q8_0", 8.5), ("Q6_K", 6.5625), ("Q4_K", 4.5), ("F16", 16)]
)
def test_a_quantized_matrix_is_read_as_it_is_stored(kind: str, bits: float) -> None:
    """Bits a weight are those that llama.cpp gives for its quantizations."""
    work = Matvec(8192, 3072, kind).work(kind)
    assert work.flops == 2 * 8192 * 3072
    assert work.bytes == 8192 * 3072 * bits / 8 + 4 * (8192 + 3072)


@pytest.mark.parametrize("shape", [QWEN3_0_6B, LLAMA_3_2_3B, LLAMA_3_1_8B])
def test_a_block_reads_its_matrices_once(shape: Shape) -> None:
    """At one token every weight takes a multiply-accumulate, and attention what it takes alone."""
    sizes = [size for name, size in shape.tensors().items() if name.startswith("blk.0.")]
    weights = sum(size[0] * size[1] for size in sizes if len(size) == 2)
    work = Block(shape, 1, 512).work("float16")
    alone = counts.attention(shape.heads, shape.kv_heads, shape.head_dim, 1, 512, 2)
    assert work.flops == 2 * weights + alone.flops
    kept = 2 * 512 * shape.kv_heads * shape.head_dim
    assert work.bytes == 2 * (weights + kept + 2 * shape.dim)


def test_a_block_of_llama_3b() -> None:
    """By hand: 2 x 3072 x 3072 + 2 x 1024 x 3072 + 3 x 8192 x 3072 weights."""
    assert Block(LLAMA_3_2_3B, 1, 1).work("float16").flops == 2 * 100_663_296 + 4 * 24 * 128
    assert LLAMA_3_2_3B.parameters == pytest.approx(28 * 100_663_296 + 128256 * 3072, rel=1e-4)


def test_the_8b_model_is_the_real_one() -> None:
    """8,030,261,248 parameters, as its model card says."""
    assert LLAMA_3_1_8B.parameters == 8_030_261_248
