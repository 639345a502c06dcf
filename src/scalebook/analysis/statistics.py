"""Medians with intervals, and percentiles of step times.

Few runs are repeated often enough for a normal distribution to be assumed, so
every interval here is nonparametric: the bounds are two of the observed values
(rules 5 to 8 of Hoefler and Belli, *Scientific Benchmarking of Parallel
Computing Systems*, SC15, DOI 10.1145/2807591.2807644).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What a handful of repeated measurements says.

    Attributes
    ----------
    n : int
        Number of values; missing ones are not counted.
    median, mean, min, max : float
        In the unit of the values; NaN where n is 0.
    low, high : float
        Bounds of the interval for the median; equal to the value where n is 1.
    coverage : float
        Probability that the interval holds the true median; 0 where n is below 2.
    """

    n: int
    median: float
    low: float
    high: float
    mean: float
    min: float
    max: float
    coverage: float

    def times(self, factor: float) -> Summary:
        """The same summary, of values that are each multiplied by a positive `factor`."""
        names = ("median", "low", "high", "mean", "min", "max")
        return replace(self, **{name: factor * getattr(self, name) for name in names})

    @property
    def interval(self) -> str:
        """What `low` and `high` are, in words."""
        if self.n == 0:
            return "no value"
        if self.n == 1:
            return "one run, no interval"
        if self.coverage >= CONFIDENCE:
            return f"{100 * self.coverage:.1f} % interval of the median, n = {self.n}"
        return f"range of {self.n} runs, a {100 * self.coverage:.0f} % interval of the median"


def summarise(values: Iterable[float]) -> Summary:
    """Median with the narrowest symmetric order-statistic interval of at least 95 %.

    The interval from the k-th smallest to the k-th largest of n values holds
    the true median with probability ``1 - 2 P(Binomial(n, 1/2) < k)``, whatever
    the distribution. Below six values not even the whole range reaches 95 %:
    the range is then given as what it is, together with its own coverage
    (2 values 50 %, 3 values 75 %, 5 values 94 %).

    Parameters
    ----------
    values : iterable of float
        Measurements of one quantity under one configuration; NaN and None are dropped.
    """
    clean = np.sort([float(value) for value in values if value is not None and value == value])
    n = len(clean)
    if n == 0:
        nan = math.nan
        return Summary(0, nan, nan, nan, nan, nan, nan, 0.0)
    k, coverage = _order(n)
    return Summary(
        n=n,
        median=float(np.median(clean)),
        low=float(clean[k - 1]),
        high=float(clean[n - k]),
        mean=float(clean.mean()),
        min=float(clean[0]),
        max=float(clean[-1]),
        coverage=coverage,
    )


@functools.cache
def _order(n: int) -> tuple[int, float]:
    """Largest k whose interval holds the median often enough, 1 if none, and how often it does.

    The k-th smallest and k-th largest of n enclose it with ``1 - 2 P(Binomial(n, 1/2) < k)``.
    """
    k, coverage = 1, max(0.0, 1.0 - 2.0 * _probability(n, 0))
    while k < n // 2:
        wider = coverage - 2.0 * _probability(n, k)
        if wider < CONFIDENCE:
            break
        k, coverage = k + 1, wider
    return k, coverage


def _probability(n: int, i: int) -> float:
    """That i of n values lie below the median: Binomial(n, 1/2), by logarithms for many values."""
    ways = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
    return math.exp(ways - n * math.log(2))


#: Columns of `step_summary` and what they mean.
STEP_METRICS = {
    "steps": "timed steps",
    "step_time_p50_ms": "median step time",
    "step_time_p95_ms": "95th percentile of the step time",
    "step_time_p99_ms": "99th percentile of the step time",
    "step_time_mean_ms": "mean step time",
    "stall_ratio": "mean step time over median step time",
    "data_wait_share": "share of the step time spent waiting for data",
    "load_balance": "mean over ranks of the step time, over that of the slowest rank",
}


def step_summary(steps: pd.DataFrame) -> dict[str, float]:
    """Percentiles of the step time and where it went.

    A step takes as long as its slowest rank. Warm-up steps are left out, and of
    an epoch that was repeated after a restart only the last attempt counts.

    Parameters
    ----------
    steps : DataFrame
        One row a step and rank, columns of `contract.STEP_COLUMNS`, times in seconds.

    Returns
    -------
    dict of str to float
        Keys of `STEP_METRICS`; times in milliseconds, ratios without unit. NaN
        where there is no timed step.
    """
    timed = _last_attempts(steps)
    timed = timed[timed["warmup"] == 0]
    if timed.empty:
        return {name: 0.0 if name == "steps" else math.nan for name in STEP_METRICS}
    slowest, average = _over_ranks(timed)
    p50, p95, p99 = np.percentile(slowest, [50, 95, 99])
    mean, total = float(slowest.mean()), float(timed["step_time_s"].sum())
    return {
        "steps": float(len(slowest)),
        "step_time_p50_ms": 1e3 * float(p50),
        "step_time_p95_ms": 1e3 * float(p95),
        "step_time_p99_ms": 1e3 * float(p99),
        "step_time_mean_ms": 1e3 * mean,
        "stall_ratio": mean / float(p50) if p50 else math.nan,
        "data_wait_share": float(timed["data_wait_s"].sum()) / total if total else math.nan,
        "load_balance": float(average.mean()) / mean if mean else math.nan,
    }


def step_rows(summary: Mapping[str, float]) -> Iterator[tuple[str, str, float]]:
    """Name, title with its unit, and value of each quantity of a `step_summary`."""
    for name, value in summary.items():
        unit = " (ms)" if name.endswith("_ms") else ""
        yield name, f"{STEP_METRICS[name]}{unit}", int(value) if name == "steps" else value


def thinned(rows: pd.DataFrame, together: int) -> pd.DataFrame:
    """Medians of each `together` neighbouring rows, numbered from 0 where there are several."""
    return rows if together <= 1 else rows.groupby(np.arange(len(rows)) // together).median()


def _over_ranks(timed: pd.DataFrame) -> tuple[Array, Array]:
    """Time of the slowest rank, and of the ranks on average, for every step."""
    order = np.lexsort((timed["step"], timed["epoch"]))
    epoch, step, time = (timed[name].to_numpy()[order] for name in ("epoch", "step", "step_time_s"))
    first = np.flatnonzero(np.r_[True, (np.diff(epoch) != 0) | (np.diff(step) != 0)])
    ranks = np.diff(np.r_[first, len(time)])
    return np.maximum.reduceat(time, first), np.add.reduceat(time, first) / ranks


def _last_attempts(steps: pd.DataFrame) -> pd.DataFrame:
    if steps["attempt"].nunique() < 2:
        return steps
    return steps[steps["attempt"] == steps.groupby("epoch")["attempt"].transform("max")]
