"""The last minutes of a few readings, for the graphs."""

import math
from collections import deque
from collections.abc import Callable

from orin_telemetry.top import facts
from orin_telemetry.top.snapshot import Snapshot

SPAN_S = 150.0  # what a graph shows at least
_SAMPLES = 2400
# A sample stands for this many intervals when the next one is late; a longer pause is a gap.
_PATIENCE = 2.0

READINGS: dict[str, Callable[[Snapshot], float | None]] = {
    "gpu": lambda now: _percent(facts.gpu_load(now.view)),
    "cpu": lambda now: _percent(facts.cpu_load(now)),
    "power": lambda now: facts.module_power(now.view)[0],
    "heat": lambda now: facts.hottest(now.view)[1],
}


class History:
    """Samples by time of the GPU's and the CPU's load (%), the module's power (W), and the hottest
    zone (C): gpu, cpu, power, heat."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, dict[str, float | None]]] = deque(maxlen=_SAMPLES)

    def add(self, now: Snapshot, interval_s: float) -> None:
        """Remember what the graphs need; the next sample is due in `interval_s`.

        The same snapshot once more only changes when that is.
        """
        if self._samples and self._samples[-1][0] == now.time:
            self._samples.pop()
        values = {name: reading(now) for name, reading in READINGS.items()}
        self._samples.append((now.time, interval_s, values))

    def dots(self, name: str, count: int) -> tuple[list[float | None], float]:
        """The last `count` dots of a graph, oldest first, and how many seconds one stands for.

        A dot is the mean of the samples that fall into it, or the sample before if it is recent;
        None where nothing answered.
        """
        if not self._samples or count < 1:
            return [None] * count, SPAN_S / max(count, 1)
        newest, interval_s, _ = self._samples[-1]
        seconds = max(SPAN_S / count, interval_s)
        last = math.floor(newest / seconds)
        sums: list[list[float]] = [[] for _ in range(count)]
        held: list[float | None] = [None] * count
        first = count  # of the dots that newer samples claimed
        for time, hold_s, values in reversed(self._samples):
            dot = count - 1 - last + math.floor(time / seconds)
            until = count - 1 - last + math.floor((time + _PATIENCE * hold_s) / seconds)
            if until < 0:
                break
            value = values[name]
            if dot >= 0 and value is not None:
                sums[dot].append(value)
            for later in range(max(dot + 1, 0), min(until + 1, first)):
                held[later] = value
            first = min(first, max(dot, 0))
        return [
            sum(found) / len(found) if found else before
            for found, before in zip(sums, held, strict=True)
        ], seconds


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio
