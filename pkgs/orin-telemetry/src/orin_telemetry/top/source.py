"""Where the readings come from: this machine, files elsewhere, or a simulated board."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orin_telemetry import collectors
from orin_telemetry.collectors.board import INFO, BoardCollector
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Reading
from orin_telemetry.scrape import Scraper

_MEMORY = Path("/dev/shm")  # a disk would wear: hundreds of small files a second
_LONGEST_STEP_S = 10.0  # a simulated board that nobody looked at for longer stood still


@dataclass(frozen=True)
class Source:
    """A board's files and its clock in seconds. `simulated` is the scenario's name, or empty."""

    kernel: Kernel
    clock: Callable[[], float]
    simulated: str = ""

    def scraper(self) -> Scraper:
        """All collectors; of those for root alone, the ones that find something to read."""
        chosen = [
            collector
            for collector in collectors.make(self.kernel)
            if collector.name not in collectors.PRIVILEGED or _answers(collector)
        ]
        return Scraper(self.kernel, chosen)


def is_jetson(kernel: Kernel) -> bool:
    """Whether the device tree names a chip of NVIDIA's Tegra line."""
    reading = Reading(kernel)
    BoardCollector(kernel).collect(reading)
    soc = INFO.labels.index("soc")
    return any(sample.labels[soc] for sample in reading.samples)


@contextmanager
def simulation(scenario: str) -> Iterator[Source]:
    """A simulated board in a temporary folder, which moves on whenever its clock is asked."""
    from orin_telemetry.sim.board import Board
    from orin_telemetry.sim.tree import Tree

    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="jetson-top-", dir=memory) as folder:
        root = Path(folder) / "board"
        with Tree(root) as tree:
            board = Board(scenario)
            tree.write(board)
            asked = time.monotonic()

            def clock() -> float:
                nonlocal asked
                now = time.monotonic()
                board.step(min(now - asked, _LONGEST_STEP_S))
                asked = now
                tree.write(board)
                return board.time

            yield Source(Kernel(root / "sys", root / "proc", root), clock, scenario)


def _answers(collector: Collector) -> bool:
    reading = Reading(collector.kernel)
    collector.discover(reading)
    collector.collect(reading)
    return bool(reading.samples)
