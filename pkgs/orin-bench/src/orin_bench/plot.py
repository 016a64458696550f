"""Pictures of a benchmark, SVG or PNG by the file's suffix: a roofline, and a sweep.

The same figures make the same file, whatever the user's own settings of matplotlib are.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orin_core.cli import UserError
from orin_core.result import check_writable

if TYPE_CHECKING:  # matplotlib takes seconds to import, and most runs make no picture
    from matplotlib.figure import Figure

    from orin_bench.roofline import Roofline

SUFFIXES = (".svg", ".png")


@dataclass(frozen=True)
class Point:
    """What an engine attained on a case; `intensity` is in FLOP per byte of memory traffic."""

    label: str
    engine: str
    dtype: str
    intensity: float
    flop_per_second: float


def check_plot(path: Path) -> None:
    """Raise UserError, before anything is measured, if no picture can be written to `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a picture ends in {' or '.join(SUFFIXES)}")
    check_writable(path)


def plot_roofline(path: Path, roofline: "Roofline", points: Sequence[Point]) -> None:
    """Draw what was attained under what the device can: min(peak, intensity * bandwidth).

    There is a roof for every dtype of `roofline.peaks` (Williams, Waterman and Patterson, Roofline,
    CACM 52(4), 2009). Points of one label and intensity share the label; where labels do not fit,
    they are numbers with a key below. What has no place on logarithmic axes, as
    a point without operations, is left out. Raises UserError if `path` cannot be written.
    """
    shown = [
        point
        for point in points
        if 0 < point.intensity < math.inf and 0 < point.flop_per_second < math.inf
    ]
    with _matplotlib():
        from orin_bench.drawing.roofline import draw_roofline

        _save(draw_roofline(roofline, shown), path)


def plot_sweep(
    path: Path,
    title: str,
    x: Sequence[float] | Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    xlabel: str,
    ylabel: str,
) -> None:
    """Draw a line per series through the middles of (low, middle, high), with bars for the rest.

    Every series has as many points as `x`, nan where nothing was measured. Numbers that span a
    factor of eight are spaced by their logarithms, texts evenly. Raises UserError if `path` cannot
    be written.
    """
    with _matplotlib():
        from orin_bench.drawing.sweep import draw_sweep

        _save(draw_sweep(title, x, series, xlabel, ylabel), path)


@contextmanager
def _matplotlib() -> Iterator[None]:
    """matplotlib with our style alone, without a word, and as it was afterwards."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of a HOME that it cannot write to, and needs none
    try:
        from matplotlib import style

        from orin_bench.drawing.style import STYLE

        with style.context(["default", STYLE]):
            yield
    finally:
        log.setLevel(level)


def _save(figure: "Figure", path: Path) -> None:
    """Write `figure` to `path`, whole or not at all."""
    kind = path.suffix.lower().removeprefix(".")
    undated = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    partial = path.with_name(path.name + ".new")
    try:
        figure.savefig(partial, format=kind, metadata=undated)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
