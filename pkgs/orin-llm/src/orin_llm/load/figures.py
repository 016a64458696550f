"""What the answers of a level of load come to, by the definitions of vLLM's benchmark client.

vllm/benchmarks/serve.py of vLLM, `calculate_metrics`, and lib/endpoint_request_func.py beside it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from orin_llm.load.answer import Answer
from orin_llm.load.overhead import Overhead

PERCENTILES = (50, 90, 95, 99)


@dataclass
class Round:
    """Answers of one server under one load, and how long they took together."""

    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    overhead: Overhead = field(default_factory=Overhead)

    @property
    def good(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.error is None]

    @property
    def output_tokens(self) -> int:
        return sum(map(output_tokens, self.good))


@dataclass(frozen=True)
class Figures:
    """One server under one load. All times in seconds, a sample a request; `itl` one a chunk."""

    requests: int  # that were answered
    errors: Counter[str]  # by kind
    details: dict[str, str]  # what the server said first, by kind
    seconds: float
    prompt_tokens: int
    output_tokens: int
    chunks: int
    uncounted: int  # answers of which the server told no usage
    token_seconds: list[float]  # a sample a round: its time over its output tokens
    ttft: list[float]
    tpot: list[float]
    itl: list[float]
    e2el: list[float]
    overhead: Overhead

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def output_per_second(self) -> float:
        return self.output_tokens / self.seconds if self.seconds else 0.0

    @property
    def total_per_second(self) -> float:
        total = self.prompt_tokens + self.output_tokens
        return total / self.seconds if self.seconds else 0.0


def output_tokens(answer: Answer) -> int:
    """The server's count, else one a chunk."""
    return len(answer.chunks) if answer.output_tokens is None else answer.output_tokens


def figures(rounds: Sequence[Round]) -> Figures:
    """Throughput is what was answered over the time of all rounds, the wait for the last included;
    requests that failed count in nothing but `errors`."""
    answers = [answer for each in rounds for answer in each.answers]
    failed = [answer for answer in answers if answer.error]
    good = [answer for answer in answers if not answer.error]
    streamed = [answer for answer in good if answer.chunks]
    return Figures(
        requests=len(good),
        errors=Counter(answer.error or "" for answer in failed),
        details={answer.error or "": answer.detail for answer in reversed(failed)},
        seconds=sum(each.seconds for each in rounds),
        prompt_tokens=sum(answer.prompt_tokens or 0 for answer in good),
        output_tokens=sum(map(output_tokens, good)),
        chunks=sum(len(answer.chunks) for answer in good),
        uncounted=sum(answer.output_tokens is None for answer in good),
        token_seconds=[each.seconds / each.output_tokens for each in rounds if each.output_tokens],
        ttft=[answer.chunks[0] - answer.due for answer in streamed],
        tpot=[
            (answer.ended - answer.chunks[0]) / (output_tokens(answer) - 1)
            for answer in streamed
            if output_tokens(answer) > 1
        ],
        itl=[after - before for answer in streamed for before, after in pairwise(answer.chunks)],
        e2el=[answer.ended - answer.due for answer in good],
        overhead=Overhead.total(each.overhead for each in rounds),
    )


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles, interpolated as numpy does by default; nothing of no samples."""
    if not samples:
        return {}
    values = np.percentile(samples, PERCENTILES).tolist()
    shares = {f"p{percent}": value for percent, value in zip(PERCENTILES, values, strict=True)}
    return {"mean": float(np.mean(samples)), **shares}
