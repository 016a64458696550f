"""What all pictures have in common.

Series differ by colour and by the shape of their markers, and the colours by lightness, so that
they survive greyscale and colour blindness (Paul Tol's high-contrast and medium-contrast schemes,
https://personal.sron.nl/~pault/).
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

COLOURS = ("#004488", "#DDAA33", "#BB5566", "#000000", "#6699CC", "#EE99AA")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH, HEIGHT = 7.0, 4.7  # inches; two columns in print

# Printer's points: all text but labels; a symbol of the legend with its gaps; the legend's width.
TEXT = 8
SYMBOL = 34
LEGEND = 66 * WIDTH

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.3",
    "axes.grid": True,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,  # a pixel is a printer's point
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "font.size": TEXT,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 5.5,
    "savefig.dpi": 200,
    "svg.hashsalt": "orinix",  # the same identifiers every time
    "text.parse_math": False,  # a dollar in a model's name is no formula
}

# 0.001 and 65536 as they are, where matplotlib would write powers of ten.
PLAIN = "{x:.10g}"


def new_figure(title: str, height: float) -> Figure:
    """An empty figure of `height` inches below a title to the left."""
    figure = Figure((WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", wrap=True)
    return figure


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the series `index`."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def text_size(figure: FigureBase, text: str, size: float) -> tuple[float, float]:
    """Width and height, in printer's points, of `text` in letters of `size`."""
    probe = figure.text(0, 0, text, fontsize=size)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width, extent.height


def add_legend(axes: Axes, handles: Sequence[Any]) -> None:
    """Explain the series in rows above the axes, where they cover nothing."""
    sizes = [text_size(axes.figure, handle.get_label(), TEXT) for handle in handles]
    widths = [width + SYMBOL for width, _ in sizes]
    columns = next((n for n in range(len(widths), 1, -1) if sum(_widest(widths, n)) < LEGEND), 1)
    axes.legend(
        # It fills columns; people read rows.
        handles=[handle for column in range(columns) for handle in handles[column::columns]],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        columnspacing=1.5,
        handlelength=2.2,
        handletextpad=0.4,
        borderpad=0,
        borderaxespad=0.8,
    )


def _widest(widths: Sequence[float], columns: int) -> list[float]:
    return [max(widths[column::columns]) for column in range(columns)]
