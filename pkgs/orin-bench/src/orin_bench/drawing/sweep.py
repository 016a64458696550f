"""How a figure changes with a setting: a line for each series, with bars of their spread."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orin_bench.drawing.style import HEIGHT, PLAIN, add_legend, look, new_figure

DASHES = ("-", "--", "-.", ":")
WIDE = 50  # from this ratio of largest to smallest on, a linear axis would flatten the small


def draw_sweep(
    title: str,
    x: Sequence[float] | Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """See `orin_bench.plot.plot_sweep`."""
    figure = new_figure(title, 0.75 * HEIGHT)
    axes = figure.subplots()
    places, lines = _scale_x(axes, x), []
    for index, (name, bars) in enumerate(series.items()):
        low, middle, high = zip(*bars, strict=True)
        below = [m - end for m, end in zip(middle, low, strict=True)]
        above = [end - m for m, end in zip(middle, high, strict=True)]
        dash = DASHES[index % len(DASHES)]
        line = axes.errorbar(
            places, middle, yerr=(below, above), label=name, linestyle=dash,
            capsize=2.5, elinewidth=0.9, **look(index),
        )  # fmt: skip
        lines.append(line)
    values = [end for bars in series.values() for bar in bars for end in bar if end > 0]
    if values and max(values) > WIDE * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    add_legend(axes, lines)
    return figure


def _scale_x(axes: Axes, x: Sequence[float] | Sequence[str]) -> Sequence[float]:
    """Choose scale and ticks of the x axis; return where on it the points are."""
    numbers = [value for value in x if not isinstance(value, str)]
    if len(numbers) < len(x):
        axes.set_xticks(range(len(x)), [str(value) for value in x])
        return range(len(x))
    logarithmic = min(numbers) > 0 and max(numbers) >= 8 * min(numbers)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.minorticks_off()
    steps = sorted(map(math.log2, numbers) if logarithmic else numbers)
    if all(after - before > 0.05 * (steps[-1] - steps[0]) for before, after in pairwise(steps)):
        axes.set_xticks(numbers)  # nearer to each other their labels would overlap
    axes.xaxis.set_major_formatter(PLAIN)
    return numbers
