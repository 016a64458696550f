"""Schemas that would keep the machine busy, refused before llguidance sees them.

llguidance bounds most of its work itself. Not bounded are multiples, whose automata grow with the
product of the divisors (three of about 1000 did not end in a minute), repetitions (a million
letters took 3 s a token), and optional properties (time grows with their square, 2000 took 0.7 s).
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import prod
from typing import Any

LONGEST = 64 << 10  # characters of a schema
DEEPEST = 64
MOST_PROPERTIES = 1000  # of one object
LARGEST_MULTIPLE = 10_000  # the product of all divisors, without their decimal points
LONGEST_REPETITION = 50_000  # characters or groups, nested repetitions multiplied

_REGEX_PARTS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|(\()|(\))|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)


class GrammarError(Exception):
    """A schema or a tool that answers cannot be made to follow; the text says why in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split())[:300])


def checked_json(schema: Mapping[str, Any]) -> str:
    """`schema` as JSON. Raises GrammarError for one that is no JSON or beyond the limits."""
    try:
        text = json.dumps(schema, allow_nan=False)
    except RecursionError:
        raise GrammarError("the schema is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the schema is no JSON: {error}") from None
    if len(text) > LONGEST:
        raise GrammarError(f"the schema has {len(text)} characters, more than {LONGEST}")
    divisors = set()
    for key, value in _entries(schema, 1):
        if key == "multipleOf" and type(value) in (int, float):
            divisors.add(Decimal(str(value)))
        elif key == "pattern" and isinstance(value, str):
            _check_pattern(value)
        elif key in ("properties", "patternProperties") and isinstance(value, dict):
            if len(value) > MOST_PROPERTIES:
                raise GrammarError(f"an object of the schema has more than {MOST_PROPERTIES} keys")
            if key == "patternProperties":
                for pattern in value:
                    _check_pattern(pattern)
    if prod(int("".join(map(str, divisor.as_tuple().digits))) for divisor in divisors) > (
        LARGEST_MULTIPLE
    ):
        raise GrammarError("multipleOf: the divisors in the schema are too large together")
    return text


def _entries(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Every key in `value`, at any depth, with what it holds."""
    if depth > DEEPEST:
        raise GrammarError(f"the schema is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _entries(inner, depth + 1)


def _check_pattern(pattern: str) -> None:
    """Raise GrammarError if `pattern`, its bounded repetitions written out, is too long."""
    sizes, last = [0], 0  # of every open group, and of what a repetition would repeat
    for part in _REGEX_PARTS.finditer(pattern):
        opens, closes, least, most = part.groups()
        if opens:
            sizes.append(0)
            last = 0
        elif closes and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif least:
            repeated = last * max(int(least[:9]), int((most or "0")[:9]))
            sizes[-1] += repeated - last
            last = repeated
        else:
            last = 1
            sizes[-1] += 1
        if max(sizes) > LONGEST_REPETITION:
            raise GrammarError(f"the pattern {pattern[:60]!r} repeats too much")
