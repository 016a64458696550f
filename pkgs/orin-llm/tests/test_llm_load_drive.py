"""Load is what was asked for, and what is measured of a server of known timing is its timing."""

import asyncio
import itertools
import random
import time
from itertools import pairwise
from statistics import mean, median, stdev

import pytest

from fake_openai_server import Behaviour, Running, start
from orin_llm.load.answer import Target
from orin_llm.load.drive import Concurrency, Extent, Load, Rate, arrivals, run_round
from orin_llm.load.figures import Figures, Round, figures, summary
from orin_llm.load.measure import Plan
from orin_llm.load.overhead import Overhead, watch
from orin_llm.load.server import open_session

# By how much a busy machine may be late where nothing else is said, in seconds.
SLACK = 0.15


def drive(server: Running, load: Load, extent: Extent, tokens: int = 8) -> tuple[Round, Figures]:
    body = {
        "messages": [{"role": "user", "content": "a b c"}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }

    async def once() -> Round:
        made = Round()
        async with open_session(None) as session:
            target = Target(session, server.url, "chat", True)
            bodies = itertools.repeat(body)
            await run_round(target, load, extent, bodies, made, random.Random(1))
        return made

    made = asyncio.run(once())
    return made, figures([made])


def test_latencies_are_the_servers() -> None:
    """Both sides have one clock: what the client saw lies between what the server meant to do and
    what it did, and a little later."""
    with start(Behaviour(first=0.05, gap=0.02)) as server:
        _, made = drive(server, Concurrency(4), Extent(requests=16))
        log = server.log()
    assert made.requests == 16
    assert min(made.ttft) >= 0.05
    assert min(made.e2el) >= 0.05 + 7 * 0.02
    served = [entry["sent"][0] - entry["received"] for entry in log]
    assert median(made.ttft) == pytest.approx(median(served), abs=0.02)
    served = [(entry["sent"][-1] - entry["sent"][0]) / 7 for entry in log]
    assert median(made.tpot) == pytest.approx(median(served), abs=0.005)
    gaps = [after - before for entry in log for before, after in pairwise(entry["sent"])]
    assert len(made.itl) == len(gaps) == 16 * 7
    assert median(made.itl) == pytest.approx(median(gaps), abs=0.005)
    assert summary(made.itl)["mean"] == pytest.approx(mean(gaps), abs=0.005)


def test_rates_are_the_servers() -> None:
    with start(Behaviour(first=0.05, gap=0.02)) as server:
        done, made = drive(server, Concurrency(4), Extent(requests=16))
        log = server.log()
    span = log[-1]["sent"][-1] - log[0]["received"]
    assert span <= done.seconds <= span + SLACK
    assert made.output_per_second == pytest.approx(16 * 8 / done.seconds)
    assert made.total_per_second == pytest.approx(16 * (8 + 12) / done.seconds)


def test_percentiles_tell_the_slow_answer_from_the_others() -> None:
    with start(Behaviour(stall=(5, 1.0))) as server:
        _, made = drive(server, Concurrency(2), Extent(requests=20))
    shares = summary(made.ttft)
    assert shares["p50"] < 0.5
    assert shares["p90"] < 0.5
    assert shares["p99"] > 0.8  # numpy's: 0.81 of the way from the 19th to the 20th
    assert max(made.ttft) >= 1.0


def test_a_closed_loop_has_no_more_under_way_than_clients() -> None:
    with start(Behaviour(first=0.05)) as server:
        done, made = drive(server, Concurrency(3), Extent(requests=12))
    events = [(answer.sent, 1) for answer in done.answers]
    events += [(answer.ended, -1) for answer in done.answers]
    levels = list(itertools.accumulate(change for _, change in sorted(events)))
    assert max(levels) == 3
    assert made.requests == 12


def test_a_duration_ends_the_round_after_what_is_under_way() -> None:
    with start(Behaviour(first=0.1)) as server:
        done, made = drive(server, Concurrency(2), Extent(seconds=0.5))
    assert done.seconds >= 0.5
    first = min(answer.sent for answer in done.answers)
    assert max(answer.sent for answer in done.answers) <= first + 0.5
    assert made.requests == len(done.answers) >= 4


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(50.0, Extent(requests=5000), random.Random(7))
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= 100.0
    gaps = [after - before for before, after in pairwise(times)]
    assert mean(gaps) == pytest.approx(1 / 50, rel=0.02)
    assert stdev(gaps) == pytest.approx(1 / 50, rel=0.05)  # exponential: as large as the mean
    assert sum(gap > 2 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.1353, abs=0.02)


def test_arrivals_of_a_duration() -> None:
    assert len(arrivals(2.5, Extent(seconds=20), random.Random(7))) == 50
    assert len(arrivals(0.001, Extent(seconds=1), random.Random(7))) == 1


def test_a_stalled_server_does_not_keep_requests_from_being_sent() -> None:
    """A client that waited would send one request during the stall, and would see one latency."""
    with start(Behaviour(slots=1, stall=(5, 1.0), first=0.005, gap=0.0)) as server:
        _, made = drive(server, Rate(40.0), Extent(requests=40), tokens=2)
        log = server.log()
    expected = arrivals(40.0, Extent(requests=40), random.Random(1))
    received = [entry["received"] - log[0]["received"] for entry in log]
    planned = [offset - expected[0] for offset in expected]
    late = [real - plan for real, plan in zip(received, planned, strict=True)]
    assert max(late) < 0.4
    stalled = expected[4]
    meanwhile = [offset for offset in expected if stalled < offset < stalled + 0.5]
    assert len(meanwhile) >= 5
    assert sum(latency > 0.5 for latency in made.e2el) >= len(meanwhile)


def test_a_late_client_counts_its_lateness_to_the_latency() -> None:
    async def once(url: str) -> Round:
        made = Round()
        body = {"prompt": "a", "max_tokens": 1, "stream": True}
        async with open_session(None) as session:
            target = Target(session, url, "completions", True)
            load, extent = Rate(100.0), Extent(requests=10)
            bodies = itertools.repeat(body)
            task = asyncio.create_task(
                run_round(target, load, extent, bodies, made, random.Random(1))
            )
            await asyncio.sleep(0)
            time.sleep(0.5)  # the whole client stands still
            await task
        return made

    with start(Behaviour(first=0.0, gap=0.0)) as server:
        made = asyncio.run(once(server.url))
    expected = arrivals(100.0, Extent(requests=10), random.Random(1))
    lateness = sorted((answer.sent - answer.due for answer in made.answers), reverse=True)
    assert lateness[0] >= 0.5 - expected[0] - 0.01
    assert min(figures([made]).ttft) >= 0.5 - expected[-1] - 0.01


def test_overhead_sees_a_blocked_event_loop() -> None:
    async def once(block: float) -> Overhead:
        overhead = Overhead()
        async with watch(overhead):
            for _ in range(10):
                await asyncio.sleep(0.02)
                until = time.process_time() + block
                while time.process_time() < until:
                    pass
        return overhead

    blocked = asyncio.run(once(0.1))
    assert blocked.lag >= 0.08
    assert blocked.wall >= 1.0
    assert blocked.cpu >= 1.0
    assert blocked.busy == pytest.approx(blocked.cpu / blocked.wall)
    idle = asyncio.run(once(0.0))
    assert idle.cpu < blocked.cpu / 2


def test_rounds_share_what_was_asked_for() -> None:
    plan = Plan([Concurrency(4), Rate(2.0)], 10, None, 3, 1, "1")
    assert [extent.requests for extent in plan.extents(Concurrency(4))] == [5, 5]
    assert [extent.requests for extent in plan.extents(Concurrency(32))] == [10]
    assert [extent.requests for extent in plan.extents(Rate(2.0))] == [4, 3, 3]
    assert plan.steps(Concurrency(4)) == 10
    timed = Plan([Concurrency(4)], None, 60.0, 3, 1, "1")
    assert [extent.seconds for extent in timed.extents(Concurrency(4))] == [20.0] * 3
    assert timed.steps(Concurrency(4)) == 3
