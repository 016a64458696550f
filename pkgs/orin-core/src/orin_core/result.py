"""A benchmark's result as a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orin_core.cli import UserError
from orin_core.machine import facts


def write_json(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` with the machine's facts to `path`. Raises UserError where it cannot."""
    try:
        path.write_text(json.dumps({"machine": facts(), "rows": list(rows)}, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
