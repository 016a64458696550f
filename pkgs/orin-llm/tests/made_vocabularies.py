"""GGUF files that hold a tokenizer and nothing else, made for tests."""

import json
import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from orin_nn.gguf.shapes import TINY_LLAMA
from orin_nn.gguf.vocabulary import add_tokenizer

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTROLS = ("<|begin|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")


def write(path: Path, fill: Callable[[GGUFWriter], None]) -> Path:
    writer = GGUFWriter(path, "llama")
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path


def tiny(path: Path) -> Path:
    """The 512 tokens of random models."""
    return write(path, lambda writer: add_tokenizer(writer, TINY_LLAMA))


@cache
def trained(size: int = 2000) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Tokens and merges learned from text that looks like JSON and prose."""
    generator = random.Random(1)
    syllables = ["ka", "lo", "mi", "ter", "an", "de", "ist", "th", "ing", "é", "ж", "中"]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(900)]
    lines = [
        f'{{"{generator.choice(words)}": [{generator.randint(0, 999)}, true], "name": "'
        + " ".join(generator.choices(words, k=8))
        + '"}\n'
        for _ in range(600)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=LETTERS, show_progress=False),
    )
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(tokens), tuple((left, right) for left, right in model["merges"])


def byte_level(path: Path, pre: str = "qwen2", **changes: Any) -> Path:
    """A byte-level BPE vocabulary, of which `changes` replaces or, with None, leaves out fields."""
    tokens, merges = trained()
    added = ("<tool_call>", "</tool_call>")
    kinds = [TokenType.NORMAL] * len(tokens)
    kinds += [TokenType.CONTROL] * len(CONTROLS) + [TokenType.USER_DEFINED] * len(added)
    fields: dict[str, Any] = {
        "model": "gpt2",
        "pre": pre,
        "tokens": [*tokens, *CONTROLS, *added],
        "token_type": [int(kind) for kind in kinds],
        "merges": [f"{left} {right}" for left, right in merges],
        "bos_token_id": len(tokens),
        "eos_token_id": len(tokens) + 2,
    }
    return write(path, lambda writer: _fill(writer, fields | changes))


def sentence_piece(path: Path, **changes: Any) -> Path:
    """A SentencePiece vocabulary: bytes, then pieces, the better the earlier."""
    generator = random.Random(2)
    letters = "abcdeft\u2581\u00e9\u4e2d"
    pieces = list(letters)
    while len(pieces) < 400:
        piece = generator.choice(pieces) + generator.choice(pieces[:60])
        if piece not in pieces and len(piece) < 9:
            pieces.append(piece)
    names = ["<unk>", "<s>", "</s>"]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(pieces)
    fields: dict[str, Any] = {
        "model": "llama",
        "tokens": [*names, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces],
        "token_type": [int(kind) for kind in kinds],
        "scores": [0.0] * 259 + [-float(index) for index in range(len(pieces))],
    }
    return write(path, lambda writer: _fill(writer, fields | changes))


def _fill(writer: GGUFWriter, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        key = f"tokenizer.ggml.{name}"
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
