"""From logits to a token."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orin_llm.engine.request import Sampling

Floats = NDArray[np.float32]

# Beside the likeliest token those whose probabilities even together round away in float32.
NEGLIGIBLE = 24 * math.log(2)


class Sampler:
    """Chooses the tokens of one answer.

    Penalties come first: repetition_penalty for what is in prompt or answer (arXiv:1909.05858), the
    other two for what is in the answer. Then logit_bias, the grammar, temperature, top_k, top_p
    (arXiv:1904.09751) and min_p (arXiv:2407.01082), each of what the one before it left.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._bias = (
            np.array(list(sampling.logit_bias), np.int64),
            np.array(list(sampling.logit_bias.values()), np.float32),
        )
        self._seen = set(prompt) if sampling.repetition_penalty != 1 else set()
        self._answered: Counter[int] = Counter()
        changes = sampling.presence_penalty or sampling.frequency_penalty or sampling.logit_bias
        self._changes = bool(changes) or sampling.repetition_penalty != 1

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is the choice, unless a grammar forbids it."""
        return not self._changes and (self._sampling.temperature == 0 or self._sampling.top_k == 1)

    def choose(self, logits: Floats, allowed: NDArray[np.bool_] | None = None) -> int:
        """A token by its `logits` (vocab), of those `allowed` (vocab)."""
        sampling = self._sampling
        if self._changes:
            logits = self._penalized(logits)
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        if sampling.temperature == 0:
            return int(logits.argmax())
        scaled = logits / np.float32(sampling.temperature)
        cut = scaled.max() - np.float32(NEGLIGIBLE + math.log(len(scaled)))
        # Not below, so that a temperature near 0, which leaves one token, leaves that one.
        (tokens,) = np.nonzero(scaled >= cut)
        values = scaled[tokens]
        if 0 < sampling.top_k < len(tokens):
            best = np.argpartition(values, -sampling.top_k)[-sampling.top_k :]
            tokens, values = tokens[best], values[best]
        weights = np.exp(values - values.max())
        if (least := self._least(weights)) > 0:
            kept = weights >= least
            tokens, weights = tokens[kept], weights[kept]
        sums = np.cumsum(weights, dtype=np.float64)
        place = np.searchsorted(sums, self._random.random() * sums[-1], side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])

    def _least(self, weights: Floats) -> float:
        """The smallest of `weights`, the largest of which is 1, that top_p and min_p leave."""
        least, top_p = 0.0, self._sampling.top_p
        if top_p < 1:
            total = float(weights.sum(dtype=np.float64))
            # All that are below this together are less than what top_p leaves out.
            largest = weights[weights >= (1 - top_p) * total / len(weights)]
            largest = np.sort(largest)[::-1]  # numbers alone: ten times as fast as their places
            before = np.cumsum(largest, dtype=np.float64) - largest
            least = float(largest[max(0, int(np.searchsorted(before, top_p * total)) - 1)])
        return max(least, self._sampling.min_p)

    def accept(self, token: int) -> None:
        """Count `token` as part of the answer."""
        if self._changes:
            self._answered[token] += 1

    def _penalized(self, logits: Floats) -> Floats:
        sampling, changed = self._sampling, logits.copy()
        if sampling.repetition_penalty != 1:
            tokens = np.fromiter(self._seen | self._answered.keys(), np.int64)
            values, penalty = changed[tokens], np.float32(sampling.repetition_penalty)
            changed[tokens] = np.where(values > 0, values / penalty, values * penalty)
        tokens = np.fromiter(self._answered, np.int64)
        counts = np.fromiter(self._answered.values(), np.float32)
        changed[tokens] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        changed[self._bias[0]] += self._bias[1]
        return changed


def log_probabilities(
    logits: Floats, token: int, count: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """The log probability of `token` by its softmax, and the `count` likeliest with theirs."""
    values = logits.astype(np.float64)
    largest = values.max()
    total = largest + math.log(np.exp(values - largest).sum())
    count = min(count, len(logits))
    best = np.argpartition(values, -count)[-count:] if count else np.empty(0, np.int64)
    best = best[np.argsort(-values[best], kind="stable")]
    return float(values[token] - total), tuple((int(i), float(values[i] - total)) for i in best)
