"""Markdown tables that print row by row, because a benchmark's last row may be minutes away."""

from collections.abc import Sequence


class Table:
    """A Markdown table on stdout. `columns` maps each heading to the widest text expected in it."""

    def __init__(self, columns: dict[str, int]) -> None:
        self.widths = [max(len(heading), width) for heading, width in columns.items()]
        self._line(list(columns))
        print("|" + "|".join("-" * (width + 2) for width in self.widths) + "|", flush=True)

    def row(self, cells: Sequence[str]) -> None:
        """Print one row; text to the left, numbers to the right."""
        self._line(cells)

    def _line(self, cells: Sequence[str]) -> None:
        aligned = (
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(cells, self.widths, strict=True)
        )
        print("| " + " | ".join(aligned) + " |", flush=True)
