"""A picture of a run: throughput and latencies of all servers against the load."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orin_core.cli import UserError
from orin_core.result import check_writable

if TYPE_CHECKING:  # matplotlib takes seconds to import, and most runs make no picture
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")

# Lightness and markers differ too, for greyscale and colour blindness (Paul Tol's high-contrast
# and medium-contrast schemes, https://personal.sron.nl/~pault/).
COLOURS = ("#004488", "#DDAA33", "#BB5566", "#000000", "#6699CC", "#EE99AA")
MARKERS = ("o", "s", "^", "D", "v", "P")
LATENCIES = ("time to first token", "time per output token", "end to end")


def check_plot(path: Path) -> None:
    """Raise UserError, before anything is measured, if no picture can be written to `path`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--plot {path}: a picture ends in {' or '.join(SUFFIXES)}")
    check_writable(path)


def write_plot(path: Path, document: dict[str, Any], load: str) -> None:
    """Draw what `Report.document` holds; `load` is concurrency or rate. Raises UserError if `path`
    cannot be written."""
    log = logging.getLogger("matplotlib")
    log.setLevel(logging.ERROR)  # it tells of a HOME that it cannot write to, and needs none
    from matplotlib import style

    style.use("default")  # the same picture whatever the user's own settings are
    figure = draw(document, load)
    kind = path.suffix.lower().removeprefix(".")
    undated = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    partial = path.with_name(path.name + ".new")
    try:
        figure.savefig(partial, format=kind, metadata=undated, dpi=200)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def draw(document: dict[str, Any], load: str) -> "Figure":
    """A panel for throughput, and one for each latency: p50 as a line, up to p99 as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    loads: list[dict[str, Any]] = sorted(document["loads"], key=lambda entry: entry[load])
    shown = [name for name in LATENCIES if any(entry["latencies"][name] for entry in loads)]
    rows = 2 if len(shown) > 1 else 1
    figure = Figure((7.5, 0.4 + 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, 2, 1 + index) for index in range(1 + len(shown))]
    for index, server in enumerate(dict.fromkeys(each["server"] for each in document["loads"])):
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "label": server,
        }
        own = [entry for entry in loads if entry["server"] == server]
        speeds = [entry["output_tokens_per_second"] for entry in own]
        axes[0].plot([entry[load] for entry in own], speeds, **look)
        for panel, name in zip(axes[1:], shown, strict=True):
            _draw_latency(
                panel, [entry for entry in own if entry["latencies"][name]], name, load, look
            )
    for panel, label in zip(
        axes, ["output tokens/s", *(f"{name}, ms" for name in shown)], strict=True
    ):
        panel.set_ylabel(label)
        _scale(panel, sorted({entry[load] for entry in loads}), load)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=6)
    return figure


def _draw_latency(
    panel: "Axes", entries: Sequence[dict[str, Any]], name: str, load: str, look: dict[str, Any]
) -> None:
    x = [entry[load] for entry in entries]
    middle, high = (
        [1e3 * entry["latencies"][name][p] for entry in entries] for p in ("p50", "p99")
    )
    panel.plot(x, middle, **look)
    panel.fill_between(x, middle, high, color=look["color"], alpha=0.15, linewidth=0)


def _scale(panel: "Axes", ticks: Sequence[float], load: str) -> None:
    panel.set_xlabel("requests/s" if load == "rate" else "concurrent requests")
    if ticks and ticks[-1] >= 8 * ticks[0]:
        panel.set_xscale("log", base=2)
        panel.minorticks_off()
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_ylim(bottom=0)
    panel.grid(color="0.9", linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)
