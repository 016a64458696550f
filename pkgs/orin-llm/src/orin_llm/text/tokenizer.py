"""Text as tokens, and tokens as text."""

import codecs
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import tokenizers

from orin_llm.text.bpe import byte_level, sentence_piece
from orin_llm.text.vocabulary import Vocabulary, read_vocabulary

_HALF_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """The tokenizer of a GGUF file, by llama.cpp's rules. Any thread may use it.

    `bos` begins a text, `stop_tokens` end an answer or a turn of it, and `controls`, which has them
    all, are the tokens that are never shown.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocab = len(vocabulary.texts)
        self.bos = vocabulary.bos
        self.stop_tokens = vocabulary.ends
        self.controls = frozenset(vocabulary.controls.values())
        self._texts = vocabulary.texts
        self._begins = vocabulary.begins
        self._whole = {**vocabulary.controls, **vocabulary.added}
        self._any_whole = _any_of(self._whole)
        self._any_added = _any_of(vocabulary.added)
        self._space_prefix = vocabulary.space_prefix
        self._escape = vocabulary.model == "llama"
        self._model: tokenizers.Tokenizer = (
            sentence_piece(vocabulary) if self._escape else byte_level(vocabulary)
        )
        lacking = bytes(set(range(256)) - set(vocabulary.singles))
        self._replacement = bytes.maketrans(lacking, b"\xff" * len(lacking))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Raises UserError for a file without a tokenizer, or with one damaged or not known."""
        return cls(read_vocabulary(path))

    def encode(
        self, text: str, *, special: bool = False, begin: bool = False, continues: bool = False
    ) -> list[int]:
        """The tokens of a text. `special`: control tokens written out in it become themselves, as
        a template means them; else they are plain text. `begin`: with the beginning-of-text token,
        if the model wants one and the text has not got it. `continues`: it goes on from another
        text, so that SentencePiece does not put a space before it.

        Halves of surrogate pairs, and rare bytes that the vocabulary lacks, become U+FFFD.
        SentencePiece takes U+2581 for a space.
        """
        if not text.isascii():
            text = _HALF_SURROGATE.sub("\ufffd", text)
        text = text.encode().translate(self._replacement).decode(errors="replace")
        tokens: list[int] = []
        parts = (self._any_whole if special else self._any_added).split(text)
        for index, part in enumerate(parts):
            if index % 2:
                tokens.append(self._whole[part])
            elif part:
                # SentencePiece begins a text, and what follows a token of its own, with a space.
                if self._space_prefix and (index or not continues):
                    part = " " + part
                part = part.replace(" ", "\u2581") if self._escape else part
                tokens += self._model.encode(part, add_special_tokens=False).ids
        if begin and self._begins and self.bos is not None and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens` without the control tokens, nor the space that `encode` put before
        it. What is no UTF-8 becomes U+FFFD. An answer, which goes on from a text, is better read
        by a `Decoder`: it keeps the space."""
        text = b"".join(map(self.token_bytes, tokens)).decode(errors="replace")
        return text.removeprefix(" ") if self._space_prefix else text

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to the text: part of a character, or nothing for control tokens."""
        return self._texts[token]


class Decoder:
    """The text of a stream of tokens, as far as it is certain: never half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        return self._utf8.decode(self._tokenizer.token_bytes(token))

    def flush(self) -> str:
        """U+FFFD for a character that was never completed."""
        return self._utf8.decode(b"", final=True)


def _any_of(texts: Collection[str]) -> re.Pattern[str]:
    """Finds each of `texts`, the longest that there is at a place; nothing if there are none."""
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
