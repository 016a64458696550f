"""Where the labels of a picture go, so that none covers a point, a line or another label.

Lengths are in printer's points. A point is [x, y] on the page; a box is the point in its middle and
[width, height] / 2; a segment is the points at its ends. Several are stacked in the first axis.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from orin_bench.drawing.style import text_size

DISTANCES = (4.0, 6.0, 9.0, 13.0, 18.0, 24.0, 31.0, 40.0)  # between a point and its label
ANGLES = np.arange(16) * math.pi / 8
LEADER = 9.0  # from this distance on a thin line leads from the label to the point
MARGIN = 1.0  # kept free around a label
CROWD = 30.0  # how far away another point still makes a place crowded

# What distance would be as bad as covering something, or as being nearer to another's point.
COVERS_BOX, COVERS_LINE, MISLEADS = 1000.0, 300.0, 10.0

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[str, Array]],
    boxes: Array,
    segments: Array,
    size: float,
) -> int:
    """Write every text beside one of its points; return how many of them cover something.

    A label stays within the axes, clear of `boxes` and `segments` and of the labels before it, as
    near to its point as that allows; the most crowded come first. The figure's layout must be
    final, and its pixels printer's points (72 dpi).
    """
    misfits = 0
    for index in _most_crowded_first([points for _, points in labels]):
        text, points = labels[index]
        half = np.array(text_size(axes.figure, text, size)) / 2 + MARGIN
        anchors, places, distances = _places(axes, points, half)
        leaders = np.stack([anchors, places[:, 0]], 1)
        leads = distances >= LEADER
        covered = COVERS_BOX * _overlap(places, boxes).sum(1)
        covered += COVERS_LINE * _cross(segments, places).sum(0)
        foreign = _cross(leaders, boxes) & ~_within(anchors, boxes)
        covered += COVERS_LINE * (foreign.sum(1) * leads)
        others = [other for number, (_, other) in enumerate(labels) if number != index]
        misleads = ~leads & (_gaps(places, others) < distances + MARGIN)
        best = int(np.argmin(covered + distances + MISLEADS * misleads))

        misfits += bool(covered[best])
        boxes = np.concatenate([boxes, places[best : best + 1]])
        if leads[best]:
            segments = np.concatenate([segments, leaders[best : best + 1]])
        line = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            text,
            tuple(axes.transData.inverted().transform(anchors[best])),
            tuple(places[best, 0] - anchors[best]),
            textcoords="offset points",
            arrowprops=line if leads[best] else None,
            fontsize=size,
            ha="center",
            va="center",
        )
    return misfits


def _most_crowded_first(groups: Sequence[Array]) -> list[int]:
    middles = np.array([points.mean(0) for points in groups]).reshape(-1, 2)
    crowd = [np.exp(-np.hypot(*(middles - middle).T) / CROWD).sum() for middle in middles]
    return sorted(range(len(groups)), key=lambda index: -crowd[index])


def _places(axes: Axes, points: Array, half: Array) -> tuple[Array, Array, Array]:
    """Anchor, box and distance of every place for a label; within the axes, if there is one."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
    steps = [direction * (d + half) for d in DISTANCES for direction in directions]
    anchors = np.repeat(points, len(steps), 0)
    middles = anchors + np.tile(steps, (len(points), 1))
    distances = np.tile(np.repeat(DISTANCES, len(directions)), len(points))
    boxes = np.stack([middles, np.broadcast_to(half, middles.shape)], 1)
    frame = np.array(axes.bbox.extents).reshape(2, 2)
    inside = ((middles - half >= frame[0]) & (middles + half <= frame[1])).all(1)
    if inside.any():
        return anchors[inside], boxes[inside], distances[inside]
    return anchors, boxes, distances


def _overlap(boxes: Array, others: Array) -> Truth:
    """Which of `boxes` (rows) overlaps which of `others` (columns)."""
    apart = np.abs(boxes[:, None, 0] - others[None, :, 0])
    overlap: Truth = np.all(apart < boxes[:, None, 1] + others[None, :, 1], -1)
    return overlap


def _within(points: Array, boxes: Array) -> Truth:
    """Which of `points` (rows) lies in which of `boxes` (columns)."""
    within: Truth = np.all(np.abs(points[:, None] - boxes[None, :, 0]) <= boxes[None, :, 1], -1)
    return within


def _gaps(boxes: Array, groups: Sequence[Array]) -> Array:
    """From each of `boxes` to the nearest point of any group."""
    if not groups:
        return np.full(len(boxes), np.inf)
    points = np.concatenate(groups)
    beyond = np.abs(points[None] - boxes[:, None, 0]) - boxes[:, None, 1]
    distances: Array = np.linalg.norm(np.maximum(beyond, 0), axis=-1).min(1)
    return distances


def _cross(segments: Array, boxes: Array) -> Truth:
    """Which of `segments` (rows) passes through which of `boxes` (columns).

    They are apart if their shadows are, on the axes or across the segment (the separating axis
    theorem).
    """
    along = (segments[:, None, 1] - segments[:, None, 0]) / 2
    middle = segments.mean(1)[:, None] - boxes[None, :, 0]
    half = boxes[None, :, 1]
    shadows = np.all(np.abs(middle) <= half + np.abs(along), -1)
    across = np.abs(along[..., 0] * middle[..., 1] - along[..., 1] * middle[..., 0])
    reach = half[..., 0] * np.abs(along[..., 1]) + half[..., 1] * np.abs(along[..., 0])
    meet: Truth = shadows & (across <= reach)
    return meet
