"""What an engine's clock is asked and when, what it occupies, and whose turn it is."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from tinygrad import Tensor
from tinygrad.helpers import GlobalCounters

from orin_bench.engine import JitEngine, interleave

COUNT = 1 << 16  # float32 values: 256 KiB


def ramp() -> Tensor:
    return Tensor(np.arange(COUNT, dtype=np.float32), device="CPU").contiguous().realize()


def occupied() -> int:
    return int(GlobalCounters.mem_used_per_device["CPU"])


def test_a_step_is_captured_and_replayed() -> None:
    x = ramp()
    built = []

    def step() -> Tensor:
        built.append(x)
        return x * 2 + 1

    engine = JitEngine("tinygrad CPU", "CPU", step)
    assert len(built) == 2
    assert len(engine.run(3)) == 3
    assert all(seconds > 0 for seconds in engine.run(3))
    assert len(built) == 2
    np.testing.assert_array_equal(engine.step().numpy()[:3], [1, 3, 5])
    x.assign(Tensor.full((COUNT,), 4.0, device="CPU").contiguous()).realize()
    np.testing.assert_array_equal(engine.step().numpy()[:3], [9, 9, 9])


def test_a_step_may_have_several_results() -> None:
    x = ramp()
    engine = JitEngine("tinygrad CPU", "CPU", lambda: [x + 1, x.sum()])
    more, total = engine.step()
    assert more.numpy()[1] == 2
    assert total.item() == pytest.approx(COUNT * (COUNT - 1) / 2)


def test_memory_is_what_the_step_touches_and_is_given_back() -> None:
    gc.collect()  # what earlier tests left
    x = ramp()
    before = occupied()
    # Two kernels: the sum's result is the product's operand.
    engine = JitEngine("tinygrad CPU", "CPU", lambda: x * (x + 1).sum().contiguous())
    between = engine.memory - 2 * x.nbytes()
    assert 4 <= between <= 4096
    engine.close()
    assert occupied() == before


def test_the_clock_runs_from_idle_to_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    x = ramp()
    log: list[str] = []
    times: Iterator[float] = iter([10.0, 17.0, 100.0, 101.0, 200.0, 203.0])

    def clock() -> float:
        log.append("clock")
        return next(times)

    engine = JitEngine("tinygrad CPU", "CPU", lambda: x + 1, clock=clock)
    assert engine.compile_seconds == 7.0
    monkeypatch.setattr(engine, "step", lambda: log.append("step"))
    monkeypatch.setattr(engine, "synchronize", lambda: log.append("synchronize"))
    log.clear()
    assert engine.run(2) == [1.0, 3.0]
    assert log == ["synchronize", "clock", "step", "synchronize", "clock"] * 2


class Clock:
    """Time that passes only while an engine works."""

    def __init__(self, drift: float = 0.0) -> None:
        self.now, self.drift = 0.0, drift
        self.log: list[tuple[str, int]] = []


class Fake:
    """An engine whose step takes one second of its clock, longer as the clock goes on."""

    compile_seconds, memory = 0.0, 0

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock

    def run(self, count: int) -> list[float]:
        self.clock.log.append((self.name, count))
        seconds = []
        for _ in range(count):
            seconds.append(1.0 + self.clock.drift * self.clock.now)
            self.clock.now += seconds[-1]
        return seconds

    def close(self) -> None:
        raise AssertionError("its owner closes it")


def test_engines_take_turns() -> None:
    clock = Clock()
    engines = [Fake(name, clock) for name in "abc"]
    ticks: list[int] = []
    timings = interleave(
        engines, warmup=2, repetitions=7, rounds=3, tick=lambda: ticks.append(len(clock.log))
    )
    assert [len(timing.seconds) for timing in timings] == [7, 7, 7]
    assert clock.log == [
        *[("a", 2), ("a", 2), ("b", 2), ("b", 2), ("c", 2), ("c", 2)],
        *[("b", 1), ("b", 2), ("c", 1), ("c", 2), ("a", 1), ("a", 2)],
        *[("c", 1), ("c", 3), ("a", 1), ("a", 3), ("b", 1), ("b", 3)],
    ]
    assert len(ticks) == 21
    assert ticks[0] == 2  # after the first turn, not within it


def test_one_engine_just_repeats() -> None:
    clock = Clock()
    (timing,) = interleave([Fake("a", clock)], warmup=3, repetitions=10)
    assert len(timing.seconds) == 10
    assert clock.log == [("a", 3), *[("a", 2), ("a", 0)] * 4, ("a", 2)]


@pytest.mark.parametrize("repetitions", [1, 2, 4, 5, 6, 13])
def test_every_repetition_is_made(repetitions: int) -> None:
    clock = Clock()
    engines = [Fake(name, clock) for name in "ab"]
    timings = interleave(engines, warmup=0, repetitions=repetitions)
    assert [len(timing.seconds) for timing in timings] == [repetitions] * 2
    assert clock.now == 2 * repetitions


def test_no_warmup_is_none() -> None:
    clock = Clock()
    interleave([Fake(name, clock) for name in "ab"], warmup=0, repetitions=2)
    assert clock.now == 4


def test_drift_hits_all_alike() -> None:
    """One after the other, the second of two equal engines would seem a third slower."""
    clock = Clock(drift=0.01)
    first, second = (
        timing.median
        for timing in interleave([Fake(name, clock) for name in "ab"], warmup=1, repetitions=20)
    )
    assert second / first == pytest.approx(1, abs=0.06)
    clock = Clock(drift=0.01)
    (alone,) = interleave([Fake("a", clock)], warmup=1, repetitions=20)
    (later,) = interleave([Fake("b", clock)], warmup=1, repetitions=20)
    assert later.median / alone.median > 1.2
