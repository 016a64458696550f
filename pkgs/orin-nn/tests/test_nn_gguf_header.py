"""A header is read as gguf's own reader reads it, and a bad file is refused in one line."""

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st

from orin_core.cli import UserError
from orin_nn.gguf import parse
from orin_nn.gguf.header import Header, read_header
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.gguf.tensors import dequantize, read_tensor


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "llama.gguf"
    write_random(path, TINY_LLAMA, "Q4_0")
    return path


@pytest.fixture
def changed(llama: Path, tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    """A copy of the file with some bytes of it replaced."""

    def change(old: bytes, new: bytes) -> Path:
        data = llama.read_bytes()
        assert data.count(old) >= 1
        path = tmp_path / "changed.gguf"
        path.write_bytes(data.replace(old, new))
        return path

    return change


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_header(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert len(text) < len(str(path)) + 300
    return text.removeprefix(f"{path}: ")


def packed(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def entry(name: str, shape: tuple[int, ...], kind: int) -> bytes:
    """How a tensor is listed, without its offset."""
    form = f"<I{len(shape)}QI"
    return packed(name) + struct.pack(form, len(shape), *reversed(shape), kind)


@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3, replace(TINY_LLAMA, tied=True)])
def test_a_header_says_what_gguf_says(shape: Shape, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, shape, "Q5_K")
    header, reader = read_header(path), GGUFReader(path)
    assert header.shape == shape
    assert header.tokens == shape.vocab
    assert header.quantization == "Q5_K"
    assert header.name.startswith("random weights")
    assert list(header.tensors) == [known.name for known in reader.tensors]
    for known in reader.tensors:
        tensor = header.tensors[known.name]
        assert tensor.shape == tuple(known.shape[::-1])
        assert tensor.quantization == known.tensor_type
        assert (header.start + tensor.offset, tensor.nbytes) == (known.data_offset, known.n_bytes)
        data = known.data.view(np.uint8).reshape(-1, tensor.row_bytes)
        np.testing.assert_array_equal(read_tensor(header, known.name), data)
        assert dequantize(header, known.name).shape == tensor.shape


def test_what_older_files_leave_out(changed: Callable[[bytes, bytes], Path]) -> None:
    header = read_header(changed(b"llama.attention.key_length", b"llama.attention.nothing_at"))
    assert header.shape == TINY_LLAMA
    header = read_header(changed(b"llama.rope.freq_base", b"llama.rope.freq_rest"))
    assert header.shape.rope_theta == 10000


def test_no_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    assert refusal(path) == "cannot be read: No such file or directory"
    assert refusal(tmp_path) == "not a file: name a GGUF file"
    for data in (b"", b"GGU", b"GGML" * 100, b"<html>"):
        path.write_bytes(data)
        assert refusal(path) == "not a GGUF file"
    path.unlink()
    os.mkfifo(path)
    assert refusal(path) == "not a file: name a GGUF file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    assert refusal(path) == "cannot be read: Permission denied"


def test_missing_bytes_are_counted(llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    data = llama.read_bytes()
    path.write_bytes(data[:-1000])
    # The last matrix ends on a multiple of the alignment.
    assert refusal(path) == (
        f"incomplete, 1000 of its {len(data)} bytes are missing: copy or download it again"
    )


VERSION = b"GGUF" + struct.pack("<I", 3)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (VERSION, b"GGUF" + struct.pack("<I", 1), "GGUF version 1 is not supported, only 2 and 3"),
        (VERSION, b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (packed("llama"), packed("gemma"), "architecture 'gemma' is not supported, only llama and"),
        (b"llama.block_count", b"llama.block_bount", "llama.block_count is missing"),
        (b"general.architecture", b"general.orchitecture", "architecture None is not supported"),
        (packed("llama.vocab_size"), packed("llama.expert_count"), "expert_count of 512 is not"),
        (packed("llama.vocab_size"), packed("llama.rope.scaling.type"), "scaling.type of 512"),
        (packed("llama.vocab_size"), packed("split.count"), "one of 512 parts: join them"),
        (packed("general.name"), packed("general.file_type"), "has 'general.file_type' twice"),
        (packed("blk.1.ffn_up.weight"), packed("blk.0.ffn_up.weight"), "'blk.0.ffn_up.weight' tw"),
        (b"blk.1.attn_q.weight", b"blk.1.attn_q.wAight", "tensor blk.1.attn_q.weight is missing"),
        (b"token_embd.weight", b"token_embd.wAight", "tensor token_embd.weight is missing"),
        (packed("output.weight"), packed("output.bias"), "'output.bias' is not known to llama"),
        (
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q4_0),
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q3_K),
            "tensor blk.0.ffn_up.weight is stored as Q3_K, which is not supported: choose a file "
            "with F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K",
        ),
        (
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q4_0),
            entry("blk.0.ffn_up.weight", (512, 256), 77),
            "tensor blk.0.ffn_up.weight is stored as type 77",
        ),
        (
            entry("blk.0.ffn_norm.weight", (256,), GGMLQuantizationType.F32),
            entry("blk.0.ffn_norm.weight", (256,), GGMLQuantizationType.Q8_0),
            "tensor blk.0.ffn_norm.weight is stored as Q8_0, which is not supported: choose a "
            "file with F32",
        ),
        (
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q4_0),
            entry("blk.0.ffn_up.weight", (512, 1 << 60), GGMLQuantizationType.Q4_0),
            f"tensor blk.0.ffn_up.weight is (512, {1 << 60}) instead of (512, 256)",
        ),
        (
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q4_0),
            entry("blk.0.ffn_up.weight", (512, 256), GGMLQuantizationType.Q8_0),
            "damaged, tensor blk.0.ffn_down.weight is not where it should be",
        ),
    ],
)
def test_refusals(
    old: bytes, new: bytes, words: str, changed: Callable[[bytes, bytes], Path]
) -> None:
    assert words in refusal(changed(old, new))


def number(key: str, value: int, form: str = "<I") -> bytes:
    kind = {"<I": 4, "<Q": 10}[form]
    return packed(f"llama.{key}") + struct.pack("<I", kind) + struct.pack(form, value)


@pytest.mark.parametrize(
    ("key", "good", "bad", "words"),
    [
        ("block_count", 2, 0, "llama.block_count is 0"),
        ("block_count", 2, 0xFFFFFFFF, "llama.block_count is 4294967295"),
        ("block_count", 2, 1 << 20, "1048576 blocks, but only 22 tensors"),
        ("block_count", 2, 3, "tensor blk.2.attn_norm.weight is missing"),
        ("block_count", 2, 1, "tensor 'blk.1.attn_norm.weight' is not known"),
        ("attention.head_count", 4, 8, "attn_q.weight is (256, 256) instead of (512, 256)"),
        ("attention.head_count_kv", 2, 3, "4 heads cannot share keys of 3"),
        ("attention.key_length", 64, 63, "heads of 63 have no halves to rotate"),
        ("rope.dimension_count", 64, 32, "llama.rope.dimension_count of 32 is not supported"),
        ("attention.value_length", 64, 32, "llama.attention.value_length of 32 is not supported"),
        ("context_length", 256, 1 << 31, "llama.context_length is 2147483648"),
    ],
)
def test_dimensions_that_cannot_be(
    key: str, good: int, bad: int, words: str, changed: Callable[[bytes, bytes], Path]
) -> None:
    assert words in refusal(changed(number(key, good), number(key, bad)))


def test_tokens_that_do_not_fit_the_embedding(changed: Callable[[bytes, bytes], Path]) -> None:
    array = packed("tokenizer.ggml.tokens") + struct.pack("<II", 9, 8)
    first = packed("\u0100")  # which stands for the byte 0
    fewer = changed(array + struct.pack("<Q", 512) + first, array + struct.pack("<Q", 511))
    assert refusal(fewer) == "damaged, 511 tokens but embeddings of 512"


def test_rope_factors_that_are_no_numbers(llama: Path, tmp_path: Path) -> None:
    header = read_header(llama)
    data = bytearray(llama.read_bytes())
    at = header.start + header.tensors["rope_freqs.weight"].offset
    data[at : at + 4] = struct.pack("<f", float("nan"))
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    assert "rope_freqs.weight has factors that are no numbers" in refusal(path)


@pytest.mark.parametrize("count", [1 << 32, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<IQ", 3, 0) + b"COUNT",  # of keys
        struct.pack("<I", 3) + b"COUNT" + struct.pack("<Q", 0),  # of tensors
        struct.pack("<IQQ", 3, 0, 1) + b"COUNT",  # of a key's letters
        struct.pack("<IQQ", 3, 0, 1) + packed("a") + struct.pack("<I", 8) + b"COUNT",
        struct.pack("<IQQ", 3, 0, 1) + packed("a") + struct.pack("<II", 9, 0) + b"COUNT",
        struct.pack("<IQQ", 3, 0, 1) + packed("a") + struct.pack("<II", 9, 8) + b"COUNT",
        struct.pack("<IQQ", 3, 1, 0) + packed("a") + struct.pack("<I", 1) + b"COUNT",
    ],
)
@pytest.mark.parametrize("filler", [b"\0", b"\1", b"\xff"])
def test_absurd_counts_end_soon(head: bytes, count: int, filler: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + head.replace(b"COUNT", struct.pack("<Q", count)) + filler * 4096)
    refusal(path)


def test_a_header_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge file of zeros would else be read as empty texts to its end."""
    monkeypatch.setattr(parse, "LARGEST_HEADER", 1 << 20)
    path = tmp_path / "model.gguf"
    texts = packed("a") + struct.pack("<IIQ", 9, 8, 1 << 40)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + texts)
    os.truncate(path, 1 << 30)
    assert "its header goes beyond 1 MiB" in refusal(path)


def is_refused_or_whole(path: Path) -> bool:
    """Whether the file is refused; anything but a UserError or a header fails the test."""
    try:
        header = read_header(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return True
    assert isinstance(header, Header)
    return False


# Seconds are for a slow machine; what matters is that nothing hangs.
@settings(max_examples=150, deadline=5000)
@given(data=st.data())
def test_truncated_anywhere_is_refused(
    llama: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = llama.read_bytes()
    start = read_header(llama).start
    length = data.draw(st.integers(0, start) | st.integers(0, len(whole) - 1))
    path = tmp_path_factory.getbasetemp() / "truncated.gguf"
    path.write_bytes(whole[:length])
    assert is_refused_or_whole(path)


@settings(max_examples=400, deadline=5000)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_harmless(
    llama: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size, start = llama.stat().st_size, read_header(llama).start
    with llama.open("rb") as file:
        head = bytearray(file.read(start))
    places = st.integers(4, 1000) | st.integers(4, len(head) - 1)
    flips = data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8))
    for place, value in flips:
        head[place] = value
    path = tmp_path_factory.getbasetemp() / "flipped.gguf"
    path.write_bytes(head)
    os.truncate(path, size)
    is_refused_or_whole(path)
