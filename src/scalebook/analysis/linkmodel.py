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
`linkcheck` holds a fit against training steps that it has not seen, on the link it was fitted to;
for another link or more ranks the model is *not yet validated*.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalebook import results
from scalebook.contract import ScalebookError
from scalebook.values.value import Value, result_files

#: Samples of the bootstrap, steps of a fit, and the smallest log residual that is told apart.
SAMPLES = 1000
ITERATIONS = 60
SMALLEST = 0.02
CONFIDENCE = 0.95
NOT_VALIDATED = "modelled, not yet validated"

#: Columns of `link_table` for a reader, with units.
LINK_HEADERS = {
    "system": "system",
    "points": "points",
    "alpha_us": "latency α (µs)",
    "alpha_us_low": "low (µs)",
    "alpha_us_high": "high (µs)",
    "bandwidth_gb_s": "bandwidth β (GB/s)",
    "bandwidth_gb_s_low": "low (GB/s)",
    "bandwidth_gb_s_high": "high (GB/s)",
    "efficiency": "of the link's rate (%)",
    "error": "median error (%)",
    "error_max": "largest error (%)",
}


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

    def seconds(self, ranks: int, size: float) -> float:
        """Time of one all-reduce of `size` bytes over `ranks` ranks."""
        return ring_seconds(ranks, size, self.alpha, self.beta)

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


def _solve(hops: np.ndarray, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def link_table() -> pd.DataFrame:
    """Fitted links, one row a system, columns `LINK_HEADERS`; shares in percent."""
    rows = [
        {
            "system": one.system,
            "points": one.points,
            **_with_ends("alpha_us", 1e6, one.alpha, one.alpha_low, one.alpha_high),
            **_with_ends("bandwidth_gb_s", 1e-9, one.beta, one.beta_low, one.beta_high),
            "efficiency": 100 * one.efficiency if one.efficiency else None,
            "error": 100 * one.error,
            "error_max": 100 * one.error_max,
        }
        for one in fits().values()
    ]
    return pd.DataFrame(rows, columns=list(LINK_HEADERS))


def _with_ends(name: str, scale: float, value: float, low: float, high: float) -> dict[str, float]:
    return {name: scale * value, f"{name}_low": scale * low, f"{name}_high": scale * high}


def values() -> Iterator[Value]:
    """Parameters of the fitted links.

    Yields
    ------
    Value
        ``modelled.link.<system>.alpha_us``, ``.bandwidth_gb_s``, ``.efficiency``, ``.error`` and
        ``.error_max``; the last three in percent. The ends of an interval are numbers of their
        own as well, with ``.low`` and ``.high`` behind the key.
    """
    units = {"alpha_us": "µs", "bandwidth_gb_s": "GB/s"}
    table = {row["system"]: row for row in link_table().to_dict("records")}
    for system, one in fits().items():
        source = (
            f"ring model 2 (n - 1) α + 2 (n - 1) / n · bytes / β, least relative errors over "
            f"{one.points} message sizes on {system}; {NOT_VALIDATED} elsewhere"
        )
        for metric in ("alpha_us", "bandwidth_gb_s", "efficiency", "error", "error_max"):
            value = table[system][metric]
            if value is None or not np.isfinite(value):
                continue
            found = Value(
                key=f"modelled.link.{system}.{metric}",
                value=float(value),
                unit=units.get(metric, "%"),
                kind="modelled",
                source=source,
                n=one.points,
                low=table[system].get(f"{metric}_low"),
                high=table[system].get(f"{metric}_high"),
                runs=one.stems,
                files=result_files("allreduce", one.stems, ".csv"),
                where="columns bytes and latency_us",
                code="scalebook.analysis.linkmodel.fit",
            )
            yield found
            for end, bound in (("low", found.low), ("high", found.high)):
                if bound is not None:
                    key = f"{found.key}.{end}"
                    yield dataclasses.replace(
                        found, key=key, value=float(bound), low=None, high=None
                    )
