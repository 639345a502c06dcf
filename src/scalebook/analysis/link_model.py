"""The α–β model of a ring all-reduce, fitted to measured curves.

With n ranks, m bytes, a latency α of each hop and a bandwidth β of the link in bytes/s, a ring
takes 2 (n − 1) rounds, each of a hop and of m / n bytes (Thakur, Rabenseifner and Gropp 2005,
DOI 10.1177/1094342005051521; Patarasuk and Yuan 2009, DOI 10.1016/j.jpdc.2008.09.002):

    T(n, m) = 2 (n − 1) α + 2 (n − 1) / n · m / β

A curve holds messages of a kilobyte beside ones of 64 MB, and small ones that waited for a timer
take five times as long as their neighbours. So the *relative* error counts: the sum of
|log(T / T_measured)| is made least, by least squares reweighted until they stand still. The
interval is the central 95 % of the fits to samples of the curve's points, drawn with replacement
from a fixed seed: it holds the spread of these points, not what another day would add.
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

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalebook import results
from scalebook.analysis.step_parts import StepParts
from scalebook.contract import ScalebookError

Array = npt.NDArray[np.float64]

#: Samples of the bootstrap, steps of a fit, and the smallest log residual that is told apart.
SAMPLES = 1000
ITERATIONS = 60
SMALLEST = 0.02
CONFIDENCE = 0.95
NOT_VALIDATED = "modelled, not yet validated"


@dataclass(frozen=True)
class LinkFit:
    """A fitted link.

    Attributes
    ----------
    alpha, alpha_low, alpha_high : float
        Latency of a hop in s, and its interval.
    beta, beta_low, beta_high : float
        Bandwidth in bytes/s, and its interval.
    error, error_max : float
        Median and largest relative deviation of the fitted points, as a share.
    points : int
        Points fitted.
    rate : float or None
        Rate of the link in bytes/s, as it was set.
    stems : tuple of str
        The curves.
    """

    system: str
    alpha: float
    alpha_low: float
    alpha_high: float
    beta: float
    beta_low: float
    beta_high: float
    error: float
    error_max: float
    points: int
    rate: float | None
    stems: tuple[str, ...]

    @property
    def efficiency(self) -> float | None:
        """Fitted bandwidth as a share of the link's rate; None where that is not limited."""
        return self.beta / self.rate if self.rate else None


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


def fit(curve: pd.DataFrame) -> LinkFit:
    """Fit the model to the measured curves of one system.

    Parameters
    ----------
    curve : DataFrame
        Rows of `results.allreduce`.

    Raises
    ------
    ScalebookError
        If there are fewer than two message sizes.
    """
    system = str(curve["system"].iloc[0]) if len(curve) else "?"
    if curve["bytes"].nunique() < 2:
        raise ScalebookError(
            f"all-reduce curve of {system}: the link model needs two message sizes or more; "
            "measure it with: sbatch slurm/test_allreduce.sbatch"
        )
    names = ["world_size", "bytes", "latency_us"]
    points = tuple(map(tuple, curve[names].to_numpy(float).tolist()))
    alpha, slowness, errors = _fitted(points)
    rates = curve["link_gbit_s"].dropna().unique()
    return LinkFit(
        system=system,
        **dict(zip(("alpha", "alpha_low", "alpha_high"), alpha)),
        # The slowest is the one with the smallest bandwidth.
        **dict(zip(("beta", "beta_high", "beta_low"), (1 / one for one in slowness))),
        error=float(np.median(errors)),
        error_max=max(errors),
        points=len(points),
        rate=float(rates[0]) * 1e9 / 8 if len(rates) == 1 else None,
        stems=tuple(curve["stem"].unique()),
    )


@functools.lru_cache(maxsize=64)
def _fitted(points: tuple[tuple[float, float, float], ...]) -> tuple[tuple[float, ...], ...]:
    """Latency and slowness, each with its interval, and the relative errors of the points."""
    ranks, size, time = np.array(points).T
    time = time / 1e6
    # Each row divided by its measured time, so that the aim is 1.
    hops = 2 * (ranks - 1) / time
    volume = 2 * (ranks - 1) / ranks * size / time
    alpha, slowness = _solve(hops[None], volume[None])
    drawn = np.random.default_rng(0).integers(0, len(time), (SAMPLES, len(time)))
    # A sample of one message size alone cannot tell latency from bandwidth.
    drawn = drawn[np.ptp(size[drawn], axis=1) > 0]
    ends = []
    for one, several in zip((alpha, slowness), _solve(hops[drawn], volume[drawn])):
        tail = 50 * (1 - CONFIDENCE)
        low, high = np.percentile(several, [tail, 100 - tail])
        ends.append((float(one[0]), float(min(low, one[0])), float(max(high, one[0]))))
    errors = np.abs(alpha[0] * hops + slowness[0] * volume - 1)
    return ends[0], ends[1], tuple(errors.tolist())


def _solve(hops: Array, volume: Array) -> tuple[Array, Array]:
    """Least absolute log residuals of ``alpha · hops + slowness · volume = 1``, row by row.

    Gauss-Newton in the logarithms of both unknowns, which keeps them positive; each residual is
    weighted by the inverse of its size, down to `SMALLEST`.
    """
    alpha = np.log(np.median(1 / hops, axis=1) / 2)
    slowness = np.log(np.median(1 / volume, axis=1) / 2)
    for _ in range(ITERATIONS):
        latency, transfer = np.exp(alpha)[:, None] * hops, np.exp(slowness)[:, None] * volume
        residual = np.log(latency + transfer)
        weight = 1 / np.maximum(np.abs(residual), SMALLEST)
        a, b = latency / (latency + transfer), transfer / (latency + transfer)
        # The small number keeps a sample solvable whose points say nothing of one unknown.
        aa, bb = (weight * a * a).sum(1) + 1e-6, (weight * b * b).sum(1) + 1e-6
        ab = (weight * a * b).sum(1)
        pull_a, pull_b = (weight * a * residual).sum(1), (weight * b * residual).sum(1)
        determinant = aa * bb - ab**2
        alpha = alpha - np.clip((pull_a * bb - pull_b * ab) / determinant, -0.5, 0.5)
        slowness = slowness - np.clip((pull_b * aa - pull_a * ab) / determinant, -0.5, 0.5)
    return np.exp(alpha), np.exp(slowness)


def fits() -> dict[str, LinkFit]:
    """The fitted link of every system with a curve that stands behind the documents."""
    found = {}
    for system, curve in results.allreduce(local=False).groupby("system"):
        if curve["bytes"].nunique() > 1:
            found[str(system)] = fit(curve)
    return found


class LinkCheck(NamedTuple):
    """A fitted link, held against a step of one rank a node that was measured on it.

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

    @property
    def inside(self) -> bool:
        """Whether the measured step is between the two cases."""
        return self.step_ms_low <= self.measured_ms <= self.step_ms_high


def link_checks(found: Sequence[StepParts], links: Mapping[str, LinkFit]) -> list[LinkCheck]:
    """Hold every fitted link against the parallel steps measured on it.

    Parameters
    ----------
    found : sequence of StepParts
        Steps on several nodes; those with a control and one rank a node are held against.
    links : mapping of str to LinkFit
        Fits by system.
    """
    checks = []
    for parts in found:
        link = links.get(parts.one["system"])
        ranks, size, control = parts.one["world_size"], parts.gradient_bytes, parts.parts["control"]
        # With several ranks on a node, only some hops of the ring cross the link.
        if link is None or not control.n or not size or parts.one["nodes"] != ranks:
            continue
        exchange, fast, slow = (
            1e3 * ring_seconds(ranks, size, alpha, beta)
            for alpha, beta in (
                (link.alpha, link.beta),
                (link.alpha_low, link.beta_high),
                (link.alpha_high, link.beta_low),
            )
        )
        step = control.median + exchange
        low, high = max(control.median, fast), control.median + slow
        checks.append(LinkCheck(parts, link, exchange, step, low, high))
    return checks
