"""What reading and generating take, against sums by hand; what a row says of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from orin_bench.llm.phase import Phase, Task, expanded
from orin_bench.llm.source import Source
from orin_bench.llm.table import WIDTHS, Measured
from orin_bench.roofline import Roofline
from orin_core.cli import UserError
from orin_nn.formats import FORMATS
from orin_nn.gguf.random_model import random_model, write_random
from orin_nn.gguf.shapes import LLAMA_3_2_3B, QWEN3_0_6B, TINY_LLAMA, TINY_QWEN3
from orin_nn.gguf.size import bytes_per_token

# LLaMA 3.2 3B: per block 3072x3072 twice, 1024x3072 twice, 8192x3072 three times.
LLAMA_BLOCK = 2 * 3072 * 3072 + 2 * 1024 * 3072 + 3 * 8192 * 3072
# Of keys and values of a position in 28 blocks, float16.
LLAMA_POSITION = 28 * 2 * 8 * 128 * 2
ROOF = Roofline("CUDA", 4e12, 3e-6, {"float16": 1e15})


def test_phases_are_named_as_llama_bench_names_them() -> None:
    reading, generating = Task(512, 128, 640).phases
    assert (reading.name, generating.name) == ("pp512", "tg128 @ d512")
    assert (reading.steps, reading.step_tokens) == (1, 512)
    assert (generating.steps, generating.step_tokens) == (128, 1)
    assert generating.context == 575  # between 512 before the first and 639 before the last


def test_operations_by_hand() -> None:
    reading, generating = Task(512, 128, 640).phases
    head = 128256 * 3072
    # A query and a value of 24 heads of 128 for each pair of positions.
    pairs = 512 * 513 // 2
    by_hand = 2 * (28 * LLAMA_BLOCK * 512 + head) + 28 * pairs * 24 * 2 * 2 * 128
    assert reading.flops(LLAMA_3_2_3B) == by_hand
    assert generating.flops(LLAMA_3_2_3B) == 2 * (28 * LLAMA_BLOCK + head) + 28 * 576 * 24 * 512
    qwen_block = 2 * 2048 * 1024 + 2 * 1024 * 1024 + 3 * 3072 * 1024
    one = Phase(1, 0, True)
    assert one.flops(QWEN3_0_6B) == 2 * (28 * qwen_block + 151936 * 1024) + 28 * 16 * 512


def test_bytes_by_hand() -> None:
    reading, generating = Task(512, 128, 640).phases
    model = random_model(LLAMA_3_2_3B, "F16")
    norms = (28 * 2 + 1) * 3072 * 4
    weights = 2 * (28 * LLAMA_BLOCK + 128256 * 3072) + norms
    assert reading.bytes(model) == weights + 512 * LLAMA_POSITION
    assert generating.bytes(model) == weights + 576 * LLAMA_POSITION


def test_what_has_no_kernels_is_held_as_float16() -> None:
    for kept in ("F16", "Q8_0", "Q6_K", "Q4_K"):
        model = random_model(TINY_LLAMA, kept)
        assert expanded(model, FORMATS).tensors == model.tensors
    halves = bytes_per_token(random_model(TINY_LLAMA, "F16"), 10)
    for other in ("F32", "BF16", "Q4_0", "Q5_K"):
        assert bytes_per_token(expanded(random_model(TINY_LLAMA, other), FORMATS), 10) == halves
    assert bytes_per_token(expanded(random_model(TINY_LLAMA, "Q6_K")), 10) == halves


def test_prompts_are_the_same_every_time() -> None:
    assert Task(5, 1, 6).tokens(9) == Task(5, 1, 6).tokens(9)
    assert set(Task(500, 1, 501).tokens(9)) == set(range(9))


def measured(seconds: list[float], **changed: object) -> Measured:
    model = random_model(LLAMA_3_2_3B, "Q6_K")
    base = Measured("orin_nn CUDA", "CUDA", Phase(2, 512, True), model, seconds)
    return replace(base, **changed)  # type: ignore[arg-type]


def test_rates_are_those_of_repetitions() -> None:
    result = measured([0.1, 0.3, 0.25, 0.25, 0.2, 0.05])
    assert result.rates == pytest.approx([5, 4, 8])
    figures = result.figures(ROOF)
    assert figures["tokens_per_second"] == pytest.approx(17 / 3)
    assert figures["tokens_per_second_deviation"] == pytest.approx((13 / 3) ** 0.5)
    assert figures["tokens_per_second_spread"] == pytest.approx(2 / 5)
    assert figures["p99_seconds"] == pytest.approx(0.2975)
    traffic = bytes_per_token(random_model(LLAMA_3_2_3B, "Q6_K"), 512)
    assert figures["bytes_per_token"] == traffic
    assert figures["share_of_bandwidth"] == pytest.approx(traffic / 0.225 / 4e12)
    assert figures["share_of_roofline"] == pytest.approx(traffic / 0.225 / 4e12)


def test_a_prompt_is_one_step() -> None:
    result = measured([0.5, 0.25], phase=Phase(512, 0, False))
    assert result.rates == [1024, 2048]
    figures = result.figures(ROOF)
    flops = Phase(512, 0, False).flops(LLAMA_3_2_3B)
    assert figures["flop_per_second"] == pytest.approx(flops / 0.375)
    assert figures["share_of_roofline"] == pytest.approx(flops / 0.375 / 1e15)


def test_a_row_has_a_cell_for_every_column() -> None:
    source = Source.random(LLAMA_3_2_3B, "Q6_K")
    cells = measured([0.1, 0.3], kernels=7, memory=3_000_000).cells(source, ROOF)
    assert list(cells) == list(WIDTHS)
    assert cells["model"] == "random weights, llama 3.21B"
    assert cells["tok/s"] == "5.00 ± 0.00"
    assert (cells["kernels"], cells["memory MB"], cells["search s"]) == ("7", "3", "-")
    assert (cells["MB/token"], cells["weights"]) == ("2694.9", "Q6_K")


def test_what_tells_only_repetitions_has_no_p99() -> None:
    result = measured([0.1, 0.3], apart=False)
    assert result.rates == pytest.approx([10, 10 / 3])
    assert result.cells(Source.random(LLAMA_3_2_3B, "Q6_K"), ROOF)["ms p99"] == "-"


def test_missing_blocks_are_told() -> None:
    whole = Source.random(LLAMA_3_2_3B, "F16")
    cut = whole.first(2)
    assert cut.label == "random weights, llama 3.21B, 2 of 28 blocks: not comparable"
    assert whole.is_whole and not cut.is_whole
    assert not any(name.startswith("blk.2.") for name in cut.model.tensors)
    for tensor in list(whole.first(1).model.tensors.values())[1:4]:
        assert (cut.read(tensor) == whole.read(tensor)).all()
    with pytest.raises(UserError, match=r"--blocks 29: random weights, llama 3\.21B has 28"):
        whole.first(29)


def test_a_file_is_named_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_LLAMA, "Q8_0")
    source = Source.open(path, "llama")
    assert (source.file, source.is_whole) == (path, True)
    named = replace(source, model=replace(source.model, name="My\tmodel\n" + "x" * 90))
    assert named.label == "My model " + "x" * 31
    assert replace(source, model=replace(source.model, name=" ")).label == "model.gguf"
    one = source.first(1)
    assert one.label.endswith(", 1 of 2 blocks: not comparable")
    random = Source.random(TINY_LLAMA, "Q8_0")
    for tensor in one.model.tensors.values():
        assert (one.read(tensor) == random.read(tensor)).all()


def test_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_QWEN3, "Q8_0")
    with pytest.raises(UserError) as caught:
        Source.open(path, "llama")
    assert str(caught.value) == (
        f"{path}: a qwen3 model, and this benchmark is of llama: choose another file"
    )
