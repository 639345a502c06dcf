"""The α–β model of a ring all-reduce, fitted to measured curves.

With n ranks, m bytes, a latency α of each hop and a bandwidth β of the link in bytes/s, a ring
takes 2 (n − 1) rounds, each of a hop and of m / n bytes (Thakur, Rabenseifner and Gropp 2005,
DOI 10.1177/1094342005051521; Patarasuk and Yuan 2009, DOI 10.1016/j.jpdc.2008.09.002):

    T(n, m) = 2 (n − 1) α + 2 (n − 1) / n · m / β

The model is for the exchange of gradients, which are sent in megabytes, so that only messages of
1 MiB and more are fitted: what short ones take is up to timers of the network's software. Each job
is fitted alone, by least squares of the relative errors with α ≥ 0. The link is the median over its
jobs, and its interval their spread, so that it holds what another job on another day adds; a single
job says nothing of that, and two little: there are intervals from three jobs on. A link whose β
comes out above the rate it was set to is refused: its curve holds something else than the link.
For another link or more ranks than it was fitted to, the model is *not yet validated*.

`link_checks` holds a fit against training steps, which it has not seen. A step on as many nodes as
ranks gives the model something to fail at: with t_c the step of the control (the same ranks and
batches on one node) and T the modelled all-reduce of all gradients, a step takes

=================  =====================  ====================================================
case               step                   meaning
=================  =====================  ====================================================
everything hides   max(t_c, T)            the exchange runs behind the backward pass
nothing hides      t_c + T                the backward pass ends before the exchange begins
=================  =====================  ====================================================

and a measured step belongs between the two, T at the ends of the fit's interval. The second is the
middle case of `proposal.steptime`, so its error here is what is known about that model. The control
has an exchange of its own, inside the node, so that "nothing hides" counts a little too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalebook import results
from scalebook.analysis.statistics import Summary, summarise
from scalebook.analysis.step_parts import StepParts
from scalebook.contract import ScalebookError

Array = npt.NDArray[np.float64]

#: Least bytes of a message that is fitted, and least jobs that give an interval.
LONG = 2**20
FEWEST_JOBS = 3
NOT_VALIDATED = "modelled, not yet validated"


@dataclass(frozen=True)
class LinkFit:
    """A fitted link.

    Attributes
    ----------
    alpha : Summary
        Latency of a hop in s, over the jobs.
    beta : Summary
        Bandwidth in bytes/s, over the jobs.
    error, error_max : float
        Median and largest relative deviation of the fitted points from the medians, as a share.
    rate : float or None
        Rate of the link in bytes/s, as it was set.
    stems : tuple of str
        The curves, one a job.
    """

    system: str
    alpha: Summary
    beta: Summary
    error: float
    error_max: float
    rate: float | None
    stems: tuple[str, ...]

    @property
    def has_interval(self) -> bool:
        """Whether there are enough jobs for an interval."""
        return self.beta.n >= FEWEST_JOBS

    @property
    def efficiency(self) -> float | None:
        """Fitted bandwidth as a share of the link's rate; None where that is not limited."""
        return self.beta.median / self.rate if self.rate else None


def ring_seconds(ranks: int, size: float, alpha: float, beta: float) -> float:
    """Time of a ring all-reduce, see the module's formula.

    Parameters
    ----------
    ranks : int
        n; no time for one rank.
    size : float
        Bytes reduced.
    alpha : float
        Latency of a hop in s.
    beta : float
        Bandwidth in bytes/s.
    """
    return 2 * (ranks - 1) * alpha + 2 * (ranks - 1) / ranks * size / beta


def fit(curves: pd.DataFrame) -> LinkFit:
    """Fit the model to the measured curves of one system.

    Parameters
    ----------
    curves : DataFrame
        Rows of `results.allreduce`.

    Raises
    ------
    ScalebookError
        If there are fewer than two long messages, or the bandwidth is more than the link's rate.
    """
    system = str(curves["system"].iloc[0]) if len(curves) else "?"
    long = curves[curves["bytes"] >= LONG]
    long = long[long.groupby("stem")["bytes"].transform("nunique") > 1]
    if long.empty:
        raise ScalebookError(
            f"all-reduce curve of {system}: the link model needs two messages of 1 MiB or more; "
            "measure them with: sbatch slurm/test_allreduce.sbatch"
        )
    fitted = [_fit_job(job) for _, job in long.groupby("stem", sort=True)]
    alpha, beta = (summarise(values) for values in zip(*fitted))
    rates = curves["link_gbit_s"].dropna().unique()
    rate = float(rates[0]) * 1e9 / 8 if len(rates) == 1 else None
    error, error_max = _errors(long, alpha.median, beta.median)
    link = LinkFit(system, alpha, beta, error, error_max, rate, tuple(long["stem"].unique()))
    highest = beta.high if link.has_interval else beta.median
    if rate and highest > rate:
        raise ScalebookError(
            f"all-reduce curve of {system}: a bandwidth of {1e-9 * highest:.4g} GB/s is more than "
            f"the {1e-9 * rate:.4g} GB/s that the link is said to have: check link_gbit_s in the "
            "facts of the system, and that the ranks were on different nodes"
        )
    return link


def _fit_job(curve: pd.DataFrame) -> tuple[float, float]:
    """Latency and bandwidth with the least squares of the relative errors of one curve."""
    hops, volume = _relative(curve)
    (alpha, slowness), *_ = np.linalg.lstsq(
        np.column_stack([hops, volume]), np.ones(len(curve)), rcond=None
    )
    if alpha < 0:  # no latency is less than none
        alpha, slowness = 0.0, volume.sum() / (volume**2).sum()
    return float(alpha), float(1 / slowness)


def _relative(curve: pd.DataFrame) -> tuple[Array, Array]:
    """What the formula multiplies α and 1 / β by, over the measured times: the sum is to be 1."""
    ranks, time = curve["world_size"].to_numpy(float), curve["latency_us"].to_numpy(float) / 1e6
    hops = 2 * (ranks - 1) / time
    return hops, hops / ranks * curve["bytes"].to_numpy(float)


def _errors(curve: pd.DataFrame, alpha: float, beta: float) -> tuple[float, float]:
    """Median and largest relative error of the points of a curve."""
    hops, volume = _relative(curve)
    errors = np.abs(alpha * hops + volume / beta - 1)
    return float(np.median(errors)), float(errors.max())


def fits() -> tuple[dict[str, LinkFit], dict[str, str]]:
    """The fitted link of every system with curves behind the documents, or why it has none."""
    links, reasons = {}, {}
    curves = results.allreduce(local=False)
    between = curves[curves["nodes"].fillna(2) > 1]  # within a node no link is crossed
    for system, curves in between.groupby("system"):
        try:
            links[str(system)] = fit(curves)
        except ScalebookError as error:
            reasons[str(system)] = str(error)
    return links, reasons


class LinkCheck(NamedTuple):
    """A fitted link, compared with a measured step of one rank a node.

    Times are in ms, `step_ms` is that with nothing hidden, and its low and high are the two cases
    at the ends of the fit's interval.
    """

    parts: StepParts
    link: LinkFit
    exchange_ms: float
    step_ms: float
    step_ms_low: float
    step_ms_high: float

    @property
    def measured_ms(self) -> float:
        """The measured step."""
        return self.parts.parts["step"].median

    @property
    def control_ms(self) -> float:
        """The step of the control."""
        return self.parts.parts["control"].median

    @property
    def error(self) -> float:
        """Error of `step_ms` in percent of the measured step."""
        return 100 * (self.step_ms / self.measured_ms - 1)


def link_checks(steps: Sequence[StepParts], links: Mapping[str, LinkFit]) -> list[LinkCheck]:
    """Compare every fitted link with the parallel steps measured on it.

    Parameters
    ----------
    steps : sequence of StepParts
        Steps on several nodes; those with a control and one rank a node are held against.
    links : mapping of str to LinkFit
        Fits by system.
    """
    checks = []
    for parts in steps:
        link = links.get(parts.one["system"])
        ranks, size, control = parts.one["world_size"], parts.gradient_bytes, parts.parts["control"]
        # With several ranks on a node, only some hops of the ring cross the link.
        if link is None or not control.n or not size or parts.one["nodes"] != ranks:
            continue
        exchange, fast, slow = (
            1e3 * ring_seconds(ranks, size, alpha, beta)
            for alpha, beta in (
                (link.alpha.median, link.beta.median),
                (link.alpha.low, link.beta.high),
                (link.alpha.high, link.beta.low),
            )
        )
        step = control.median + exchange
        low, high = max(control.median, fast), control.median + slow
        checks.append(LinkCheck(parts, link, exchange, step, low, high))
    return checks
