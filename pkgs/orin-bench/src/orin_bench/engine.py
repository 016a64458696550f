"""What is measured: a step of a program that one library compiled for one device."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tinygrad import Device, Tensor, TinyJit
from tinygrad.uop.ops import Ops, UOp, buffers

from orin_core.timing import Timing, measure


class Engine(Protocol):
    """A step made ready: compiled, captured, its inputs on the device.

    `compile_seconds` is what the first two calls took, which compile the kernels and capture the
    graph; `memory` is what the step occupies on the device, in bytes.
    """

    name: str
    compile_seconds: float
    memory: int

    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` steps, the device idle before and after each."""

    def close(self) -> None:
        """Give the memory on the device back; the engine is of no use afterwards."""


class JitEngine:
    """A step in tinygrad, captured in a TinyJit and replayed.

    `step` builds its result, a lazy Tensor or a list of them, from Tensors that are realized on
    `device` already: copies to the device are no part of what is measured. `memory` counts every
    buffer that the captured graph reads or writes, its inputs and weights among them.
    """

    def __init__(
        self,
        name: str,
        device: str,
        step: Callable[[], Tensor | list[Tensor]],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name, self.device, self._clock = name, device, clock
        self._jit: TinyJit[Any] = TinyJit(step)
        self.synchronize()
        start = clock()
        for _ in range(2):
            self.step()
            self.synchronize()
        self.compile_seconds = clock() - start
        # What the first call computed with; the captured graph has buffers of its own.
        self._device.allocator.free_cache()
        self.memory = sum(buffers[buffer].nbytes for buffer in self._buffers())

    def step(self) -> Any:
        """Replay the step and return its result, without waiting for the device."""
        return self._jit()

    def synchronize(self) -> None:
        self._device.synchronize()

    def run(self, count: int) -> list[float]:
        return measure(
            self.step, self.synchronize, warmup=0, repetitions=count, clock=self._clock
        ).seconds

    def close(self) -> None:
        self.synchronize()
        self._jit.captured.free_intermediates()
        del self._jit
        self._device.allocator.free_cache()

    @property
    def _device(self) -> Any:
        return Device[self.device]

    def _buffers(self) -> set[UOp]:
        return {node for node in self._jit.captured.linear.toposort() if node.op is Ops.BUFFER}


def interleave(
    engines: Sequence[Engine],
    *,
    warmup: int,
    repetitions: int,
    rounds: int = 5,
    tick: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Time `repetitions` steps of every engine, in turns, so that drifting clocks hit all alike.

    The repetitions are spread over `rounds`; in each, every engine has one turn, and another one
    begins. `warmup` unmeasured steps precede an engine's first turn. One precedes each later turn,
    if there is more than one engine: the others have had the caches meanwhile. `tick` is called
    once for every measured step, after its turn.
    """
    seconds: list[list[float]] = [[] for _ in engines]
    rounds = min(rounds, repetitions)
    for index in range(rounds):
        count = repetitions * (index + 1) // rounds - repetitions * index // rounds
        for place in range(len(engines)):
            turn = (index + place) % len(engines)
            engines[turn].run(warmup if index == 0 else min(warmup, len(engines) - 1, 1))
            seconds[turn] += engines[turn].run(count)
            for _ in range(count):
                tick()
    return [Timing(each) for each in seconds]
