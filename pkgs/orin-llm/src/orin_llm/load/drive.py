"""Load on one server: so many at a time, or so many a second."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orin_llm.load.answer import Target, ask
from orin_llm.load.figures import Round
from orin_llm.load.overhead import watch

Bodies = Iterator[dict[str, Any]]  # of requests, without end
Step = Callable[[], None]


@dataclass(frozen=True)
class Concurrency:
    """A closed loop: each of `streams` clients sends its next request when it has an answer."""

    streams: int

    def __str__(self) -> str:
        return f"concurrency {self.streams}"

    @property
    def case(self) -> dict[str, float]:
        return {"concurrency": self.streams}

    @property
    def wave(self) -> int:
        """How many requests are under way at once."""
        return self.streams

    def default_requests(self) -> int:
        return max(12, 8 * self.streams)


@dataclass(frozen=True)
class Rate:
    """An open loop: requests arrive as a Poisson process, whatever the server has answered."""

    per_second: float

    def __str__(self) -> str:
        return f"rate {self.per_second:g}"

    @property
    def case(self) -> dict[str, float]:
        return {"rate": self.per_second}

    @property
    def wave(self) -> int:
        return max(1, min(8, round(self.per_second)))

    def default_requests(self) -> int:
        return max(12, round(30 * self.per_second))


Load = Concurrency | Rate


@dataclass(frozen=True)
class Extent:
    """How long a round is: so many requests, or so many seconds, after which none is begun."""

    requests: int | None = None
    seconds: float | None = None


async def run_round(
    target: Target,
    load: Load,
    extent: Extent,
    bodies: Bodies,
    into: Round,
    generator: random.Random,
    step: Step = lambda: None,
) -> None:
    """Fill `into` with a round's answers as they come: what came before an interruption stays.

    `step` is called after every answer. Raises GoneError if nothing listens any more.
    """
    start = time.perf_counter()

    async def send(due: float | None = None) -> None:
        into.answers.append(await ask(target, next(bodies), due))
        step()

    async with watch(into.overhead):
        try:
            if isinstance(load, Concurrency):
                await _closed(load.streams, extent, send)
            else:
                await _open(arrivals(load.per_second, extent, generator), send)
        finally:
            into.seconds = time.perf_counter() - start


Send = Callable[[float | None], Coroutine[Any, Any, None]]


async def _closed(streams: int, extent: Extent, send: Send) -> None:
    deadline = time.perf_counter() + (extent.seconds or 0)
    left = extent.requests

    def more() -> bool:
        nonlocal left
        if left is None:
            return time.perf_counter() < deadline
        left -= 1
        return left >= 0

    async def client() -> None:
        while more():
            await send(None)

    await _together([client() for _ in range(streams)])


async def _open(offsets: Sequence[float], send: Send) -> None:
    start = time.perf_counter()

    async def client(due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        await send(due)

    await _together([client(start + offset) for offset in offsets])


def arrivals(per_second: float, extent: Extent, generator: random.Random) -> list[float]:
    """Seconds from the start at which a Poisson process's requests arrive.

    Their number is the expected one, so that the load is the same with every seed. Given their
    number, the arrivals of a Poisson process are uniform and independent (Ross, Introduction to
    Probability Models, theorem 5.2).
    """
    number = extent.requests or max(1, round(per_second * (extent.seconds or 0)))
    return sorted(generator.uniform(0, number / per_second) for _ in range(number))


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run `work` until all is done; the first error, or a cancellation, ends all of it."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
