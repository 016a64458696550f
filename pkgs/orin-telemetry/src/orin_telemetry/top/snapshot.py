"""What the monitor knows at one moment, and who asks for it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from orin_telemetry.metric import Family
from orin_telemetry.scrape import Scrape, Scraper
from orin_telemetry.view import View


@dataclass(frozen=True)
class Snapshot:
    """A scrape, the one before it, and the seconds between the two (0 for the first).

    `time` is in seconds on the board's clock; the scrape took `took_s`.
    """

    view: View
    before: View | None
    elapsed_s: float
    time: float
    took_s: float

    def rate(self, counter: Family, *labels: str) -> float | None:
        """How much `counter` grew a second, None until two scrapes have it; never negative, since
        a counter that shrank began anew."""
        now = self.view.all(counter).get(labels)
        then = self.before.all(counter).get(labels) if self.before else None
        if now is None or then is None or now < then or self.elapsed_s <= 0:
            return None
        return (now - then) / self.elapsed_s


class Monitor:
    """Scrapes when told to, and remembers the scrape before.

    `clock` gives seconds; a simulated board moves on when it is asked.
    """

    def __init__(self, scraper: Scraper, clock: Callable[[], float]) -> None:
        self._scraper = scraper
        self._clock = clock
        self._scrape: Scrape | None = None
        self._last: Snapshot | None = None

    def sample(self) -> Snapshot:
        """A new snapshot, or the last one where the scraper has nothing newer yet.

        Takes as long as the slowest collector, a second at most.
        """
        time = self._clock()
        started = perf_counter()
        scrape = self._scraper.scrape()
        took_s = perf_counter() - started
        last = self._last
        if last is not None and scrape is self._scrape:
            return last
        view = View(scrape)
        before, elapsed_s = (last.view, time - last.time) if last else (None, 0.0)
        self._scrape, self._last = scrape, Snapshot(view, before, elapsed_s, time, took_s)
        return self._last
