"""The roofline model: what was attained, under the bounds of memory and arithmetic."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orin_bench.drawing.labels import Array, place_labels
from orin_bench.drawing.style import (
    HEIGHT,
    PLAIN,
    WIDTH,
    add_legend,
    look,
    new_figure,
    text_size,
)

if TYPE_CHECKING:
    from orin_bench.plot import Point
    from orin_bench.roofline import Roofline

FILLS = ("full", "none", "left", "top")  # of the markers, by dtype
GREY = "0.25"  # of the roofs

# Printer's points.
LABEL = 6.5
MARKER = 6.5
KEY_LINE, KEY_GAP = 9.0, 12.0

Groups = Mapping[tuple[str, float], "list[Point]"]  # by label and intensity
Segment = tuple[tuple[float, float], tuple[float, float]]  # in data coordinates


def draw_roofline(roofline: "Roofline", points: "Sequence[Point]") -> Figure:
    """See `orin_bench.plot.plot_roofline`; intensities and speeds are above zero."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        groups.setdefault((point.label, point.intensity), []).append(point)
    labels = [label for label, _ in groups]
    figure, misfits = _draw(roofline, groups, labels, key=[])
    if misfits:
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        key = [f"{number}  {label}" for number, label in zip(numbers, labels, strict=True)]
        figure, _ = _draw(roofline, groups, numbers, key)
    return figure


def _draw(
    roofline: "Roofline", groups: Groups, labels: Sequence[str], key: Sequence[str]
) -> tuple[Figure, int]:
    """The picture with one of `labels` beside each group, and how many of them cover something."""
    figure, axes = _with_key(f"Roofline of {roofline.device}", key)
    unit, scale = _frame(axes, roofline, groups)
    lines = _draw_roofs(axes, roofline)
    lines += _draw_points(axes, groups)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # texts are placed for the axes as they lie now
    boxes = _name_roofs(axes, roofline, unit, scale)
    segments = [axes.transData.transform(line) for line in lines]
    segments.append(_name_slope(axes, roofline))
    named = []
    for label, group in zip(labels, groups.values(), strict=True):
        places = axes.transData.transform([(p.intensity, p.flop_per_second) for p in group])
        boxes += [np.array([place, (MARKER / 2, MARKER / 2)]) for place in places]
        named.append((label, places))
    return figure, place_labels(axes, named, _stack(boxes), _stack(segments), LABEL)


def _stack(pairs: Sequence[Array]) -> Array:
    return np.array(pairs, float).reshape(-1, 2, 2)


def _with_key(title: str, key: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with axes for the points, and below them the lines of `key` in columns."""
    figure = new_figure(title, HEIGHT)
    if not key:
        return figure, figure.subplots()
    widest = max(text_size(figure, text, LABEL)[0] for text in key) + KEY_GAP
    columns = max(1, int(66 * WIDTH / widest))  # of 72 points an inch: beside the axis' numbers
    rows = math.ceil(len(key) / columns)
    depth = rows * KEY_LINE / 72
    figure.set_size_inches(WIDTH, HEIGHT + depth)
    axes, below = figure.subplots(2, height_ratios=[HEIGHT, depth])
    below.axis("off")
    for index, text in enumerate(key):
        column, row = divmod(index, rows)
        below.annotate(
            text,
            (0, 1),
            (column * widest, -row * KEY_LINE),
            xycoords="axes fraction",
            textcoords="offset points",
            size=LABEL,
            va="top",
            annotation_clip=False,
        )
    return figure, axes


def _frame(axes: Axes, roofline: "Roofline", groups: Groups) -> tuple[str, float]:
    """Scale and name the axes; return the unit of speed and how many FLOP/s it is."""
    points = [point for group in groups.values() for point in group]
    ridges = [peak / roofline.bandwidth for peak in roofline.peaks.values()] or [1.0]
    intensities = [min(ridges) / 30, 4 * max(ridges), *(point.intensity for point in points)]
    left, right = min(intensities) / 2, max(intensities) * 2
    roof = max(roofline.peaks.values(), default=right * roofline.bandwidth)
    speeds = [roof, 4 * left * roofline.bandwidth, *(point.flop_per_second for point in points)]
    unit, scale = ("TFLOP/s", 1e12) if max(speeds) >= 1e12 else ("GFLOP/s", 1e9)
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set(ylim=(min(speeds) / 2, max(speeds) * 2), ylabel=f"speed ({unit})")
    axes.set_xlabel("arithmetic intensity (FLOP per byte of memory traffic)")
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y / scale:.10g}")
    return unit, scale


def _draw_roofs(axes: Axes, roofline: "Roofline") -> list[Segment]:
    """A slope, as far as the highest peak, and from it a level line for every peak."""
    left, right = axes.get_xlim()
    end = max(roofline.peaks.values(), default=right * roofline.bandwidth) / roofline.bandwidth
    roofs = [((left, left * roofline.bandwidth), (end, end * roofline.bandwidth))]
    for peak in roofline.peaks.values():
        roofs.append(((peak / roofline.bandwidth, peak), (right, peak)))
    for roof in roofs:
        axes.plot(*zip(*roof, strict=True), color=GREY, linewidth=1.2)
    return roofs


def _draw_points(axes: Axes, groups: Groups) -> list[Segment]:
    """A marker for every point, by engine and dtype; the lines that join those of a group."""
    points = [point for group in groups.values() for point in group]
    engines = list(dict.fromkeys(point.engine for point in points))
    dtypes = list(dict.fromkeys(point.dtype for point in points))
    fills = {dtype: FILLS[index % len(FILLS)] for index, dtype in enumerate(dtypes)}
    marker: dict[str, Any] = {
        "markersize": MARKER,
        "markerfacecoloralt": "white",
        "linestyle": "none",
    }
    joins = []
    for (_, intensity), group in groups.items():
        speeds = [point.flop_per_second for point in group]
        joins.append(((intensity, min(speeds)), (intensity, max(speeds))))
        axes.plot(*zip(*joins[-1], strict=True), color="0.7", linewidth=0.6, zorder=1.9)
        for point in group:
            style = look(engines.index(point.engine)) | marker | {"fillstyle": fills[point.dtype]}
            axes.plot(intensity, point.flop_per_second, **style)
    handles = [Line2D([], [], label=name, **look(i), **marker) for i, name in enumerate(engines)]
    for name, fill in fills.items():
        style = {"color": GREY, "marker": "o"} | marker | {"fillstyle": fill}
        handles.append(Line2D([], [], label=name, **style))
    add_legend(axes, handles)
    return joins


def _name_roofs(axes: Axes, roofline: "Roofline", unit: str, scale: float) -> list[Array]:
    """Write dtypes and speed of every peak above its right end; return the texts' boxes."""
    names: dict[float, list[str]] = {}
    for dtype, peak in roofline.peaks.items():
        names.setdefault(peak, []).append(dtype)
    boxes = []
    for peak, dtypes in names.items():
        text = axes.annotate(
            f"{', '.join(dtypes)}  {peak / scale:.4g} {unit}",
            (axes.get_xlim()[1], peak),
            (0, 2),
            textcoords="offset points",
            size=LABEL,
            color=GREY,
            ha="right",
        )
        low, high = text.get_window_extent().get_points()
        boxes.append(np.array([(low + high) / 2, (high - low) / 2]))
    return boxes


def _name_slope(axes: Axes, roofline: "Roofline") -> Array:
    """Write the bandwidth along the slope; return the segment of the page that the text covers."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    first = max(left, bottom / roofline.bandwidth)
    last = min(right, max(roofline.peaks.values(), default=top) / roofline.bandwidth)
    ends = axes.transData.transform([(x, x * roofline.bandwidth) for x in (first, last)])
    along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
    across = np.array([-along[1], along[0]])
    middle = math.sqrt(first * last)
    name = f"copy  {roofline.bandwidth / 1e9:.4g} GB/s"
    axes.annotate(
        name,
        (middle, middle * roofline.bandwidth),
        tuple(3 * across),
        textcoords="offset points",
        size=LABEL,
        color=GREY,
        ha="center",
        rotation=math.degrees(math.atan2(along[1], along[0])),
        rotation_mode="anchor",
    )
    centre = ends.mean(0) + (3 + LABEL / 2) * across
    reach = text_size(axes.figure, name, LABEL)[0] / 2 * along
    return np.array([centre - reach, centre + reach])
