"""A benchmark's result as a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orin_core.cli import UserError
from orin_core.machine import facts


def check_writable(path: Path) -> None:
    """Raise UserError if `path` cannot be written, before there is anything to lose."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def write_json(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` with the machine's facts to `path`, whole or not at all."""
    partial = path.with_name(path.name + ".new")
    try:
        partial.write_text(json.dumps({"machine": facts(), "rows": list(rows)}, indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
