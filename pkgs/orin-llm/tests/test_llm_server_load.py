"""Many streams at once: no token is lost, doubled or another's, and every slot is free again."""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Iterator

import httpx
import pytest

from fake_engine import FakeEngine
from orin_llm.engine.request import Request
from served import Served, busy, serve

STREAMS = 32


def own_text(request: Request) -> Iterator[int]:
    """Tokens that tell which request they belong to, and where they are in its answer."""
    number = request.prompt[0]
    place = 0
    while True:
        yield (number * 31 + place * 7) % 86 + 40
        place += 1


async def pieces(http: httpx.AsyncClient, number: int, tokens: int) -> AsyncGenerator[str, None]:
    body = {"prompt": [number], "max_tokens": tokens, "stream": True, "ignore_eos": True}
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])["choices"][0]["text"]


async def one(served: Served, http: httpx.AsyncClient, number: int, dice: random.Random) -> int:
    """Ask once, and leave at a random place or stay; how many tokens came."""
    tokens = dice.randrange(1, 200)
    leave = dice.randrange(1, tokens + 1) if dice.random() < 0.3 else None
    expected = own_text(Request([number], tokens))
    came = 0
    stream = pieces(http, number, tokens)
    async for piece in stream:
        if piece:
            # Every one of these tokens is a whole character, so each piece is one token.
            assert piece == served.tokenizer.decode([next(expected)])
            came += 1
        if came == leave:
            await stream.aclose()
            return came
    assert came == tokens
    return came


async def load(served: Served, seconds: float) -> int:
    limits = httpx.Limits(max_connections=STREAMS)
    end = time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30) as http:

        async def client(number: int) -> int:
            dice, came = random.Random(number), 0
            while time.monotonic() < end:
                came += await one(served, http, number, dice)
            return came

        return sum(await asyncio.gather(*map(client, range(1, STREAMS + 1))))


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_streams_do_not_mix(seconds: float) -> None:
    engine = FakeEngine(own_text, max_running=16, max_waiting=STREAMS, context=1000)
    with serve(engine) as served:
        came = asyncio.run(load(served, seconds))
        assert came > 1000 * seconds
        assert served.idle()
        assert engine.stats().generated_tokens >= came


def test_all_slots_are_free_when_all_clients_vanish() -> None:
    engine = FakeEngine(own_text, max_running=8, context=10**6, step=0.002)

    async def vanish(served: Served) -> None:
        async with httpx.AsyncClient(base_url=served.url, timeout=30) as http:
            streams = [pieces(http, number, 100_000) for number in range(1, 9)]
            for stream in streams:
                await anext(stream)
            assert busy(engine) == 8
            for stream in streams:
                await stream.aclose()

    with serve(engine) as served:
        asyncio.run(vanish(served))
        assert served.idle()
