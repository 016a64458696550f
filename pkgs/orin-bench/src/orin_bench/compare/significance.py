"""How sure it is that one program is slower than another, from how long their steps took.

What can be sure depends on what was repeated. The steps of one run follow each other: a disturbed
step has disturbed neighbours. And they share one process, with its addresses, its compiled kernels
and the heat of its hour, so that another run of the same program differs from it by more than its
steps do from each other. A test on the steps of one run a side answers whether these two runs
differ. Whether the programs differ takes several runs a side, each one observation (Kalibera and
Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, ttest_ind

RESAMPLES = 9999  # scipy.stats.bootstrap's default

# scipy's exact distribution costs milliseconds up to here; above, the normal one is as good.
LARGEST_EXACT = 50

WIDEST = 100.0  # bound of a logarithm of ratios: a wilder interval would not have an exponential


@dataclass(frozen=True)
class Evidence:
    """What the samples say of `ratio`, the time after over the time before.

    `before` and `after` are in seconds. `low` and `high` bound the ratio's confidence interval.
    `p` is the two-sided p value of no difference, and `least_p` the smallest that so few
    observations can give.
    """

    before: float
    after: float
    ratio: float
    low: float
    high: float
    p: float
    least_p: float


def compare_steps(before: Sequence[float], after: Sequence[float], alpha: float) -> Evidence:
    """Compare the steps of two runs, in seconds: the ratio of their medians.

    The interval, of confidence 1 - `alpha`, is the percentile bootstrap's; the p value is that of
    the Mann-Whitney U test, which needs no distribution.
    """
    rng = np.random.default_rng(0)  # the same files give the same answer
    ratios = _resampled_medians(after, rng) / _resampled_medians(before, rng)
    low, high = np.quantile(ratios, [alpha / 2, 1 - alpha / 2])
    ties = len({*before, *after}) < len(before) + len(after)
    exact = not ties and max(len(before), len(after)) <= LARGEST_EXACT
    test = mannwhitneyu(before, after, method="exact" if exact else "asymptotic")
    n, m = len(before), len(after)
    # 2 / comb(n + m, n), by every step after beyond every one before, without its million digits.
    least_p = exp(log(2) + lgamma(n + 1) + lgamma(m + 1) - lgamma(n + m + 1))
    return Evidence(
        median(before),
        median(after),
        median(after) / median(before),
        float(low),
        float(high),
        float(test.pvalue),
        least_p,
    )


def compare_runs(before: Sequence[float], after: Sequence[float], alpha: float) -> Evidence:
    """Compare several runs a side, each by its median in seconds: the ratio of geometric means.

    Interval and p value are those of Welch's t test on the logarithms. A rank test would need
    eight runs a side before it could find anything in a table of twenty rows.
    """
    logarithms = np.log(after), np.log(before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runs equal to the last digit
        test = ttest_ind(*logarithms, equal_var=False)
        interval = test.confidence_interval(1 - alpha)
    means = [float(np.exp(np.mean(each))) for each in logarithms]
    ratio = means[0] / means[1]
    if np.isnan(test.pvalue) or np.isnan(interval.low):  # without any spread
        return Evidence(means[1], means[0], ratio, ratio, ratio, float(ratio == 1), 0.0)
    low, high = np.exp(np.clip(interval, -WIDEST, WIDEST))
    return Evidence(means[1], means[0], ratio, float(low), float(high), float(test.pvalue), 0.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for being tested together (Holm, Scand. J. Statist. 6, 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _resampled_medians(seconds: Sequence[float], rng: np.random.Generator) -> NDArray[np.float64]:
    """The medians of RESAMPLES samples drawn with replacement, without drawing the samples.

    A resampled order statistic is the original at floor(n u), where u is that order statistic of n
    uniform numbers: the k-th is distributed as Beta(k, n + 1 - k), and the one after it lies in the
    rest of the interval as the smallest of n - k.
    """
    ordered, n = np.sort(seconds), len(seconds)
    k = (n + 1) // 2
    lower = rng.beta(k, n + 1 - k, RESAMPLES)
    upper = lower if n % 2 else lower + (1 - lower) * rng.beta(1, n - k, RESAMPLES)
    # min, because a number just below 1 may have been rounded to 1.
    picked = [ordered[np.minimum((n * u).astype(int), n - 1)] for u in (lower, upper)]
    medians: NDArray[np.float64] = (picked[0] + picked[1]) / 2
    return medians
