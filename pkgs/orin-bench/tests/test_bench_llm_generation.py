"""What is timed of a model that generates: from when it is asked to when the token is there."""

import gc
from pathlib import Path

import numpy as np
import pytest
from tinygrad import Tensor
from tinygrad.helpers import GlobalCounters

from orin_bench.engine import interleave
from orin_bench.llm.generation import Generating, Reading
from orin_bench.llm.greedy import OrinGenerator
from orin_bench.llm.source import Source
from orin_bench.llm.stock import StockGenerator
from orin_core.cli import UserError
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3, Shape
from orin_nn.transformer import argmax


class Clock:
    """Time that passes only where something is said to take it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A prompt takes 10 seconds, a token 1, and making ready for either 100."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.last = clock, 0

    def restart(self) -> None:
        self.clock.now += 100

    def read(self) -> int:
        self.clock.now += 10
        return 7

    def rewind(self) -> None:
        self.clock.now += 100
        self.last = 7

    def generate(self) -> int:
        self.clock.now += 1
        GlobalCounters.kernel_count += 5
        self.last += 1
        return self.last


def test_only_steps_are_timed() -> None:
    clock = Clock()
    fake = Fake(clock)
    reading = Reading("fake", fake, clock=clock)
    generating = Generating("fake", fake, clock=clock)
    assert reading.compile_seconds == 20
    assert generating.compile_seconds == 2
    assert generating.kernels == 5
    assert reading.run(3) == [10, 10, 10]
    assert generating.run(4) == [1, 1, 1, 1]
    assert generating.tokens == [8, 9, 10, 11]
    assert reading.tokens == [7]
    generating.run(2)
    assert generating.tokens == [8, 9, 10, 11]


def test_every_repetition_begins_after_the_prompt() -> None:
    clock = Clock()
    engines = [Generating(name, Fake(clock), clock=clock) for name in "ab"]
    timings = interleave(engines, warmup=1, repetitions=12, rounds=3)
    assert [timing.seconds for timing in timings] == [[1.0] * 12] * 2
    assert [engine.tokens for engine in engines] == [[8, 9, 10, 11]] * 2


def test_another_token_than_before_is_a_mistake_of_ours() -> None:
    clock = Clock()
    fake = Fake(clock)
    generating = Generating("fake", fake, clock=clock)
    generating.tokens = [8, 10]
    with pytest.raises(RuntimeError, match="fake: token 1 is 9 and was 10 in an earlier"):
        generating.run(2)


@pytest.mark.parametrize("size", [512, 640, 7])
def test_the_likeliest_token(size: int) -> None:
    logits = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    for place in (0, size // 3, size - 1):
        logits[place] = logits.max() + 1
        answer = argmax(Tensor(logits[None], device="CPU").realize())
        assert (answer.shape, answer.item()) == ((1,), place)
    equal = np.zeros(size, np.float32)
    equal[[2, size - 2]] = 1
    assert argmax(Tensor(equal[None], device="CPU").realize()).item() == 2


def test_our_model_continues_greedily() -> None:
    """The tokens are those of reading the text again and again, and its memory is given back."""
    gc.collect()  # models of earlier tests, which their graphs know
    source, used = Source.random(TINY_LLAMA, "F16"), GlobalCounters.mem_used_per_device["CPU"]
    prompt = list(range(1, 20))

    def generator(prompt: list[int], generated: int) -> OrinGenerator:
        return OrinGenerator(source.model, source.read, "CPU", prompt, generated, 64)

    one = generator(prompt, 4)
    first = one.read()
    tokens = Generating("ours", one)
    tokens.run(4)
    one.close()
    assert GlobalCounters.mem_used_per_device["CPU"] == used
    again = generator([*prompt, first, *tokens.tokens[:3]], 1)
    assert again.read() == tokens.tokens[3]
    again.close()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [TINY_LLAMA, TINY_QWEN3])
def test_tinygrads_own_model_says_the_same(shape: Shape, tmp_path: Path) -> None:
    path, prompt = tmp_path / "model.gguf", list(range(1, 40))
    write_random(path, shape, "F16")
    source = Source.open(path, shape.architecture)
    ours = OrinGenerator(source.model, source.read, "CPU", prompt, 20, 64)
    stock = StockGenerator(path, prompt, 20, 64)
    for generator in (ours, stock):
        generator.restart()
    assert ours.read() == stock.read()
    for generator in (ours, stock):
        generator.rewind()
    assert [ours.generate() for _ in range(20)] == [stock.generate() for _ in range(20)]


def test_a_context_that_is_too_small_for_tinygrads_own_model(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_random(path, TINY_LLAMA, "F16")
    with pytest.raises(UserError, match=r"tinygrad\.llm needs a context of 257"):
        StockGenerator(path, [1] * 200, 56, 256)
