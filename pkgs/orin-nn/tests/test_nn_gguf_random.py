"""Random models are whole files, fast to make, whose activations neither grow nor vanish."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize
from numpy.typing import NDArray

from orin_core.cli import UserError
from orin_nn.gguf.header import read_header
from orin_nn.gguf.model import NAMES
from orin_nn.gguf.random_model import (
    random_model,
    random_tensor,
    random_tensors,
    write_random,
)
from orin_nn.gguf.shapes import LLAMA_3_2_3B, TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.gguf.tensors import read_tensor
from orin_nn.gguf.weights import random_matrix


@pytest.mark.parametrize("name", NAMES)
def test_deviation_of_a_matrix(name: str) -> None:
    kind = GGMLQuantizationType[name]
    data = random_matrix((512, 1024), kind, np.random.default_rng(1))
    weights = dequantize(data, kind)
    assert weights.shape == (512, 1024)
    deviation = float(weights.std()) * 32
    tolerance = 2**0.5 if name.endswith(("F32", "F16")) else 1.05
    assert 1 / tolerance <= deviation <= tolerance
    assert abs(weights.mean()) * 32 < 0.02
    assert len(np.unique(data, axis=0)) == 512  # no row twice


def norm(x: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    normed: NDArray[np.float32] = x / np.sqrt(np.mean(x**2) + 1e-6) * weight
    return normed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3])
def test_activations_through_28_blocks(shape: Shape, name: str) -> None:
    """Of a first token, whose attention is its own value whatever its query and key."""
    deep = replace(shape, blocks=28)
    weights = {
        tensor.name.removesuffix(".weight"): dequantize(data, tensor.quantization)
        for tensor, data in random_tensors(random_model(deep, name))
    }
    x = weights["token_embd"][7]
    for index in range(deep.blocks):
        block = {key.split(".")[2]: w for key, w in weights.items() if f"blk.{index}." in key}
        value = block["attn_v"] @ norm(x, block["attn_norm"][0])
        groups = deep.heads // deep.kv_heads
        x = x + block["attn_output"] @ value.reshape(-1, deep.head_dim).repeat(groups, 0).ravel()
        after = norm(x, block["ffn_norm"][0])
        gate = block["ffn_gate"] @ after
        x = x + block["ffn_down"] @ (gate / (1 + np.exp(-gate)) * (block["ffn_up"] @ after))
        assert 0.3 < x.std() < 15
    logits = weights["token_embd" if deep.tied else "output"] @ norm(x, weights["output_norm"][0])
    assert 0.5 < logits.std() < 2


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    for name, seed in ("a", 1), ("b", 1), ("c", 2):
        write_random(tmp_path / name, TINY_QWEN3, "Q6_K", seed)
    first, same, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == same != other
    assert len(first) == len(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_tensors_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_LLAMA, "Q8_0", 3)
    header, model = read_header(path), random_model(TINY_LLAMA, "q8_0")
    assert header.tensors == model.tensors
    for tensor, data in random_tensors(model, 3):
        np.testing.assert_array_equal(read_tensor(header, tensor.name), data)
        np.testing.assert_array_equal(random_tensor(model, tensor, 3), data)


def test_what_llama_cpp_wants_to_know(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_QWEN3, "Q4_K")
    fields = {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == "qwen2"
    tokens = fields["tokenizer.ggml.tokens"]
    assert len(set(tokens)) == len(tokens) == len(fields["tokenizer.ggml.token_type"]) == 512
    assert tokens[ord("A")] == "A"
    assert tokens[ord(" ")] == "Ġ"
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert fields["tokenizer.ggml.merges"]
    assert "<|im_start|>" in fields["tokenizer.chat_template"]
    assert fields["general.file_type"] == 14  # mostly Q4_K, small
    assert fields["qwen3.rope.freq_base"] == 1e6


def test_an_unknown_quantization(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with pytest.raises(UserError, match="unknown quantization 'Q3_K': choose F32, F16, BF16, Q8_0"):
        write_random(path, TINY_LLAMA, "Q3_K")
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no" / "model.gguf"
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        write_random(path, TINY_LLAMA, "F16")


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(UserError, match=r"needs 6\.4 GB of disk, and 1\.1 GB are free"):
        write_random(tmp_path / "model.gguf", LLAMA_3_2_3B, "F16")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write_random(tmp_path / "model.gguf", TINY_LLAMA, "F16")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "name"), [(TINY_LLAMA, "Q6_K"), (TINY_QWEN3, "Q4_K")])
def test_tinygrad_loads_and_runs_one(shape: Shape, name: str, tmp_path: Path) -> None:
    from tinygrad import Tensor
    from tinygrad.llm.cli import SimpleTokenizer
    from tinygrad.llm.model import Transformer

    path = tmp_path / "model.gguf"
    write_random(path, shape, name)
    model, metadata = Transformer.from_gguf(path)
    tokenizer = SimpleTokenizer.from_gguf_kv(metadata)
    tokens = tokenizer.encode("Grüße, 256 at once\n")
    assert tokenizer.decode(tokens) == "Grüße, 256 at once\n"
    x = model.token_embd(Tensor([tokens])).float()
    for block in model.blk:
        x = block(x, 0)
    logits = model.output(model.output_norm(x)).numpy()
    assert logits.shape == (1, len(tokens), shape.vocab)
    assert 0.5 < logits.std() < 2
