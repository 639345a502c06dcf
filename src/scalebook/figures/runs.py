"""Curves of one run."""

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import to_python
from scalebook.contract import SYNTHETIC
from scalebook.figures import captions, registry, theme

#: What is drawn of a run by epoch: unit, and columns with their line's name.
PANELS = {
    "loss": {"train_loss": "training", "val_loss": "validation"},
    "accuracy (%)": {"train_acc": "training", "val_acc": "validation"},
    "images/s": {"throughput": "throughput"},
}
#: Lines by name: position among colours and marks, and dash.
LINES = {"training": (0, "dash"), "validation": (1, "solid"), "throughput": (2, "solid")}


@registry.figure("One run by epoch", lenient=True)
def live_curve(stem: str) -> go.Figure:
    """Loss, accuracy and throughput of one run by epoch, as far as it has come.

    Parameters
    ----------
    stem : str
        A run in the catalogue, finished or not.
    """
    title = f"Run {theme.escape(stem, 70)}"
    epochs = results.epochs(stem)
    if epochs.empty:
        return theme.empty("No epoch has ended yet.", title)
    panels = {}
    for unit, lines in PANELS.items():
        there = {name: line for name, line in lines.items() if name in epochs}
        if any(epochs[name].notna().any() for name in there):
            panels[unit] = there
    figure = theme.subplots(1, len(panels), horizontal_spacing=0.11)
    for column, (unit, lines) in enumerate(panels.items(), 1):
        cell = {"row": 1, "col": column}
        for name, line in lines.items():
            _draw_line(figure, epochs["epoch"], epochs[name], line, cell)
        figure.update_yaxes(
            title_text=unit, rangemode="tozero" if unit == "images/s" else None, **cell
        )
        if unit == "loss":
            figure.update_yaxes(**theme.loss_axis(epochs[list(lines)].stack()), **cell)
        figure.update_xaxes(title_text="epoch", dtick=1 if len(epochs) <= 12 else None, **cell)
    figure.update_layout(height=340, margin={"t": 52, "b": 84})
    last = epochs.iloc[-1]
    done = f"after epoch {int(last['epoch'])}: validation accuracy {last['val_acc']:.1f} %"
    if "throughput" in epochs and pd.notna(last["throughput"]):
        done += f", {last['throughput']:,.0f} images/s"
    data, status = _about(stem)
    synthetic = data == SYNTHETIC
    return theme.finish(
        figure,
        f"{title}{', SYNTHETIC DATA' if synthetic else ''}",
        alt=f"Curves of run {stem}, {done}.",
        caption=(
            f"{captions.SYNTHETIC_DATA if synthetic else ''}Run {stem} ({status}) on {data}, "
            f"{done}."
        ),
        details=(
            "Measured by the run itself; warm-up steps and validation are not in the throughput."
        ),
        sources=[stem],
    )


def _draw_line(
    figure: go.Figure, epochs: pd.Series, values: pd.Series, name: str, cell: dict[str, int]
) -> None:
    order, dash = LINES[name]
    figure.add_scatter(
        x=epochs,
        y=values,
        mode="lines+markers",
        name=name,
        legendgroup=name,
        showlegend=theme.is_new(figure, name),
        line={"color": theme.PALETTE[order], "dash": dash, "width": 2.5},
        marker={"symbol": theme.SYMBOLS[order], "size": 7},
        **cell,
    )


def _about(stem: str) -> tuple[str, str]:
    """Dataset and status of a run, in words."""
    runs = results.runs(stem=stem)
    runs = runs[runs["kind"] != "reported"]
    if runs.empty:
        return "unknown data", "not in the catalogue"
    run = runs.iloc[0]
    return str(to_python(run["dataset"]) or "unknown data"), str(run["status"])
