"""Vocabularies as models of the tokenizers library, which does the merging."""

from collections.abc import Mapping

from tokenizers import Tokenizer
from tokenizers.models import BPE

from orin_llm.text.vocabulary import Vocabulary


def byte_level(vocabulary: Vocabulary) -> Tokenizer:
    """GPT-2's: the words of a text are written in letters that stand for bytes, and merged.

    A merge that makes no token, or is made of none, cannot lead to one and is left out.
    """
    words = vocabulary.normal
    merges = [
        (left, right)
        for left, right in vocabulary.merges
        if left in words and right in words and left + right in words
    ]
    model = BPE(dict(words), merges, ignore_merges=vocabulary.style.ignore_merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = vocabulary.style.pre_tokenizer()
    return tokenizer


def sentence_piece(vocabulary: Vocabulary) -> Tokenizer:
    """SentencePiece's: the whole text is merged, the best token first, and a character that is no
    token becomes its bytes."""
    words = vocabulary.normal
    known = {**words, **{f"<0x{byte:02X}>": token for byte, token in vocabulary.singles.items()}}
    return Tokenizer(BPE(known, _merges(words, vocabulary.scores), byte_fallback=True))


def _merges(words: Mapping[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to make a token of two others, by the score of what they make."""
    best_first = sorted(words, key=lambda word: (-scores[words[word]], words[word]))
    return [
        (word[:cut], word[cut:])
        for word in best_first
        for cut in range(1, len(word))
        if word[:cut] in words and word[cut:] in words
    ]
