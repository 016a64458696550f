"""Options of the load generator: what of them is refused, and what holds where they say nothing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orin_core.cli import UserError
from orin_llm.load.drive import Concurrency, Load, Rate

MOST_STREAMS = 1024
FASTEST = 10_000.0  # requests/s

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


@dataclass(frozen=True)
class Size:
    """What is asked for where the options do not say it."""

    concurrency: str
    prompt: int
    output: int
    rounds: int
    requests: int | None  # None: the load's own number


FULL = Size("1,2,4,8", 512, 128, 3, None)
STARTED = Size("1,2,4", 64, 32, 2, None)  # within two minutes on a laptop
QUICK = Size("1,4", 64, 32, 2, 8)


def parse_loads(concurrency: str | None, rate: str | None, default: str) -> list[Load]:
    """Raises UserError for both at once, and for what is no list of positive numbers."""
    if rate is None:
        return [Concurrency(streams) for streams in _streams(concurrency or default)]
    if concurrency is not None:
        raise UserError("--rate sends without waiting for answers: give no --concurrency with it")
    return [Rate(per_second) for per_second in _rates(rate)]


def _streams(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(
        re.fullmatch("[0-9]{1,4}", part) and 0 < int(part) <= MOST_STREAMS for part in parts
    ):
        raise UserError(f"--concurrency {text!r}: give whole numbers up to {MOST_STREAMS}, as 1,8")
    return list(dict.fromkeys(map(int, parts)))


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = [math.nan]
    if not all(0.001 <= rate <= FASTEST for rate in rates):
        raise UserError(f"--rate {text!r}: give requests/s from 0.001 to {FASTEST:.0f}, as 0.5,2.5")
    return list(dict.fromkeys(rates))


def parse_duration(text: str) -> float:
    """The seconds of 90s, 20m or 1h30m. Raises UserError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= 7 * 24 * 3600:
        raise UserError(f"--duration {text!r}: give a duration such as 60s, 20m or 1h30m")
    return float(total)


def refuse_together(reason: str, **given: object) -> None:
    """Raise UserError if more than one option was given."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)}: {reason}")


def refuse_twice(names: Sequence[str]) -> None:
    """Raise UserError if two servers have one name."""
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"--server {name}: two of this name; name yours otherwise, as {name}-2=URL"
            )


def read_key(path: Path) -> str:
    """The key in the first line of `path`. Raises UserError for a file without one."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a key is ASCII"
        raise UserError(f"--api-key-file {path}: cannot be read: {reason}") from None
    if not lines:
        raise UserError(f"--api-key-file {path}: is empty; put the key in its first line")
    return lines[0]
