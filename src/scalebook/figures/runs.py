"""Figures of single runs: the live curve of one, and the explorer over all."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import METRICS, SYNTHETIC, plain
from scalebook.analysis.study_queries import start_command
from scalebook.contract import ScalebookError
from scalebook.figures import theme

#: Columns of the explorer's table and their headers.
EXPLORER = {
    "stem": "run",
    "kind": "kind",
    "status": "status",
    "evidence": "evidence",
    "system": "system",
    "dataset": "dataset",
    "seed": "seed",
    "epochs_done": "epochs",
    "throughput": "throughput (images/s)",
    "epoch_time_s": "time per epoch (s)",
    "final_val_acc": "final validation accuracy (%)",
}


def live_curve(stem: str) -> go.Figure:
    """Loss, accuracy and throughput of one run by epoch, as far as it has come.

    Parameters
    ----------
    stem : str
        A run in the catalogue, finished or not.
    """
    title = f"Run {theme.escape(stem, 70)}"
    try:
        epochs = results.epochs(stem)
    except ScalebookError as error:
        return theme.empty(title, str(error))
    if epochs.empty:
        return theme.empty(title, "No epoch has ended yet.")
    panels = [
        panel
        for panel in (
            ("loss", [("train_loss", "training"), ("val_loss", "validation")]),
            ("accuracy (%)", [("train_acc", "training"), ("val_acc", "validation")]),
            ("images/s", [("throughput", "throughput")]),
        )
        if any(column in epochs and epochs[column].notna().any() for column, _ in panel[1])
    ]
    figure = theme.subplots(1, len(panels), horizontal_spacing=0.11)
    for position, (unit, lines) in enumerate(panels, 1):
        _draw_lines(figure, position, epochs, lines)
        figure.update_yaxes(title_text=unit, row=1, col=position)
        figure.update_xaxes(
            title_text="epoch", dtick=1 if len(epochs) <= 12 else None, row=1, col=position
        )
        if unit == "images/s":
            figure.update_yaxes(rangemode="tozero", row=1, col=position)
    figure.update_layout(height=340, margin={"t": 52, "b": 84})
    last = epochs.iloc[-1]
    done = f"after epoch {int(last['epoch'])}: validation accuracy {last['val_acc']:.1f} %"
    if "throughput" in epochs and pd.notna(last["throughput"]):
        done += f", {last['throughput']:,.0f} images/s"
    data, status = _about(stem)
    if data == SYNTHETIC:
        title += ", SYNTHETIC DATA"
    warning = "SYNTHETIC DATA: generated images, the accuracies mean nothing. "
    return theme.finish(
        figure,
        title,
        alt=f"Curves of run {stem}, {done}.",
        caption=(
            f"{warning if data == SYNTHETIC else ''}Run {stem} ({status}) on {data}, {done}. "
            "Measured by the run itself; warm-up steps and validation are not in the throughput."
        ),
        sources=[stem],
    )


def _draw_lines(figure: go.Figure, column: int, epochs: pd.DataFrame, lines: list) -> None:
    styles = {"training": (0, "dash"), "validation": (1, "solid"), "throughput": (2, "solid")}
    for name, label in lines:
        if name not in epochs:
            continue
        order, dash = styles[label]
        figure.add_scatter(
            x=epochs["epoch"],
            y=epochs[name],
            mode="lines+markers",
            name=label,
            legendgroup=label,
            showlegend=not any(trace.name == label for trace in figure.data),
            line={"color": theme.PALETTE[order], "dash": dash, "width": 2.5},
            marker={"symbol": theme.SYMBOLS[order], "size": 7},
            row=1,
            col=column,
        )


def _about(stem: str) -> tuple[str, str]:
    """Dataset and status of a run, in words."""
    runs = results.runs(stem=stem)
    runs = runs[runs["kind"] != "reported"]
    if runs.empty:
        return "unknown data", "not in the catalogue"
    run = runs.iloc[0]
    return str(plain(run["dataset"]) or "unknown data"), str(run["status"])


def explorer_table() -> pd.DataFrame:
    """Every run there is, trials and reported ones included; headers carry the units."""
    return results.runs()[list(EXPLORER)].rename(columns=EXPLORER)


def explorer(metric: str = "throughput", dataset: str | None = None) -> go.Figure:
    """All runs on one kind of data, one point each, in a plot for each system.

    Parameters
    ----------
    metric : str
        One of `comparable.METRICS`.
    dataset : str, optional
        Only runs on this dataset; where left out, those on real images, or on
        generated ones if there are no others.
    """
    title, unit = METRICS[metric]
    everything = results.runs()
    everything = everything[(everything["kind"] != "reported") & everything[metric].notna()]
    runs = everything
    if dataset is None:
        real = runs["dataset"] != SYNTHETIC
        runs = runs[real] if real.any() else runs
    else:
        runs = runs[runs["dataset"] == dataset]
    heading = f"All runs: {title}"
    if runs.empty:
        return theme.empty(heading, f"No run yet: start one with `{start_command()}`.")
    systems = list(runs.groupby("system", sort=True, dropna=False))
    titles = [f"<b>{theme.escape(name, 40)}</b>" for name, _ in systems]
    figure, cells = theme.grid(titles, row=240)
    for cell, (_, group) in zip(cells, systems):
        _draw_points(figure, cell, group.reset_index(drop=True), metric)
        figure.update_xaxes(
            title_text="run, by start", range=[0.4, len(group) + 0.6],
            dtick=1 if len(group) <= 12 else None, **cell,
        )  # fmt: skip
        figure.update_yaxes(rangemode="tozero", **cell)
        if cell["col"] == 1:
            figure.update_yaxes(title_text=f"{title} ({unit})", **cell)
    synthetic = (runs["dataset"] == SYNTHETIC).all()
    hidden = len(everything) - len(runs)
    left_out = f" Not drawn here: {hidden} on other images." if hidden else ""
    warning = "SYNTHETIC DATA: generated images, the accuracies mean nothing. "
    return theme.finish(
        figure,
        heading,
        alt=f"Scatter plot of {title} of {len(runs)} runs.",
        caption=(
            f"{warning if synthetic else ''}Each of {len(runs)} runs, unfinished ones included; "
            "open markers are trials that stand behind no document."
            f"{left_out}"
        ),
        sources=list(runs["stem"]),
    )


def _draw_points(figure: go.Figure, cell: dict, runs: pd.DataFrame, metric: str) -> None:
    for experiment, group in runs.groupby("experiment", sort=False):
        order = theme.place(experiment)
        name = theme.SYMBOLS[order % len(theme.SYMBOLS)]
        label, hue = theme.escape(experiment), theme.colour(experiment)
        # A trial is drawn open, as everything is that no document rests on.
        kinds = ["measured" if taken else "reported" for taken in group["evidence"]]
        figure.add_scatter(
            x=list(group.index + 1),
            y=list(group[metric]),
            mode="markers",
            name=label,
            legendgroup=label,
            showlegend=not any(trace.name == label for trace in figure.data),
            marker={"symbol": [theme.symbol(name, kind) for kind in kinds], "size": 10,
                    "color": hue, "line": {"width": 2, "color": hue}},
            customdata=[theme.escape(stem, 90) for stem in group["stem"]],
            hovertemplate=f"%{{customdata}}<br>%{{y:,.4g}} {METRICS[metric][1]}<extra></extra>",
            **cell,
        )  # fmt: skip
