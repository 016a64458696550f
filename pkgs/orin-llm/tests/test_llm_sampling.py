"""From logits to tokens, by the definitions of each parameter."""

import numpy as np
import pytest

from orin_llm.engine.request import Sampling
from orin_llm.engine.sampling import Sampler, log_probabilities

CHANCES = np.array([0.5, 0.25, 0.15, 0.06, 0.04])
LOGITS = np.log(CHANCES).astype(np.float32) + np.float32(3)


def frequencies(sampling: Sampling, logits: np.ndarray = LOGITS, count: int = 4000) -> np.ndarray:
    sampler = Sampler(sampling, [])
    return np.bincount([sampler.choose(logits) for _ in range(count)], minlength=5) / count


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(seed=1), CHANCES),
        (Sampling(seed=1, temperature=2), CHANCES**0.5),
        (Sampling(seed=1, temperature=0.5), CHANCES**2),
        (Sampling(seed=1, top_k=2), CHANCES * [1, 1, 0, 0, 0]),
        (Sampling(seed=1, top_p=0.74), CHANCES * [1, 1, 0, 0, 0]),
        (Sampling(seed=1, top_p=0.76), CHANCES * [1, 1, 1, 0, 0]),
        (Sampling(seed=1, top_p=1e-9), CHANCES * [1, 0, 0, 0, 0]),
        (Sampling(seed=1, min_p=0.2), CHANCES * [1, 1, 1, 0, 0]),
        (Sampling(seed=1, logit_bias={0: -100, 4: float(np.log(5))}), [0, 0.25, 0.15, 0.06, 0.2]),
        # Of what top_k leaves, two thirds and one third, top_p takes the first.
        (Sampling(seed=1, top_k=2, top_p=0.6), CHANCES * [1, 0, 0, 0, 0]),
        (Sampling(seed=1, temperature=1e-30), [1, 0, 0, 0, 0]),
    ],
    ids=str,
)
def test_distributions(sampling: Sampling, expected: np.ndarray) -> None:
    expected = np.array(expected, float)
    expected /= expected.sum()
    drawn = frequencies(sampling)
    # Five standard deviations of a frequency over 4000 draws.
    assert np.all(np.abs(drawn - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000))


def test_penalties() -> None:
    sampler = Sampler(
        Sampling(temperature=0, presence_penalty=0.5, frequency_penalty=0.3), prompt=[0, 0, 0]
    )
    # Each time a token is chosen it gets dearer; those of the prompt are not.
    logits = np.array([2, 1.3, 0.45], np.float32)
    chosen = []
    for _ in range(6):
        chosen.append(sampler.choose(logits))
        sampler.accept(chosen[-1])
    assert chosen == [0, 1, 0, 0, 0, 1]


def test_repetition_penalty_counts_the_prompt_and_moves_towards_less_likely() -> None:
    logits = np.array([2.0, 1.5, -1.0, -1.4], np.float32)
    assert Sampler(Sampling(temperature=0, repetition_penalty=1.5), [0]).choose(logits) == 1
    # Below zero it multiplies: -1.0 becomes -1.5.
    allowed = np.array([False, False, True, True])
    assert (
        Sampler(Sampling(temperature=0, repetition_penalty=1.5), [2]).choose(logits, allowed) == 3
    )


def test_equal_seeds_draw_alike_and_none_does_not() -> None:
    def drawn(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(seed=seed), [])
        return [sampler.choose(LOGITS) for _ in range(50)]

    assert drawn(7) == drawn(7) != drawn(8)
    assert drawn(None) != drawn(None)


def test_a_grammar_leaves_only_what_it_allows() -> None:
    allowed = np.array([False, False, False, True, True])
    sampler = Sampler(Sampling(seed=0), [])
    assert {sampler.choose(LOGITS, allowed) for _ in range(100)} == {3, 4}
    assert Sampler(Sampling(temperature=0), []).choose(LOGITS, allowed) == 3
    assert LOGITS[0] == pytest.approx(np.log(0.5) + 3)  # and the logits are as they were


@pytest.mark.parametrize(
    ("sampling", "greedy"),
    [
        (Sampling(temperature=0), True),
        (Sampling(top_k=1), True),
        (Sampling(), False),
        (Sampling(temperature=0, logit_bias={1: 1}), False),
        (Sampling(temperature=0, repetition_penalty=1.1), False),
    ],
)
def test_greedy_needs_no_logits(sampling: Sampling, greedy: bool) -> None:
    assert Sampler(sampling, []).is_greedy == greedy


def test_log_probabilities() -> None:
    mine, top = log_probabilities(LOGITS, 3, 2)
    assert mine == pytest.approx(np.log(0.06), abs=1e-6)
    assert [token for token, _ in top] == [0, 1]
    assert [value for _, value in top] == pytest.approx(np.log([0.5, 0.25]), abs=1e-6)
    assert log_probabilities(LOGITS, 3, 0)[1] == ()
    assert len(log_probabilities(LOGITS, 3, 20)[1]) == 5
    large = np.array([3e4, 2.9e4], np.float32)  # beyond what exp can hold
    assert log_probabilities(large, 0, 0)[0] == 0
