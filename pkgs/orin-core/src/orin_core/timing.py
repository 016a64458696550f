"""How long a step takes, told with its spread."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Timing:
    """Durations of repeated steps, in seconds. Percentiles are interpolated as numpy's are."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)

    @property
    def p50(self) -> float:
        return self.median

    @property
    def p95(self) -> float:
        return self._percentile(95)

    @property
    def p99(self) -> float:
        return self._percentile(99)

    @property
    def spread(self) -> float:
        """Interquartile range over the median: 0.02 is two percent. 0 for a single step."""
        return (self._percentile(75) - self._percentile(25)) / self.median

    def _percentile(self, percent: int) -> float:
        if len(self.seconds) == 1:
            return self.seconds[0]
        return quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def measure(
    step: Callable[[], object],
    synchronize: Callable[[], object],
    *,
    warmup: int,
    repetitions: int,
    tick: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time `step` until the device is idle again, `repetitions` times after `warmup` unmeasured.

    `synchronize` waits for the device; `tick` is called after every step, unmeasured.
    """
    seconds = []
    for index in range(warmup + repetitions):
        synchronize()
        start = clock()
        step()
        synchronize()
        if index >= warmup:
            seconds.append(clock() - start)
        tick()
    return Timing(seconds)
