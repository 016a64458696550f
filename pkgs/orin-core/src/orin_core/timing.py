"""How long a step takes, told with its spread."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Timing:
    """Durations of repeated steps, in seconds."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def p95(self) -> float:
        """The 95th percentile, interpolated between order statistics as numpy's default does."""
        return self._quantile(19, 20)

    @property
    def spread(self) -> float:
        """Interquartile range over the median: 0.02 is two percent. 0 for a single step."""
        return (self._quantile(3, 4) - self._quantile(1, 4)) / self.median

    def _quantile(self, index: int, parts: int) -> float:
        if len(self.seconds) == 1:
            return self.seconds[0]
        return quantiles(self.seconds, n=parts, method="inclusive")[index - 1]


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
