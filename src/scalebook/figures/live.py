"""Curves of a job by step, while it runs and after."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.statistics import thinned
from scalebook.figures import theme

#: Points of a curve that are drawn at most: a browser draws them again twice a second.
MOST = 1000


def step_curves(
    stem: str, points: pd.DataFrame, epochs: pd.DataFrame, utilisation: pd.DataFrame | None
) -> go.Figure:
    """Loss, rate and utilisation of a job by step; always the same lines, empty at first.

    Parameters
    ----------
    stem : str
        The run. Its steps are counted from 1 over all epochs.
    points : DataFrame
        Columns ``step``, ``images_per_s`` and ``train_loss``, a row a moment.
    epochs : DataFrame
        Columns ``step``, ``train_loss`` and ``val_loss``, a row an epoch, at its last step.
    utilisation : DataFrame or None
        Columns ``step``, ``device`` and ``utilisation_percent``; None where nothing looks at the
        devices.
    """
    points = thinned(points, -(-len(points) // MOST))
    figure = theme.subplots(1, 2 if utilisation is None else 3, horizontal_spacing=0.12)
    loss, rate, use = ({"row": 1, "col": column} for column in (1, 2, 3))
    blue, orange, green = theme.PALETTE[:3]
    losses = points.dropna(subset="train_loss")
    figure.add_scatter(
        x=list(losses["step"]), y=list(losses["train_loss"]), mode="lines", name="loss by step",
        line={"color": theme.PALETTE[5], "width": 1.5}, **loss,
    )  # fmt: skip
    for name, title, hue, mark in (
        ("train_loss", "training, by epoch", blue, theme.SYMBOLS[0]),
        ("val_loss", "validation, by epoch", orange, theme.SYMBOLS[1]),
    ):
        figure.add_scatter(
            x=list(epochs["step"]), y=list(epochs[name]), mode="lines+markers", name=title,
            line={"color": hue, "width": 2}, marker={"symbol": mark, "size": 7}, **loss,
        )  # fmt: skip
    figure.add_scatter(
        x=list(points["step"]), y=list(points["images_per_s"]), mode="lines", name="images/s",
        line={"color": green, "width": 1.5}, **rate,
    )  # fmt: skip
    values = pd.concat([points["train_loss"], epochs["train_loss"], epochs["val_loss"]])
    figure.update_yaxes(title_text="loss", **theme.loss_axis(values), **loss)
    figure.update_yaxes(title_text="images/s", rangemode="tozero", **rate)
    if utilisation is not None:
        _draw_utilisation(figure, utilisation, use)
    figure.update_xaxes(title_text="step", rangemode="tozero")
    figure.update_layout(height=330, margin={"t": 44, "b": 100})
    at = int(points["step"].iloc[-1]) if len(points) else 0
    return theme.finish(
        figure,
        f"Run {theme.escape(stem, 70)}",
        alt=f"Loss and images/s of run {stem} up to step {at:,}.",
        caption=(
            f"Run {stem} up to step {at:,}. By step: the first rank's mean training loss, "
            "and the images/s of all ranks, about every half second; by epoch: all images."
        ),
        sources=[stem],
    )


def _draw_utilisation(figure: go.Figure, busy: pd.DataFrame, cell: dict[str, int]) -> None:
    """One line over the GPUs, or over the hosts where there is no GPU."""
    gpus = busy[busy["device"] != "host"]
    shown = gpus if len(gpus) else busy
    mean = shown.groupby("step", as_index=False)["utilisation_percent"].mean()
    mean = thinned(mean, -(-len(mean) // MOST))
    figure.add_scatter(
        x=list(mean["step"]),
        y=list(mean["utilisation_percent"]),
        mode="lines",
        name="GPUs" if len(gpus) else "processors",
        line={"color": theme.PALETTE[3], "width": 1.5},
        **cell,
    )
    figure.update_yaxes(title_text="utilisation (%)", range=[0, 102], **cell)
