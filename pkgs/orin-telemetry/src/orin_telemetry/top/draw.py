"""Lines of styled text: bars, graphs, headings and tables.

Colours are the terminal's own sixteen, so that they suit light and dark backgrounds. None carries
meaning alone: what is yellow is also bold, what is red also inverted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

Line = list[Segment]
Cell = str | Line | Callable[[int], Line]  # a function of the width takes what the table has left

PLAIN = Style()
DIM = Style(dim=True)
BOLD = Style(bold=True)
LOAD = Style(color="cyan")
GOOD = Style(color="green")
WARN = Style(color="yellow", bold=True)
BAD = Style(color="red", bold=True, reverse=True)

WARN_KELVIN, BAD_KELVIN = 15.0, 5.0  # left to the trip; at 5 K the alert JetsonThermalHeadroomLow
WARN_SHARE, BAD_SHARE = 0.8, 0.95  # of a rail's limit, of memory

# Dots of a braille cell from the lowest up, left and right column (Unicode chart U2800).
_LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_GUTTER = 5

_NARROW = 72  # below it, one column
_LEAST_BAR = 6


@dataclass(frozen=True)
class Scale:
    """What the lowest and the highest dot of a graph stand for, and the unit on its label."""

    low: float
    high: float
    unit: str


def heat(celsius: float | None, limit: float | None) -> Style:
    """The style of a temperature by what is left to its limit."""
    if celsius is None or limit is None:
        return PLAIN
    left = limit - celsius
    return BAD if left < BAD_KELVIN else WARN if left < WARN_KELVIN else GOOD


def share(ratio: float | None) -> Style:
    """The style of a share of a limit."""
    if ratio is None:
        return PLAIN
    return BAD if ratio >= BAD_SHARE else WARN if ratio >= WARN_SHARE else GOOD


def text(words: str, style: Style = PLAIN) -> Line:
    """A line of one style."""
    return [Segment(words, style)]


def length(line: Line) -> int:
    """Its width in terminal cells."""
    return sum(cell_len(segment.text) for segment in line)


def pad(line: Line, width: int, right: bool = False) -> Line:
    """The line filled with blanks to `width`."""
    blank = [Segment(" " * max(width - length(line), 0), PLAIN)]
    return blank + line if right else line + blank


def ends(left: Line, right: Line, width: int) -> Line:
    """One line at the left margin and one at the right; the right one only where it fits."""
    gap = width - length(left) - length(right)
    if gap < 1:
        return left
    return [*left, Segment(" " * gap, PLAIN), *right]


def parts(pieces: Sequence[Line], width: int, gap: str = "  ") -> Line:
    """The pieces in a row, as many as fit whole."""
    line: Line = []
    for piece in filter(length, pieces):
        more = [Segment(gap, PLAIN), *piece] if line else piece
        if length(line) + length(more) > width:
            break
        line += more
    return line


def heading(name: str, pieces: Sequence[Line], width: int, note: str = "") -> Line:
    """A section's title: its name, what matters most, a rule, and a note at its end."""
    left = parts([text(name, BOLD), *pieces], width)
    room = width - length(left) - (len(note) + 1 if note else 0)
    if room < 3:
        return left
    rule = f" {'─' * (room - 1)}" + (f" {note}" if note else "")
    return [*left, Segment(rule, DIM)]


def bar(ratio: float | None, style: Style = LOAD) -> Callable[[int], Line]:
    """A bar from 0 to 1 in half cells, of the width that it is called with; blank for None."""

    def draw(width: int) -> Line:
        if ratio is None:
            return text(" " * width)
        halves = round(2 * width * min(max(ratio, 0.0), 1.0))
        full = "━" * (halves // 2) + "╸" * (halves % 2)
        # Inverted, a bar would be a block: its colour without that.
        return [
            Segment(full, style + Style(reverse=False)),
            Segment("─" * (width - len(full)), DIM),
        ]

    return draw


def graph(
    values: Sequence[float | None], height: int, scale: Scale, style: Style = LOAD
) -> list[Line]:
    """A filled curve, two values a cell; a value of None leaves a gap.

    Its width is half as many cells as there are values, and 5 for the scale at the left.
    """
    low, span = scale.low, scale.high - scale.low
    levels = [
        # The lowest value still has a dot, else it would look like none.
        0 if value is None else min(max(1, round(4 * height * (value - low) / span)), 4 * height)
        for value in values
    ]
    lines = []
    for row in range(height):
        base = 4 * (height - 1 - row)
        cells = "".join(
            _braille(levels[at] - base, levels[at + 1] - base)
            for at in range(0, len(levels) - 1, 2)
        )
        label = f"{scale.low:.0f}" if row == height - 1 else ""
        label = f"{scale.high:.0f}{scale.unit}" if row == 0 else label
        curve = Segment(cells, style + Style(reverse=False))
        lines.append([Segment(f"{label:>{_GUTTER - 1}} ", DIM), curve])
    return lines


def graph_dots(width: int) -> int:
    """How many values a graph of `width` cells shows."""
    return 2 * max(width - _GUTTER, 1)


def _braille(left: int, right: int) -> str:
    """Two columns of so many dots; a space for none, which some fonts draw as empty circles."""
    dots = _LEFT[min(max(left, 0), 4)] + _RIGHT[min(max(right, 0), 4)]
    return chr(0x2800 + dots) if dots else " "


def table(rows: Sequence[Sequence[Cell]], width: int, align: str, gap: int = 2) -> list[Line]:
    """Rows of cells in columns; `align` has a letter a column: l left, r right, f for cells that
    are functions and share the width that is left.

    Where that is too little for bars there are none. A column that does not fit either begins
    beyond `width`, so that no number is cut; what matters most comes first.
    """
    count = len(align)
    widths = [
        max((length(line) for row in rows if (line := _fixed(row[at])) is not None), default=0)
        for at in range(count)
    ]
    flexible = [at for at in range(count) if align[at] == "f"]
    taken = sum(widths[at] for at in range(count) if at not in flexible) + gap * (count - 1)
    for at in flexible:
        widths[at] = (width - taken) // len(flexible)
    shown = [at for at in range(count) if at not in flexible or widths[at] >= _LEAST_BAR]
    starts: dict[int, int] = {}
    end = -gap
    for at in shown:
        start = end + gap
        starts[at] = max(start, width) if start + widths[at] > width else start
        end = starts[at] + widths[at]
    lines = []
    for row in rows:
        drawn: Line = []
        for at in shown:
            cell = row[at]
            line = cell(widths[at]) if callable(cell) else _fixed(cell) or []
            drawn = pad(drawn, starts[at]) + pad(line, widths[at], right=align[at] == "r")
        lines.append(drawn)
    return lines


def headings(*names: str) -> list[Cell]:
    """The first row of a table."""
    return [text(name, DIM) for name in names]


def cells(items: Sequence[Callable[[int], Line]], width: int, columns: int) -> list[Line]:
    """Items of equal width side by side, in order down the columns."""
    if not items:
        return []
    rows = -(-len(items) // columns)
    gaps = max(columns - 1, 1)
    each = (width - 2 * (columns - 1)) // columns
    gap = max((width - each * columns) // gaps, 2)
    return [_join([pad(item(each), each) for item in items[row::rows]], gap) for row in range(rows)]


def half(width: int) -> int:
    """The width of each of two blocks next to each other; all of it where it is narrow."""
    return width if width < _NARROW else (width - 2) // 2


def beside(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Two blocks, each `half(width)` wide: next to each other, or where it is narrow one below the
    other."""
    if half(width) == width:
        return [*left, *right]
    count = max(len(left), len(right))
    return [
        [*pad(left[row] if row < len(left) else [], half(width)), Segment("  ", PLAIN)]
        + (right[row] if row < len(right) else [])
        for row in range(count)
    ]


def _fixed(cell: Cell) -> Line | None:
    """A cell that has a width of its own."""
    return None if callable(cell) else text(cell) if isinstance(cell, str) else cell


def _join(lines: Sequence[Line], gap: int) -> Line:
    joined: Line = []
    for number, line in enumerate(lines):
        if number:
            joined.append(Segment(" " * gap, PLAIN))
        joined += line
    return joined
