"""Page 6: who answers, how fast, and what failed in words."""

import textwrap
from functools import partial

from orin_telemetry.scrape import DURATION, SUCCESS
from orin_telemetry.top.draw import BAD, Line, cells, ends, heading, text
from orin_telemetry.top.state import State
from orin_telemetry.top.units import number

_WIDTH = 36
_LINES = 5  # of failures of one collector


def lines(state: State, width: int, height: int) -> list[Line]:
    """The failures first; `height` does not change the page."""
    view = state.snapshot.view
    items = []
    for (name,), success in view.all(SUCCESS).items():
        seconds = view.one(DURATION, name)
        items.append(partial(_collector, name=name, success=bool(success), seconds=seconds))
    first = heading("Collectors", [], width, "time of the last reading")
    return [
        *_failures(state, width),
        first,
        *cells(items, width, max(1, (width + 2) // (_WIDTH + 2))),
    ]


def _failures(state: State, width: int) -> list[Line]:
    drawn: list[Line] = []
    for name, failures in state.snapshot.view.failures.items():
        drawn.append(text(name, BAD))
        for failure in failures[:_LINES]:
            drawn += [text(f"  {line}") for line in textwrap.wrap(failure, max(width - 2, 20))]
        if more := failures[_LINES:]:
            drawn.append(text(f"  and {len(more)} more"))
    return [heading("Failures", [], width), *drawn] if drawn else []


def _collector(width: int, name: str, success: bool, seconds: float | None) -> Line:
    verdict = text("answers") if success else text("fails", BAD)
    took = number(None if seconds is None else 1000 * seconds, 1, "ms")
    return ends([*text(f"{name:<12}"), *verdict], text(took), width)
