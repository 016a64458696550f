"""A benchmark's result as a file."""

import json
from pathlib import Path
from typing import Any

from orin_core.cli import UserError


def check_writable(path: Path) -> None:
    """Raise UserError if `path` cannot be written, before there is anything to lose."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` to `path`, whole or not at all."""
    partial = path.with_name(path.name + ".new")
    try:
        partial.write_text(json.dumps(document, indent=2) + "\n")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
