"""Answers that a grammar allows, of tokens drawn at random."""

import random

import numpy as np

from orin_llm.engine.request import Constraint
from orin_llm.text.tokenizer import Decoder, Tokenizer


def walk(
    constraint: Constraint, tokenizer: Tokenizer, seed: int, longest: int = 20_000
) -> tuple[str, bool]:
    """An answer, and whether it came to its end. Half of the time a token is preferred that ends
    something, or strings would have hundreds of letters."""
    generator = random.Random(seed)
    closing = np.zeros(tokenizer.vocab, bool)
    for token in range(tokenizer.vocab):
        closing[token] = tokenizer.token_bytes(token) in (b'"', b"}", b"]", b',"', b", ")
    decoder, text = Decoder(tokenizer), ""
    for _ in range(longest):
        if constraint.finished:
            return text + decoder.flush(), True
        allowed = constraint.allowed()
        assert allowed.shape == (tokenizer.vocab,)
        assert allowed.any()
        preferred = allowed & closing
        choice = preferred if preferred.any() and generator.random() < 0.5 else allowed
        token = generator.choice(np.flatnonzero(choice).tolist())
        constraint.accept(token)
        text += decoder.add(token)
    return text, False


def follow(constraint: Constraint, tokenizer: Tokenizer, text: str) -> tuple[str, bool]:
    """How far `text` is allowed, and whether the answer may end there."""
    decoder, shown = Decoder(tokenizer), ""
    for token in tokenizer.encode(text, continues=True):
        if not constraint.allowed()[token]:
            break
        constraint.accept(token)
        shown += decoder.add(token)
    ends = constraint.finished or bool(constraint.allowed()[list(tokenizer.stop_tokens)].any())
    return shown, ends
