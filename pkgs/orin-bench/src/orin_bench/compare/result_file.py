"""A benchmark's result as read from its file, which anyone may have written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orin_core.cli import UserError

SCHEMA = 1
LARGEST_FILE = 64 << 20  # bytes: a hundred times a long run's
LONGEST_NAME = 100
LONGEST_CASE = 20  # names

# A step outside this range, in seconds, is a mistake in the file: ratios of it overflow.
SHORTEST, LONGEST = 1e-12, 1e9


@dataclass(frozen=True)
class Row:
    """The measured steps of one engine on one case, in seconds."""

    case: Mapping[str, str | int | float | bool | None]
    engine: str
    seconds: list[float]

    @property
    def identity(self) -> str:
        """The same text for the same case and engine, whatever the order of the case's names."""
        return json.dumps([self.case, self.engine], sort_keys=True)

    @property
    def label(self) -> str:
        """The case as a reader names it: texts as they are, other values after their names."""
        return " ".join(
            value if isinstance(value, str) else f"{name} {value}"
            for name, value in self.case.items()
        )


@dataclass(frozen=True)
class Result:
    """One run of a benchmark; `header` is all of its file but the rows."""

    path: Path
    benchmark: str
    header: Mapping[str, Any]
    rows: dict[str, Row]  # by identity, in the file's order


def load_result(path: Path) -> Result:
    """Read the result that a benchmark's --json wrote.

    Raises UserError, which names the file and the row, if there is anything in it that the
    comparison relies on and that no benchmark writes.
    """
    document = _load(path)
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise UserError(f"{path}: not a benchmark's result; give what its --json wrote")
    if type(document.get("schema")) is not int or document["schema"] != SCHEMA:
        given = json.dumps(document.get("schema"))[:LONGEST_NAME]
        raise UserError(f"{path}: schema {given}, not {SCHEMA}: measure again with this Orinix")
    if not _is_name(document.get("benchmark")):
        raise UserError(f"{path}: names no benchmark; give what a benchmark's --json wrote")
    rows: dict[str, Row] = {}
    for number, entry in enumerate(document["rows"], 1):
        row = _row(f"{path}: row {number}", entry)
        if row.identity in rows:
            raise UserError(f"{path}: row {number} repeats the case and engine of another")
        rows[row.identity] = row
    if not rows:
        raise UserError(f"{path}: no rows: the run ended before its first; measure again")
    header = {name: value for name, value in document.items() if name != "rows"}
    return Result(path, document["benchmark"], header, rows)


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give what a benchmark's --json wrote") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE:
        raise UserError(f"{path}: larger than {LARGEST_FILE >> 20} MiB, no benchmark's result")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None


def _row(where: str, entry: Any) -> Row:
    if not isinstance(entry, dict):
        raise UserError(f"{where} is no object")
    case, engine, seconds = (entry.get(name) for name in ("case", "engine", "seconds"))
    if not isinstance(engine, str) or not _is_name(engine):
        raise UserError(f"{where}: engine is no name")
    if not isinstance(case, dict) or not 0 < len(case) <= LONGEST_CASE:
        raise UserError(f"{where}: case is no object of up to {LONGEST_CASE} values")
    for name, value in case.items():
        if not _is_name(name) or not (value is None or _is_name(value) or _is_number(value)):
            raise UserError(f"{where}: case {name[:LONGEST_NAME]!r} is no name and plain value")
    if not isinstance(seconds, list) or not seconds:
        raise UserError(f"{where}: seconds is no list of measured steps")
    for number, value in enumerate(seconds, 1):
        if isinstance(value, bool) or not _is_number(value) or not SHORTEST <= value <= LONGEST:
            given = json.dumps(value)[:LONGEST_NAME]
            raise UserError(f"{where}: step {number} took {given}, which is no time in seconds")
    return Row(case, engine, [float(value) for value in seconds])


def _is_name(value: Any) -> bool:
    """Whether `value` is a text that can be printed in a table as it is."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _is_number(value: Any) -> bool:
    """Whether `value` is a number or truth value that can be compared and printed."""
    if isinstance(value, int):  # a bool too; one of thousands of digits does not print
        return abs(value) < 1 << 64
    return isinstance(value, float) and math.isfinite(value)
