"""Tables of what was measured: one row a configuration, or one row a run's steps."""

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import COMPARABLE, METRICS, SETTINGS, configurations, documented
from scalebook.analysis.statistics import STEP_METRICS, step_summary
from scalebook.contract import ScalebookError


def configuration_table(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Throughput, time per epoch and accuracy of every configuration.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.

    Returns
    -------
    DataFrame
        Columns ``kind``, those of `SETTINGS` and `COMPARABLE`, ``n``, ``interval`` (what
        low and high are), and ``<metric>_median``, ``_low``, ``_high`` for `METRICS`;
        ``source`` says where the numbers come from.
    """
    stats = ("median", "low", "high")
    rows = []
    for one in configurations(runs):
        summaries = {metric: one.summary(metric) for metric in METRICS}
        if not any(summary.n for summary in summaries.values()):
            continue
        row: dict[str, Any] = {"kind": one.kind}
        row |= {name: one[name] for name in (*SETTINGS, *COMPARABLE)}
        row |= {"n": len(one.runs), "interval": summaries["throughput"].interval}
        for metric, summary in summaries.items():
            row |= {f"{metric}_{stat}": getattr(summary, stat) for stat in stats}
        rows.append({**row, "source": one.source})
    names = ["kind", *SETTINGS, *COMPARABLE, "n", "interval"]
    names += [f"{metric}_{stat}" for metric in METRICS for stat in stats]
    return pd.DataFrame(rows, columns=[*names, "source"])


def step_table(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Percentiles of the step time of every run whose steps were recorded.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; the measured ones of a document where left out.

    Returns
    -------
    DataFrame
        Columns ``stem``, ``experiment``, ``system``, ``seed`` and those of `STEP_METRICS`.
    """
    runs = documented() if runs is None else runs
    rows = []
    for run in runs[runs["kind"] != "reported"].to_dict("records"):
        try:
            steps = results.steps(run["stem"])
        except ScalebookError:
            # No step file, or one that `results.problems()` names: the run has no step times.
            continue
        if not steps.empty:
            about = {name: run[name] for name in ("stem", "experiment", "system", "seed")}
            rows.append({**about, **step_summary(steps)})
    return pd.DataFrame(rows, columns=["stem", "experiment", "system", "seed", *STEP_METRICS])
