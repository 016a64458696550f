"""Printing to a standard output that may take no more, or not every character."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orin_core.cli import UserError


@contextmanager
def printing() -> Iterator[None]:
    """For the prints inside. A character that the encoding lacks becomes a question mark.

    Raises UserError where the output ends, such as on a full disk. Whoever closes a pipe, as head
    does, has seen enough: that ends the command without a word.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise UserError(f"standard output: {error.strerror}; send it elsewhere") from error
