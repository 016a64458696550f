"""The engine on small models of random weights, against numpy and against itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from numpy_reference import Reference
from orin_core.cli import UserError
from orin_llm.engine.engine import LiveEngine
from orin_llm.engine.loader import load
from orin_llm.engine.request import (
    ClosedError,
    QueueFullError,
    Request,
    Sampling,
    Stream,
    Token,
)
from orin_llm.engine.scheduler import PIECES, piece
from orin_nn.gguf.random_model import write_random
from orin_nn.gguf.shapes import TINY_LLAMA, TINY_QWEN3

GREEDY = Sampling(temperature=0)
T = TypeVar("T")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_random(path, TINY_LLAMA, "F16")
    return path


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[LiveEngine]:
    """Room for four sequences, and for not much more than one of the longest."""
    engine = load(model, "CPU", context=256, max_running=4, cache_tokens=320, max_waiting=20)
    yield engine
    engine.close()


def random_tokens(count: int, seed: int = 0) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(0, 508, count).tolist()
    return tokens


async def collect(stream: Stream) -> list[Token]:
    return [token async for token in stream]


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), 60)

    return asyncio.run(bounded())


def answer(engine: LiveEngine, prompt: list[int], count: int) -> list[int]:
    async def ask() -> list[Token]:
        return await collect(engine.submit([Request(prompt, count, GREEDY)])[0])

    return [token.id for token in run(ask)]


@pytest.mark.parametrize(
    ("shape", "quantization"),
    [
        (TINY_LLAMA, "F16"),
        (TINY_LLAMA, "Q8_0"),
        (TINY_QWEN3, "F16"),
        (TINY_QWEN3, "Q8_0"),
    ],
    ids=["llama-F16", "llama-Q8_0", "qwen3-F16", "qwen3-Q8_0"],
)
def test_greedy_tokens_and_their_probabilities(
    shape: object, quantization: str, tmp_path: Path
) -> None:
    """64 tokens are those of float32 over the same weights, with a prompt of two pieces."""
    path, prompt = tmp_path / "model.gguf", random_tokens(40)
    write_random(path, shape, quantization)  # type: ignore[arg-type]
    engine, reference = (
        load(path, "CPU", context=256, max_running=1, max_waiting=0),
        Reference(path),
    )

    async def ask() -> list[Token]:
        return await collect(engine.submit([Request(prompt, 64, GREEDY, logprobs=3)])[0])

    tokens = run(ask)
    engine.close()
    assert [token.id for token in tokens] == reference.continuation(prompt, 64)
    text = prompt + [token.id for token in tokens]
    expected = reference.log_probabilities(text[:-1])[len(prompt) - 1 :]
    for token, row in zip(tokens, expected, strict=True):
        assert token.logprob == pytest.approx(row[token.id], abs=1e-2)
        assert token.top[0][0] == token.id
        for other, value in token.top:
            assert value == pytest.approx(row[other], abs=1e-2)
        assert token.top[-1][1] == pytest.approx(np.sort(row)[-3], abs=1e-2)


def test_many_at_once_answer_as_each_alone(engine: LiveEngine) -> None:
    """More than there are slots and pages for, so that some wait and some are computed again."""
    prompts = [random_tokens(length, length) for length in range(3, 100, 5)]
    alone = [answer(engine, prompt, 24) for prompt in prompts]

    async def together() -> list[list[Token]]:
        streams = engine.submit([Request(prompt, 24, GREEDY) for prompt in prompts])
        return await asyncio.gather(*map(collect, streams))

    before = engine.stats().preemptions
    assert [[token.id for token in tokens] for tokens in run(together)] == alone
    assert engine.stats().preemptions > before
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)


def test_a_prompt_known_from_before_is_not_computed_again(engine: LiveEngine) -> None:
    prompt = random_tokens(100, 1)

    async def ask(prompt: list[int]) -> tuple[list[Token], int]:
        (stream,) = engine.submit([Request(prompt, 5, GREEDY)])
        return await collect(stream), stream.cached_tokens

    first, _ = run(lambda: ask(prompt))
    before = engine.stats()
    again, cached = run(lambda: ask(prompt))
    after = engine.stats()
    assert (again, cached) == (first, 96)  # six whole pages
    assert after.prefix_queries - before.prefix_queries == 100
    assert after.prefix_hits - before.prefix_hits == 96
    # And what was answered is as good as what was asked.
    followed = [*prompt, *(token.id for token in first), *random_tokens(20)]
    assert run(lambda: ask(followed))[1] == 96


def test_several_answers_share_the_prompt(engine: LiveEngine) -> None:
    prompt = random_tokens(64, 2)

    async def ask() -> list[int]:
        requests = [Request(prompt, 3, Sampling(seed=seed)) for seed in range(3)]
        streams = engine.submit(requests)
        await asyncio.gather(*map(collect, streams))
        return [stream.cached_tokens for stream in streams]

    assert run(ask) == [0, 48, 48]


def test_the_end_of_an_answer(engine: LiveEngine) -> None:
    prompt = random_tokens(30)
    tokens = answer(engine, prompt, 20)

    async def ask(request: Request) -> tuple[list[int], str | None]:
        (stream,) = engine.submit([request])
        return [token.id for token in await collect(stream)], stream.finish_reason

    stop = frozenset({tokens[5]})
    first = tokens.index(tokens[5])
    assert run(lambda: ask(Request(prompt, 20, GREEDY, stop_tokens=stop))) == (
        tokens[:first],
        "stop",
    )
    assert run(lambda: ask(Request(prompt, 2, GREEDY))) == (tokens[:2], "length")
    ids, reason = run(lambda: ask(Request(random_tokens(250), 50, GREEDY)))
    assert (len(ids), reason) == (6, "length")  # the context ends


class Countdown:
    """A grammar of the tokens 9, 8, ... 0, in this order."""

    failure = None

    def __init__(self) -> None:
        self.next = 9

    def allowed(self) -> NDArray[np.bool_]:
        allowed = np.zeros(512, np.bool_)
        allowed[self.next] = True
        return allowed

    def accept(self, token: int) -> None:
        assert token == self.next
        self.next -= 1

    @property
    def finished(self) -> bool:
        return self.next < 0


def test_a_grammar_decides(engine: LiveEngine) -> None:
    async def ask(sampling: Sampling) -> tuple[list[int], str | None]:
        request = Request(random_tokens(9), 50, sampling, constraint=Countdown())
        (stream,) = engine.submit([request])
        return [token.id for token in await collect(stream)], stream.finish_reason

    for sampling in (GREEDY, Sampling()):
        assert run(partial(ask, sampling)) == (list(range(9, -1, -1)), "stop")


def test_equal_seeds_answer_alike_whoever_else_runs(engine: LiveEngine) -> None:
    request = Request(random_tokens(20), 16, Sampling(seed=5, temperature=1.5))

    async def ask(others: int) -> list[Token]:
        more = [Request(random_tokens(40, seed), 16) for seed in range(others)]
        streams = engine.submit([request, *more])
        return (await asyncio.gather(*map(collect, streams)))[0]

    assert run(lambda: ask(0)) == run(lambda: ask(3))


def test_a_client_that_leaves_frees_its_slot_within_a_token(engine: LiveEngine) -> None:
    async def leave() -> int:
        streams = engine.submit([Request(random_tokens(5, n), 200, GREEDY) for n in range(6)])
        tokens = aiter(streams[0])
        await anext(tokens)
        generated = engine.stats().generated_tokens
        for stream in streams:
            stream.cancel()
        while engine.stats().running:
            await asyncio.sleep(0.001)
        rest = [token async for token in tokens]
        assert len(rest) <= 2
        assert [stream.finish_reason for stream in streams] == ["cancelled"] * 6
        return engine.stats().generated_tokens - generated

    assert run(leave) <= 8  # of four that ran, the step under way and what it had told before


def test_all_or_none_of_a_request_that_the_queue_has_no_room_for(engine: LiveEngine) -> None:
    async def flood() -> None:
        streams = engine.submit([Request(random_tokens(5), 50, GREEDY)] * 20)
        with pytest.raises(QueueFullError):
            engine.submit([Request([1], 1)] * 5)
        await collect(*engine.submit([Request([1], 1)]))
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*map(collect, streams))

    run(flood)
    assert len(answer(engine, [1, 2], 3)) == 3


def test_embeddings_are_those_of_the_last_token(engine: LiveEngine, model: Path) -> None:
    prompts = [random_tokens(50), random_tokens(1, 3), random_tokens(50)]
    rows = run(lambda: engine.embed(prompts))
    assert rows.shape == (3, 256)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-3)
    head = Reference(model).weights["output"]
    for row, prompt in zip(rows, prompts, strict=True):
        expected = Reference(model).logits(prompt)[-1]
        np.testing.assert_allclose(row @ head.T, expected, atol=1e-2)


def test_a_failed_step_is_told_to_everybody(model: Path) -> None:
    engine = load(model, "CPU", context=64, max_running=1, max_waiting=4)

    async def ask() -> None:
        streams = engine.submit([Request([1, 2], 60, GREEDY)] * 2)
        await anext(aiter(streams[0]))
        engine._scheduler._model.step = None  # type: ignore[method-assign,assignment]
        for stream in streams:
            with pytest.raises(ClosedError, match="not callable"):
                await collect(stream)
        with pytest.raises(ClosedError, match="not callable"):
            engine.submit([Request([1], 1)])

    run(ask)
    assert "not callable" in str(engine.failure())
    engine.close()


def test_closing_ends_every_stream(model: Path) -> None:
    engine = load(model, "CPU", context=64, max_running=1, max_waiting=4)

    async def ask() -> None:
        streams = engine.submit([Request([1, 2], 60, GREEDY)] * 2)
        await anext(aiter(streams[0]))
        await asyncio.to_thread(engine.close)
        for stream in streams:
            with pytest.raises(ClosedError, match="closed"):
                await collect(stream)

    run(ask)


def test_a_cache_smaller_than_the_context_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match="--cache-tokens 100: less than the context of 256"):
        load(model, "CPU", context=4096, max_running=1, cache_tokens=100, max_waiting=0)


def test_pieces_of_a_prompt() -> None:
    for length in range(2, 2000):
        left, steps = length, 0
        while left > 0:
            size = piece(left)
            assert size in PIECES
            assert left >= size / 2 or size == PIECES[0]
            left, steps = left - size, steps + 1
        assert steps <= length // PIECES[-1] + 4
