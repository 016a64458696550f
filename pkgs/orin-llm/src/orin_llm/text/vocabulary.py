"""The tokenizer that a GGUF file's metadata describe, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import TokenType
from numpy.typing import NDArray

from orin_core.cli import UserError
from orin_llm.text.pretokenizers import STYLES, Style
from orin_nn.gguf.parse import Parsed, parse

_KEY = "tokenizer.ggml."
_ARRAYS = ("tokens", "token_type", "scores", "merges")

# Tokens that end an answer or a turn: of llama.cpp's list (src/llama-vocab.cpp, special_eog_ids)
# those of architectures that orin_nn runs. Files mark only one or two of them as ends.
_ENDS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<EOT>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)

# Tokens that a reader of the answer has to see, though some files call them control tokens.
_SHOWN = ("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<think>", "</think>")

# Bytes that text rarely or never has, and for which vocabularies learned from text may have no
# token: most control characters, and those of UTF-8 for beyond its third plane.
_RARE = frozenset([*range(0x20), 0x7F, 0xC0, 0xC1, *range(0xF1, 0x100)]) - frozenset(b"\t\n\r")


@dataclass(frozen=True)
class Vocabulary:
    """`model` is "gpt2", byte-level BPE by merges, or "llama", SentencePiece's BPE by scores.

    `normal` are the tokens that words are made of, by their text as stored; `controls` and `added`
    are whole in the text, and only added ones are shown. `singles` are the tokens of single bytes.
    """

    model: str
    style: Style
    texts: list[bytes]  # of every token; nothing where it is not shown
    normal: Mapping[str, int]
    controls: Mapping[str, int]
    added: Mapping[str, int]
    singles: Mapping[int, int]
    scores: list[float]
    merges: list[tuple[str, str]]
    bos: int | None
    begins: bool
    space_prefix: bool
    ends: frozenset[int]


def read_vocabulary(path: Path) -> Vocabulary:
    """Raises UserError for a file without a tokenizer, with one that is damaged or not known."""
    return _Reader(path, parse(path, [_KEY + name for name in _ARRAYS])).vocabulary()


class _Reader:
    def __init__(self, path: Path, parsed: Parsed) -> None:
        self.path, self.values, self.arrays = path, parsed.values, parsed.arrays

    def vocabulary(self) -> Vocabulary:
        model = self.values.get(_KEY + "model")
        if model not in ("gpt2", "llama"):
            raise UserError(
                f"{self.path}: {_KEY}model is {_short(model)}, only gpt2 and llama are supported"
            )
        style = self.style() if model == "gpt2" else Style((), begins=True)
        tokens = self.texts("tokens")
        kinds = self.kinds(len(tokens))
        bos = self.token("bos_token_id", len(tokens), 1 if model == "llama" else None)
        ends = self.ends(tokens, kinds, 2 if model == "llama" else None)
        for control in ends if bos is None else {*ends, bos}:
            kinds[control] = TokenType.CONTROL
        self.refuse_twins(tokens)
        for token in np.flatnonzero(kinds == TokenType.CONTROL).tolist():
            if tokens[token] in _SHOWN:
                kinds[token] = TokenType.USER_DEFINED

        def of(*wanted: TokenType) -> dict[str, int]:
            found = np.flatnonzero(np.isin(kinds, wanted)).tolist()
            return {tokens[token]: token for token in found if tokens[token]}

        normal = of(TokenType.NORMAL)
        added = of(TokenType.USER_DEFINED)
        singles = _letter_tokens(normal) if model == "gpt2" else _byte_tokens(of(TokenType.BYTE))
        texts = [b""] * len(tokens)
        for text, token in added.items():
            texts[token] = text.encode()
        for text, token in normal.items():
            texts[token] = _unlettered(text) if model == "gpt2" else _unescaped(text)
        for byte, token in singles.items():
            texts[token] = bytes([byte])
        missing = set(range(256)) - _RARE - set(singles)
        if missing:
            raise self.damaged("tokens", f"has none for the byte 0x{min(missing):02X}")
        return Vocabulary(
            model=model,
            style=style,
            texts=texts,
            normal=normal,
            controls=of(TokenType.CONTROL),
            added=added,
            singles=singles,
            scores=self.scores(len(tokens)) if model == "llama" else [],
            merges=self.merges() if model == "gpt2" else [],
            bos=bos,
            begins=self.flag("add_bos_token", style.begins),
            space_prefix=self.flag("add_space_prefix", model == "llama"),
            ends=ends,
        )

    def style(self) -> Style:
        name = self.values.get(_KEY + "pre", "default")
        if not isinstance(name, str) or name not in STYLES:
            raise UserError(
                f"{self.path}: {_KEY}pre is {_short(name)}, a way to split words that is not "
                "supported"
            )
        return STYLES[name]

    def ends(self, tokens: list[str], kinds: NDArray[Any], eos: int | None) -> frozenset[int]:
        named = [
            self.token("eos_token_id", len(tokens), eos),
            self.token("eot_token_id", len(tokens), None),
            self.token("eom_token_id", len(tokens), None),
        ]
        known = set(_ENDS)
        ends = {token for token, text in enumerate(tokens) if text in known}
        return frozenset(ends.union(token for token in named if token is not None))

    def texts(self, name: str) -> list[str]:
        texts = self.arrays.get(_KEY + name)
        if not isinstance(texts, list) or not texts:
            raise self.damaged(name, "is missing or no list of texts")
        return texts

    def numbers(self, name: str, count: int, default: float, kind: str) -> NDArray[Any]:
        numbers = self.arrays.get(_KEY + name, np.full(count, default))
        if isinstance(numbers, list) or len(numbers) != count:
            raise self.damaged(name, f"is not one number for each of {count} tokens")
        return numbers.astype(kind)

    def kinds(self, count: int) -> NDArray[Any]:
        kinds = self.numbers("token_type", count, TokenType.NORMAL, "i8")
        wrong = np.flatnonzero((kinds < 0) | (kinds > max(TokenType)))
        if wrong.size:
            raise self.damaged("token_type", f"has {kinds[wrong[0]]} for token {wrong[0]}")
        kinds[kinds == 0] = TokenType.NORMAL
        return kinds

    def scores(self, count: int) -> list[float]:
        scores = self.numbers("scores", count, 0.0, "f8")
        if not np.isfinite(scores).all():
            raise self.damaged("scores", "has some that are no numbers")
        return [float(score) for score in scores.tolist()]

    def merges(self) -> list[tuple[str, str]]:
        merges = []
        for index, text in enumerate(self.texts("merges")):
            left, space, right = text.partition(" ")
            if not (left and space and right) or " " in right:
                raise self.damaged("merges", f"has {_short(text)} at {index}, not two parts")
            merges.append((left, right))
        return merges

    def token(self, name: str, count: int, default: int | None) -> int | None:
        token = self.values.get(_KEY + name, default)
        if token is not None and not (type(token) is int and 0 <= token < count):
            raise self.damaged(name, f"is {_short(token)}, not one of {count} tokens")
        return token

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(_KEY + name, default)
        if not isinstance(value, bool):
            raise self.damaged(name, f"is {_short(value)} instead of true or false")
        return value

    def refuse_twins(self, tokens: list[str]) -> None:
        seen: set[str] = set()
        for token, text in enumerate(tokens):
            if text in seen:
                raise self.damaged("tokens", f"has {_short(text)} twice, again as {token}")
            if text:
                seen.add(text)

    def damaged(self, name: str, what: str) -> UserError:
        return UserError(
            f"{self.path}: damaged, {_KEY}{name} {what}: convert, copy or download it again"
        )


def _letters() -> dict[str, int]:
    """The bytes by the characters that stand for them in byte-level BPE: Latin-1's visible ones
    for themselves, those from U+0100 on for the rest (bytes_to_unicode of GPT-2's encoder.py)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {
        chr(256 + index): byte for index, byte in enumerate(hidden)
    }


_LETTERS = _letters()


def _letter_tokens(normal: Mapping[str, int]) -> dict[int, int]:
    return {byte: normal[letter] for letter, byte in _LETTERS.items() if letter in normal}


def _byte_tokens(tokens: Mapping[str, int]) -> dict[int, int]:
    names = {f"<0x{byte:02X}>": byte for byte in range(256)}
    return {names[text]: token for text, token in tokens.items() if text in names}


def _unlettered(text: str) -> bytes:
    try:
        return bytes([_LETTERS[letter] for letter in text])
    except KeyError:  # not a word: some files fill up with tokens of plain text
        return text.encode()


def _unescaped(text: str) -> bytes:
    return text.replace("\u2581", " ").encode()


def _short(value: Any) -> str:
    return repr(value)[:80]
