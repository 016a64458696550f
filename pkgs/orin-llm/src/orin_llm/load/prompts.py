"""Prompts of a wanted length in tokens, without a tokenizer: the server counts them."""

import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orin_core.cli import UserError
from orin_llm.load.answer import Endpoint

# Four letters each, and common: large vocabularies have a token for every one with the space
# before it, and where letters are tokens all are equally long. Prompts of as many words are
# therefore as long.
_LIST = """
able area away baby back ball bank base bear bell best bird blue boat body bone book born both
busy cake call calm camp card care case cast cell chip city club coal coat cold cook cool copy
core corn cost crew dark data date dawn deal deep desk door down draw drop dust duty each east
edge face fact fair fall farm fast fear feet file film find fire firm fish flat flow folk food
foot form four free fuel full game gate gift girl give glad goal gold good gray grow half hall
hand hard head hear heat help hero high hill hold home hope hour huge idea inch iron item join
"""
WORDS = _LIST.split()

# A count this far off the wanted one is good enough: templates differ by more.
TOLERANCE = 0.01
PROBES = 8

Count = Callable[[str], Awaitable[int]]  # the prompt tokens of a text, by the server's usage


@dataclass(frozen=True)
class Recipe:
    """How many words make prompts of the wanted length, and how many of them all share."""

    words: int
    shared: int


async def calibrate(measure: Count, tokens: int, shared: int, generator: random.Random) -> Recipe:
    """Find the words that make `tokens` in all, what the template adds among them, and `shared`.

    Raises UserError if the template alone is longer.
    """
    known: dict[int, int] = {}  # words to tokens
    for words in (1, 9):
        known[words] = await measure(text(generator, words))
    best = min(known, key=lambda words: abs(known[words] - tokens))
    while abs(known[best] - tokens) > TOLERANCE * tokens and len(known) < PROBES:
        slope, start = _line(known)
        words = round((tokens - start) / slope) if slope > 0 else 0
        if words < 1:
            raise UserError(
                f"--prompt-tokens {tokens}: the shortest prompt here has {known[1]}; ask for more"
            )
        if words in known:
            break
        known[words] = await measure(text(generator, words))
        best = min(known, key=lambda words: abs(known[words] - tokens))
    slope, _ = _line(known)
    return Recipe(best, min(best - 1, round(shared / slope)) if slope > 0 else 0)


def _line(known: dict[int, int]) -> tuple[float, float]:
    """Slope and start of the line through the fewest and the most words."""
    low, high = min(known), max(known)
    slope = (known[high] - known[low]) / (high - low)
    return slope, known[low] - slope * low


def text(generator: random.Random, words: int) -> str:
    return " ".join(generator.choices(WORDS, k=words))


def random_prompts(recipe: Recipe, seed: str) -> Iterator[str]:
    """Prompts without end: each another one after what all share. Equal seeds give equal ones."""
    generator = random.Random(seed)
    shared = text(generator, recipe.shared)
    while True:
        yield f"{shared} {text(generator, recipe.words - recipe.shared)}".strip()


def read_prompts(path: Path, endpoint: Endpoint) -> list[dict[str, Any]]:
    """The part of a request's body that each line of `path` asks for.

    A line is {"prompt": "..."} or, for chat, {"messages": [...]}. Raises UserError, which names
    the line, for anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UserError(f"--prompts {path}: cannot be read: {reason}") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise UserError(f"--prompts {path}: has no line; give one prompt a line")
    return [
        _prompt(f"--prompts {path}: line {number}", line, endpoint) for number, line in numbered
    ]


def _prompt(where: str, line: str, endpoint: Endpoint) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if isinstance(entry, dict) and isinstance(entry.get("prompt"), str):
        return as_body(entry["prompt"], endpoint)
    if isinstance(entry, dict) and isinstance(entry.get("messages"), list):
        if endpoint != "chat":
            raise UserError(f"{where} has messages, which are for --endpoint chat")
        return {"messages": entry["messages"]}
    raise UserError(f'{where} is not {{"prompt": "..."}} or {{"messages": [...]}}')


def as_body(prompt: str, endpoint: Endpoint) -> dict[str, Any]:
    """A prompt as the request's body has it."""
    if endpoint == "chat":
        return {"messages": [{"role": "user", "content": prompt}]}
    return {"prompt": prompt}
