"""The curves of one job by step: gathered from its files, and shown while it runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.contract import ScalebookError
from scalebook.figures.live import StepCurves, step_curves
from scalebook.launch import Job
from scalebook.launch.points import points

_POINTS = ["step", "images_per_s", "train_loss"]
_LOSSES = ["step", "train_loss", "val_loss"]


def curves(job: Job) -> StepCurves:
    """Gather what there is of a job by step, as far as it has come."""
    stem = str(job.stem)
    noted = pd.DataFrame([vars(point) for point in points(job)])
    try:
        epochs = results.epochs(stem)
    except ScalebookError:  # no epoch has ended yet
        epochs = pd.DataFrame(columns=["epoch", *_LOSSES[1:]])
    steps = _steps_an_epoch(job)
    if noted.empty:
        table = _from_steps(stem, steps)
    else:
        table = noted.assign(step=(noted["epoch"] - 1) * steps + noted["step"])
    by_epoch = epochs.reindex(columns=["epoch", *_LOSSES[1:]])
    by_epoch = by_epoch.assign(step=by_epoch["epoch"] * steps)
    return StepCurves(stem, table[_POINTS], by_epoch[_LOSSES], _utilisation(job, table))


def draw(job: Job) -> go.Figure:
    """Draw the curves of a job as far as it has come."""
    return step_curves(curves(job))


def _steps_an_epoch(job: Job) -> int:
    """Steps of a whole epoch; 0 while that is not known."""
    if steps := job.progress().steps:
        return steps
    try:
        return int(results.steps(str(job.stem))["step"].max())
    except (ScalebookError, ValueError):
        return 0


def _from_steps(stem: str, steps: int) -> pd.DataFrame:
    """Rates of the steps of all epochs that have ended: a step lasts as long as its slowest rank.

    So it is where nobody noted points: on another machine, or by an older version.
    """
    try:
        table = results.steps(stem)
    except ScalebookError:
        return pd.DataFrame(columns=_POINTS, dtype=float)
    both = table.groupby(["epoch", "step"], as_index=False).agg(
        images=("images", "sum"), seconds=("step_time_s", "max")
    )
    return pd.DataFrame(
        {
            "step": (both["epoch"] - 1) * steps + both["step"],
            "images_per_s": both["images"] / both["seconds"],
            "train_loss": np.nan,
        }
    )


def _utilisation(job: Job, table: pd.DataFrame) -> pd.DataFrame | None:
    """Utilisation at the steps that were done at the time; None where nothing looks."""
    training = job.resolved["training"]
    period = training.get("sample_s")
    if not (training.get("profile") if period is None else period):
        return None
    columns = ["step", "device", "utilisation_percent"]
    stem = str(job.stem)
    try:
        busy = results.utilisation(stem)
        began = results.utilisation_began(stem)
    except ScalebookError:
        return pd.DataFrame(columns=columns)
    if table.empty or "time" not in table:
        return pd.DataFrame(columns=columns)
    at = np.interp(began + busy["time_s"], table["time"], table["step"], left=0)
    return busy.assign(step=at.round())[columns]
