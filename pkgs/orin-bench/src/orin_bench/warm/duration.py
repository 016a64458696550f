"""Durations as people type them."""

import re

from orin_core.cli import UserError

LONGEST = 168 * 3600  # a week: waiting much longer at once overflows what poll(2) takes

_FORM = re.compile("(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def parse_duration(option: str, text: str) -> float:
    """The seconds of 90s, 20m or 1h30m; `option` is named in the UserError for anything else."""
    match = _FORM.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= LONGEST:
        raise UserError(
            f"{option} {text!r}: give a duration such as 90s, 20m or 1h30m, up to"
            f" {LONGEST // 3600}h"
        )
    return float(total)


def format_duration(seconds: float) -> str:
    """90 seconds as 1m30s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"
