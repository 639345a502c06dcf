"""Tables of what was measured: one row a configuration, or one row a run's steps."""

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import COMPARABLE, METRICS, SETTINGS, configurations, documented
from scalebook.analysis.statistics import STEP_METRICS, step_summary
from scalebook.contract import RunFiles, ScalebookError


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
    own = runs[runs["kind"] != "reported"][["stem", "experiment", "system", "seed"]]
    return own.merge(step_summaries(own["stem"].tolist()), on="stem")


@results.query
def step_summaries(stems: list[str]) -> pd.DataFrame:
    """Column ``stem`` and those of `STEP_METRICS` for each of these runs that recorded steps."""
    found = results.of_each(_steps_summed, stems, "steps")
    rows = [{"stem": stem, **summed} for stem, summed in found.items() if summed]
    table = pd.DataFrame(rows, columns=["stem", *STEP_METRICS])
    return table.astype({"stem": object} | dict.fromkeys(STEP_METRICS, float))


def _steps_summed(now: results.Snapshot, run: RunFiles) -> dict[str, float] | None:
    """None where there are no steps, or `results.problems()` says what is wrong with their file."""
    try:
        steps = results.read_steps(now.root / run.steps, run.steps.as_posix())
    except ScalebookError:
        return None
    return None if steps.empty else step_summary(steps)
