"""Tables of what was measured: one row a configuration, or one row a run's steps."""

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import COMPARABLE, SETTINGS, configurations, documented
from scalebook.analysis.statistics import STEP_METRICS, step_summary
from scalebook.contract import RunFiles, ScalebookError
from scalebook.results import METRICS


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
    for configuration in configurations(runs):
        summaries = {metric: configuration.summary(metric) for metric in METRICS}
        if not any(summary.n for summary in summaries.values()):
            continue
        row: dict[str, Any] = {"kind": configuration.kind}
        row |= {name: configuration[name] for name in (*SETTINGS, *COMPARABLE)}
        row |= {"n": len(configuration.runs), "interval": summaries["throughput"].interval}
        for metric, summary in summaries.items():
            row |= {f"{metric}_{stat}": getattr(summary, stat) for stat in stats}
        rows.append({**row, "source": configuration.source})
    names = ["kind", *SETTINGS, *COMPARABLE, "n", "interval"]
    names += [f"{metric}_{stat}" for metric in METRICS for stat in stats]
    table = pd.DataFrame(rows, columns=[*names, "source"])
    return table.astype({"epochs": "Int64"})  # a reported one has none


def step_table(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Percentiles of the step time of every run whose steps were recorded.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; the measured ones of a document where left out.

    Returns
    -------
    DataFrame
        Columns ``stem``, ``experiment``, ``system``, ``seed``, ``block`` and those of
        `STEP_METRICS`.
    """
    runs = documented() if runs is None else runs
    own = runs[runs["kind"] != "reported"][["stem", "experiment", "system", "seed", "block"]]
    table = own.merge(step_summaries(own["stem"].tolist()), on="stem")
    return table.astype({"steps": int})


@results.query
def step_summaries(stems: list[str]) -> pd.DataFrame:
    """Column ``stem`` and those of `STEP_METRICS` for each of these runs that recorded steps."""
    found = results.of_each(_steps_summed, stems, "steps", "csv")
    rows = [{"stem": stem, **summed} for stem, (summed, _) in found.items() if summed]
    table = pd.DataFrame(rows, columns=["stem", *STEP_METRICS])
    return table.astype({"stem": object} | dict.fromkeys(STEP_METRICS, float))


def steps_that_disagree(stems: list[str]) -> dict[str, str]:
    """Runs whose steps do not add up to the time and images of their epochs, and where."""
    found = results.of_each(_steps_summed, stems, "steps", "csv")
    return {stem: problem for stem, (_, problem) in found.items() if problem}


def _steps_summed(now: results.Snapshot, run: RunFiles) -> tuple[dict[str, float] | None, str]:
    """Percentiles of a run's steps, None where there are none that can be read; `_disagreement`."""
    try:
        steps = results.read_steps(now.root / run.steps, run.steps.as_posix())
    except ScalebookError:
        return None, ""
    if steps.empty:
        return None, ""
    epochs = results.read_epochs(now.root / run.csv, run.csv.as_posix()).frame
    return step_summary(steps), _disagreement(steps, epochs)


#: By how much the timed seconds of an epoch may differ from the sum of its steps: both are rounded.
_TOLERANCE = 0.001


def _disagreement(steps: pd.DataFrame, epochs: pd.DataFrame) -> str:
    """First epoch whose timed images or seconds are not the sum of its steps; empty if all are.

    An epoch lasts as long as its steps on the rank that took longest. One that tells no images or
    no seconds has nothing to be held against.
    """
    if not {"images", "train_time_s"} <= set(epochs):
        return ""
    timed = steps[steps["warmup"] == 0]
    images = timed.groupby("epoch")["images"].sum()
    seconds = timed.groupby(["epoch", "rank"])["step_time_s"].sum().groupby("epoch").max()
    for epoch, counted, lasted in zip(epochs["epoch"], *results.timed(epochs)):
        own = (float(images.get(epoch, 0)), float(seconds.get(epoch, 0.0)))
        if pd.isna(counted) or pd.isna(lasted):
            continue
        if own[0] != counted or abs(own[1] - lasted) > _TOLERANCE * lasted + 0.001:
            return (
                f"epoch {epoch}: its steps took {own[1]:.3f} s for {own[0]:.0f} images, the epoch "
                f"{lasted:.3f} s for {counted:.0f}"
            )
    return ""
