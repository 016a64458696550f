"""What the load generator itself costs: a client at its limit measures itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

PERIOD = 0.01  # seconds between two looks at the event loop

# asyncio's clock for sleepers ticks every millisecond, so that a lag below is none.
BUSY, LATE = 0.8, 0.010  # share of a core; seconds


@dataclass
class Overhead:
    """`lags` are by how much timers of the event loop came late, as every chunk may have."""

    lags: list[float] = field(default_factory=list)
    cpu: float = 0.0  # seconds, of all threads
    wall: float = 0.0

    @property
    def busy(self) -> float:
        """Share of one core that this process used."""
        return self.cpu / self.wall if self.wall else 0.0

    @property
    def lag(self) -> float:
        """The 99th percentile of the lags, in seconds."""
        return float(np.percentile(self.lags, 99)) if self.lags else 0.0

    @classmethod
    def total(cls, parts: Iterable["Overhead"]) -> "Overhead":
        parts = list(parts)
        return cls(
            list(chain.from_iterable(part.lags for part in parts)),
            sum(part.cpu for part in parts),
            sum(part.wall for part in parts),
        )


@asynccontextmanager
async def watch(overhead: Overhead) -> AsyncIterator[None]:
    """Fill `overhead` with what this process and its event loop do meanwhile."""
    cpu, wall = time.process_time(), time.perf_counter()
    task = asyncio.create_task(_sample(overhead.lags))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        overhead.cpu += time.process_time() - cpu
        overhead.wall += time.perf_counter() - wall


async def _sample(lags: list[float]) -> None:
    while True:
        due = time.perf_counter() + PERIOD
        await asyncio.sleep(PERIOD)
        lags.append(max(0.0, time.perf_counter() - due))
