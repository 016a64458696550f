"""The figures are those of vLLM's client, computed here again by hand."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orin_llm.load.answer import Answer
from orin_llm.load.doubts import doubts
from orin_llm.load.figures import Figures, Round, figures, summary
from orin_llm.load.overhead import Overhead

SAMPLES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


def answer(due: float = 0.0, chunks: tuple[float, ...] = (1.0, 1.2, 1.6), **more: Any) -> Answer:
    ended = chunks[-1] if chunks else due + 2.0
    values: dict[str, Any] = {"sent": due, "ended": ended, "chunks": list(chunks)}
    return Answer(due=due, **{**values, **more})


def of(*answers: Answer, seconds: float = 2.0) -> Figures:
    return figures([Round(list(answers), seconds)])


def by_hand(samples: list[float], percent: float) -> float:
    """Linear between the two nearest ranks (Hyndman and Fan's seventh definition)."""
    ordered = sorted(samples)
    rank = (len(ordered) - 1) * percent / 100
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


@given(SAMPLES)
def test_percentiles_are_interpolated(samples: list[float]) -> None:
    expected = {f"p{p}": by_hand(samples, p) for p in (50, 90, 95, 99)}
    expected["mean"] = math.fsum(samples) / len(samples)
    assert summary(samples) == pytest.approx(expected)


def test_no_samples_have_no_summary() -> None:
    assert summary([]) == {}


def test_latencies_of_one_answer() -> None:
    made = of(answer(due=0.5, sent=0.7, ended=1.7, output_tokens=5))
    assert made.ttft == pytest.approx([0.5])
    assert made.e2el == pytest.approx([1.2])
    assert made.tpot == pytest.approx([(1.2 - 0.5) / (5 - 1)])
    assert made.itl == pytest.approx([0.2, 0.4])


@given(st.lists(st.floats(0.001, 10), min_size=2, max_size=20), st.floats(0, 5))
def test_first_token_and_the_rest_make_up_the_whole(gaps: list[float], due: float) -> None:
    chunks = [due + sum(gaps[: index + 1]) for index in range(len(gaps))]
    made = of(answer(due, tuple(chunks), output_tokens=len(gaps)))
    whole = made.ttft[0] + made.tpot[0] * (len(gaps) - 1)
    assert whole == pytest.approx(made.e2el[0])
    assert made.itl == pytest.approx([after - before for before, after in pairwise(chunks)])


def test_one_token_has_no_time_per_output_token() -> None:
    made = of(answer(chunks=(1.0,), output_tokens=1))
    assert (made.ttft, made.tpot, made.itl) == ([1.0], [], [])


def test_throughput_counts_all_rounds_and_only_what_was_answered() -> None:
    good: dict[str, Any] = {"prompt_tokens": 100, "output_tokens": 10}
    rounds = [
        Round([answer(**good), answer(error="HTTP 429", detail="no room", **good)], 2.0),
        Round([answer(**good), answer(error="HTTP 429", detail="later", **good)], 3.0),
    ]
    made = figures(rounds)
    assert (made.requests, made.errors) == (2, {"HTTP 429": 2})
    assert made.details == {"HTTP 429": "no room"}
    assert made.requests_per_second == pytest.approx(2 / 5)
    assert made.output_per_second == pytest.approx(20 / 5)
    assert made.total_per_second == pytest.approx(220 / 5)
    assert made.token_seconds == pytest.approx([0.2, 0.3])


def test_whole_answers_have_no_times_of_tokens() -> None:
    made = of(answer(chunks=(), output_tokens=7))
    assert (made.ttft, made.tpot, made.itl, made.e2el) == ([], [], [], [2.0])
    assert made.output_tokens == 7


def test_chunks_count_where_usage_is_missing() -> None:
    made = of(answer(), answer(output_tokens=3))
    assert (made.output_tokens, made.uncounted) == (6, 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"output_tokens": None, "prompt_tokens": 64}, "without usage"),
        ({"output_tokens": 2, "prompt_tokens": 64}, "3 chunks for the 2 tokens"),
        ({"output_tokens": 6, "prompt_tokens": 64}, "2.0 tokens a chunk"),
        ({"output_tokens": 3, "prompt_tokens": 90}, "prompts of 90 tokens where 64"),
    ],
)
def test_doubtful_counts_are_told(more: dict[str, Any], said: str) -> None:
    (doubt,) = doubts(of(answer(**more)), prompt=64, output=2)
    assert said in doubt


def test_figures_without_doubt_say_nothing() -> None:
    assert doubts(of(answer(output_tokens=3, prompt_tokens=64)), prompt=64, output=3) == []


def test_short_answers_and_errors_are_told() -> None:
    made = of(answer(output_tokens=3), answer(error="broken off", detail="lost"))
    errors, short = doubts(made, prompt=None, output=100)
    assert errors == "1 x broken off: lost"
    assert "shorter than the 100 tokens" in short


@pytest.mark.parametrize("overhead", [Overhead([0.5], 0.1, 1.0), Overhead([], 0.95, 1.0)])
def test_a_client_at_its_limit_is_told(overhead: Overhead) -> None:
    made = figures([Round([answer(output_tokens=3)], 1.0, overhead)])
    (doubt,) = doubts(made, prompt=None, output=3)
    assert "the client itself was late" in doubt
