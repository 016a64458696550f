"""Where the readings come from: this machine, files elsewhere, or a simulated board."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orin_telemetry import collectors
from orin_telemetry.collectors.board import INFO, BoardCollector
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Reading
from orin_telemetry.scrape import DURATION, SUCCESS, Scraper

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
    from orin_telemetry.sim.tree import Tree, temporary

    with temporary("jetson-top") as root, Tree(root) as tree:
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
    """Asked by a scraper, which goes on where a read of debugfs hangs."""
    scrape = Scraper(collector.kernel, [collector]).scrape()
    found = any(sample.family not in (SUCCESS, DURATION) for sample in scrape.samples)
    return found and not scrape.failures
