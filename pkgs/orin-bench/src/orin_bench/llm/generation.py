"""A model that continues a prompt, made ready and timed phase by phase."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from tinygrad.helpers import GlobalCounters

from orin_bench.llm.search import Clock, Search, searching


class Generator(Protocol):
    """A language model on one device with one prompt, which it continues greedily.

    Tokens are numbers on the host: once one is returned, the device is idle.
    """

    def restart(self) -> None:
        """Forget everything, so that the prompt comes next."""

    def read(self) -> int:
        """The first new token, after the whole prompt was read."""

    def rewind(self) -> None:
        """Go back to where the first new token is the last one."""

    def generate(self) -> int:
        """The next token."""


class TokenEngine(ABC):
    """An `orin_bench.engine.Engine` whose steps end when a token is on the host.

    Two steps are made at once, which compile and capture. `search` is what tinygrad's kernel search
    did in them, for `budget` seconds at most, and `compile_seconds` is without it. `kernels` is how
    many the first step launched. `memory` is for the generator's maker to tell, who closes it too.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        *,
        budget: float = math.inf,
        tick: Callable[[Search], object] = lambda search: None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.name, self.memory, self.kernels = name, 0, 0
        self.tokens: list[int] = []
        self._generator, self._clock = generator, clock
        with searching(budget, tick) as self.search:
            seconds = [*self.run(1), *self.run(1)]
        self.compile_seconds = sum(seconds) - self.search.seconds

    @abstractmethod
    def run(self, count: int) -> list[float]:
        """Seconds of each of `count` steps. Raises RuntimeError for a token that differs from the
        one of an earlier run: something on the device is not computed as it should be."""

    def close(self) -> None:
        """Forget the tokens; the generator outlives it."""
        self.tokens.clear()

    def _time(self, step: Callable[[], int], index: int) -> float:
        """Seconds of a step, whose token is the one at `index`."""
        launched, start = GlobalCounters.kernel_count, self._clock()
        token = step()
        seconds = self._clock() - start
        self.kernels = self.kernels or GlobalCounters.kernel_count - launched
        if index == len(self.tokens):
            self.tokens.append(token)
        if self.tokens[index] != token:
            raise RuntimeError(
                f"{self.name}: token {index} is {token} and was {self.tokens[index]} in an earlier "
                "repetition"
            )
        return seconds


class Reading(TokenEngine):
    """A step reads the whole prompt."""

    def run(self, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            self._generator.restart()
            seconds.append(self._time(self._generator.read, 0))
        return seconds


class Generating(TokenEngine):
    """A step generates a token, the first of a run the one after the prompt's own."""

    def run(self, count: int) -> list[float]:
        self._generator.rewind()
        return [self._time(self._generator.generate, index) for index in range(count)]
