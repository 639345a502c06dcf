"""The curves of one job by step: gathered from its files, and shown while it runs."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.errors import EmptyDataError

from scalebook import results
from scalebook.contract import LARGEST, ScalebookError
from scalebook.figures.live import step_curves
from scalebook.launch import Job
from scalebook.train.records import POINTS, POINTS_FILE

_POINTS = ["step", "images_per_s", "train_loss"]
_LOSSES = ["step", "train_loss", "val_loss"]


def draw(job: Job) -> go.Figure:
    """Draw what there is of a job by step, as far as it has come."""
    stem = str(job.stem)
    try:
        epochs = results.epochs(stem)
    except ScalebookError:  # no epoch has ended yet
        epochs = pd.DataFrame(columns=["epoch", *_LOSSES[1:]])
    noted, steps = points(job), _steps_an_epoch(job)
    table = noted.assign(step=(noted["epoch"] - 1) * steps + noted["step"])
    by_epoch = epochs.reindex(columns=["epoch", *_LOSSES[1:]])
    by_epoch = by_epoch.assign(step=by_epoch["epoch"] * steps)
    return step_curves(stem, table[_POINTS], by_epoch[_LOSSES], _utilisation(job, table))


def points(job: Job) -> pd.DataFrame:
    """What a job's first rank noted about twice a second, see `scalebook.train.records.POINTS`.

    What a resume did again takes the place of what it was before, and a torn tail is left out.
    """
    names = [column.name for column in POINTS]
    try:
        text = (job.folder / POINTS_FILE).read_text(encoding="utf-8", errors="replace")
        lines = text[: text.rfind("\n") + 1].splitlines()
        whole = io.StringIO("\n".join(line for line in lines if line.count(",") == len(names) - 1))
        table = pd.read_csv(whole, names=names, header=0, quoting=csv.QUOTE_NONE)
    except (OSError, EmptyDataError):  # nothing was noted yet
        return pd.DataFrame(columns=names, dtype=float)
    table = table.apply(pd.to_numeric, errors="coerce").dropna(subset=names[:-1])
    at = table["epoch"] * LARGEST + table["step"]
    redone = at >= at[::-1].cummin()[::-1].shift(-1)
    return table[~redone]


def _steps_an_epoch(job: Job) -> int:
    """Steps of a whole epoch; 0 while that is not known."""
    progress = job.progress()
    if progress.steps and progress.phase != "data":  # which counts images
        return progress.steps
    try:
        return int(results.steps(str(job.stem))["step"].max())
    except (ScalebookError, ValueError):
        return 0


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
    if table.empty:
        return pd.DataFrame(columns=columns)
    at = np.interp(began + busy["time_s"], table["time"], table["step"], left=0)
    return busy.assign(step=at.round())[columns]
