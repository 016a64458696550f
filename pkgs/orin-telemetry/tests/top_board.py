"""A simulated board at one moment of its scenario, for the tests of the monitor."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orin_telemetry.kernel import Kernel
from orin_telemetry.sim.board import Board
from orin_telemetry.sim.tree import Tree
from orin_telemetry.top.draw import Line
from orin_telemetry.top.snapshot import Monitor
from orin_telemetry.top.source import Source
from orin_telemetry.top.state import State

STEP_S = 2.0  # between two looks at a board
_FRESH_S = 0.21  # a scraper answers the same for a fifth of a second


@contextmanager
def source(scenario: str, seconds: float, folder: Path) -> Iterator[Source]:
    """A board after so many seconds, which moves on by STEP_S whenever its clock is asked."""
    board = Board(scenario)
    board.step(seconds)
    with Tree(folder) as tree:
        tree.write(board)

        def clock() -> float:
            board.step(STEP_S)
            tree.write(board)
            return board.time

        yield Source(Kernel(folder / "sys", folder / "proc", folder), clock, scenario)


@contextmanager
def watched(scenario: str, seconds: float, folder: Path, samples: int = 2) -> Iterator[State]:
    """What the monitor knows after so many samples."""
    with source(scenario, seconds, folder) as board:
        monitor = Monitor(board.scraper(), board.clock)
        state = State(scenario, STEP_S)
        for number in range(samples):
            if number:
                time.sleep(_FRESH_S)
            state.add(monitor.sample())
        yield state


def shown(lines: list[Line]) -> str:
    """The text of lines without their styles."""
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)
