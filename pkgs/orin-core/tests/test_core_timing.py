"""Figures of a timing, and what the clock is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orin_core.timing import Timing, measure


class Device:
    """A fake clock and a device whose work is done only when it is synchronized."""

    def __init__(self, durations: list[float]) -> None:
        self.durations = iter(durations)
        self.now = 0.0
        self.queued = 0.0

    def step(self) -> None:
        self.queued += next(self.durations)

    def synchronize(self) -> None:
        self.now += self.queued
        self.queued = 0.0

    def clock(self) -> float:
        return self.now


def test_measures_to_the_end_of_the_work_without_the_warmup() -> None:
    device = Device([9.0, 8.0, 1.0, 3.0, 2.0])
    ticks: list[int] = []
    timing = measure(
        device.step,
        device.synchronize,
        warmup=2,
        repetitions=3,
        tick=lambda: ticks.append(1),
        clock=device.clock,
    )
    assert timing.seconds == [1.0, 3.0, 2.0]
    assert timing.median == 2.0
    assert len(ticks) == 5


def test_work_left_over_from_before_is_not_measured() -> None:
    device = Device([1.0])
    device.queued = 100.0
    timing = measure(device.step, device.synchronize, warmup=0, repetitions=1, clock=device.clock)
    assert timing.seconds == [1.0]


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50))
def test_agrees_with_numpy(seconds: list[float]) -> None:
    timing = Timing(seconds)
    assert timing.median == pytest.approx(np.median(seconds))
    assert timing.p50 == timing.median
    assert timing.minimum == min(seconds)
    assert timing.p95 == pytest.approx(np.percentile(seconds, 95))
    assert timing.p99 == pytest.approx(np.percentile(seconds, 99))
    low, high = np.percentile(seconds, [25, 75])
    assert timing.spread == pytest.approx((high - low) / np.median(seconds), rel=1e-9, abs=1e-12)
