"""Two sides of a comparison, row by row, and the verdict on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from orin_bench.compare.result_file import Result, Row
from orin_bench.compare.significance import Evidence, compare_runs, compare_steps, holm
from orin_core.cli import UserError

FEWEST_STEPS = 4
FEWEST_RUNS = 3


class Verdict(StrEnum):
    """What is known of a row. Only SLOWER and LOST are regressions."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNCLEAR = "unclear"
    TOO_FEW = "too few"
    LOST = "lost"
    NEW = "new"


@dataclass(frozen=True)
class Finding:
    """A row's verdict; `p` is corrected for the number of rows, None where nothing was tested."""

    row: Row
    evidence: Evidence | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """`findings` in the order of the rows before, then the new ones.

    `threshold` is the change that matters, as a share: 0.05 is five percent. `alpha` is the
    probability that any of them is SLOWER or FASTER by chance.
    """

    before: Sequence[Result]
    after: Sequence[Result]
    threshold: float
    alpha: float
    findings: list[Finding]

    @property
    def regressed(self) -> bool:
        return any(f.verdict in (Verdict.SLOWER, Verdict.LOST) for f in self.findings)


def compare(
    before: Sequence[Result], after: Sequence[Result], *, threshold: float, alpha: float
) -> Comparison:
    """Judge every row of one run a side, or of several.

    With one run a side the observations are its steps, with several the runs' medians. The p
    values of all rows with enough of them are corrected together, so that `alpha` is the
    probability of any false SLOWER or FASTER in the table, as far as the observations are
    independent.

    Raises UserError for runs that cannot be compared.
    """
    _check_sides(before, after)
    first, last = before[0].rows, after[0].rows
    common = [identity for identity in first if identity in last]
    evidence = {identity: _evidence(before, after, identity, alpha) for identity in common}
    tested = [
        identity
        for identity in common
        if len(before) > 1
        or min(len(run.rows[identity].seconds) for run in (*before, *after)) >= FEWEST_STEPS
    ]
    adjusted = dict(zip(tested, holm([evidence[identity].p for identity in tested]), strict=True))
    # Where the smallest p value that the steps allow is larger, they were too few for the table.
    smallest = alpha / max(1, len(tested))

    def judge(identity: str) -> Finding:
        found, p = evidence.get(identity), adjusted.get(identity)
        if found is None:
            return Finding(first[identity], None, None, Verdict.LOST)
        if p is None or (p > alpha and found.least_p > smallest):
            verdict = Verdict.TOO_FEW
        elif p <= alpha and found.low > 1 and found.ratio > 1 + threshold:
            verdict = Verdict.SLOWER
        elif p <= alpha and found.high < 1 and found.ratio < 1 / (1 + threshold):
            verdict = Verdict.FASTER
        elif found.low >= 1 / (1 + threshold) and found.high <= 1 + threshold:
            verdict = Verdict.SAME
        else:
            verdict = Verdict.UNCLEAR
        return Finding(first[identity], found, p, verdict)

    new = [Finding(row, None, None, Verdict.NEW) for key, row in last.items() if key not in first]
    return Comparison(before, after, threshold, alpha, [judge(key) for key in first] + new)


def _check_sides(before: Sequence[Result], after: Sequence[Result]) -> None:
    """Raise UserError unless the runs of both sides can be compared."""
    first = before[0]
    for other in (*before, *after):
        if other.benchmark != first.benchmark:
            raise UserError(
                f"{other.path}: a result of {other.benchmark}, while {first.path} is one of "
                f"{first.benchmark}: compare the same benchmark"
            )
    for side in (before, after):
        if len({run.path.resolve() for run in side}) < len(side):
            raise UserError(f"{side[0].path}: a file is given twice on one side")
        for run in side[1:]:
            if different := side[0].rows.keys() ^ run.rows.keys():
                row = (side[0].rows | run.rows)[min(different)]
                raise UserError(
                    f"{run.path} and {side[0].path}: only one has {row.label}, {row.engine}: "
                    "several runs of one side measure the same rows"
                )
    counts = len(before), len(after)
    if max(counts) > 1 and min(counts) < FEWEST_RUNS:
        raise UserError(
            f"{counts[0]} runs before and {counts[1]} after: give one file a side, "
            f"or {FEWEST_RUNS} and more"
        )
    if not before[0].rows.keys() & after[0].rows.keys():
        raise UserError(
            f"{before[0].path} and {after[0].path}: no row in common: "
            "the cases or the engines are others"
        )


def _evidence(
    before: Sequence[Result], after: Sequence[Result], identity: str, alpha: float
) -> Evidence:
    sides = [[run.rows[identity].seconds for run in side] for side in (before, after)]
    if len(before) == 1:
        return compare_steps(sides[0][0], sides[1][0], alpha)
    medians = [[median(seconds) for seconds in side] for side in sides]
    return compare_runs(medians[0], medians[1], alpha)
