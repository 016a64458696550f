"""The pages of the monitor, in the order of their keys; each is a function in a file of its own.

A page draws a `State` as lines for a width and a height in cells. It may return more lines than
fit: the screen scrolls.
"""

from collections.abc import Callable

from orin_telemetry.top.draw import Line
from orin_telemetry.top.pages import collectors, cpu, engines, overview, power, thermal
from orin_telemetry.top.state import State

PAGES: dict[str, Callable[[State, int, int], list[Line]]] = {
    "Overview": overview.lines,
    "CPU": cpu.lines,
    "Power": power.lines,
    "Thermal": thermal.lines,
    "Engines": engines.lines,
    "Collectors": collectors.lines,
}
