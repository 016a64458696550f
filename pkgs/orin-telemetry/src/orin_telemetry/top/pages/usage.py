"""Rows of what is in use of something, for more than one page."""

from orin_telemetry.top import facts
from orin_telemetry.top.draw import Cell, bar, share
from orin_telemetry.top.units import gib
from orin_telemetry.view import View


def ram_and_swap(view: View) -> list[list[Cell]]:
    """Name, bar, and GiB in use of all: yellow and red where little is left."""
    rows: list[list[Cell]] = []
    for name, total, free in (
        ("RAM", "MemTotal", "MemAvailable"),
        ("Swap", "SwapTotal", "SwapFree"),
    ):
        taken, size = facts.used(view, total, free)
        ratio = taken / size if taken is not None and size else None
        rows.append([name, bar(ratio, share(ratio)), f"{gib(taken)} of {gib(size, 'GiB')}"])
    return rows
