"""Figures of single runs: the curves of one, its steps, and the explorer over all."""

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import METRICS, SYNTHETIC, plain
from scalebook.analysis.headers import EXPLORER_HEADERS
from scalebook.analysis.study_queries import label, start_command
from scalebook.figures import captions, registry, theme

#: What is drawn of a run by epoch: unit, and columns with their line's name.
PANELS = {
    "loss": {"train_loss": "training", "val_loss": "validation"},
    "accuracy (%)": {"train_acc": "training", "val_acc": "validation"},
    "images/s": {"throughput": "throughput"},
}
#: Lines by name: position among colours and marks, and dash.
LINES = {"training": (0, "dash"), "validation": (1, "solid"), "throughput": (2, "solid")}

#: Points of a rank's curve that are drawn at most.
POINTS = 1500

# --------------------------------------------------------------------------- one run


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
            f"{done}. Measured by the run itself; warm-up steps and validation are not in the "
            "throughput."
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
    return str(plain(run["dataset"]) or "unknown data"), str(run["status"])


@registry.figure("Step times of one run", lenient=True)
def step_times(stem: str) -> go.Figure:
    """Time of each step of a run, a line a rank; long runs by medians of neighbouring steps."""
    title = f"Step times of {theme.escape(stem, 60)}"
    steps = results.steps(stem)
    if steps.empty:
        return theme.empty("No step was recorded.", title)
    figure = go.Figure()
    together = 1
    for order, (rank, mine) in enumerate(steps.groupby("rank", sort=True)):
        times = 1e3 * mine["step_time_s"].reset_index(drop=True)
        together = max(together, -(-len(times) // POINTS))
        merged = times.groupby(times.index // together).median()
        figure.add_scatter(
            x=[int(at) * together + 1 for at in merged.index], y=list(merged), mode="lines",
            name=f"rank {rank}", line={"width": 1.5, "color": theme.cycled(theme.PALETTE, order)},
            hovertemplate="step %{x}: %{y:,.1f} ms<extra>" + f"rank {rank}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="step, warm-up included")
    figure.update_yaxes(title_text="time (ms)", rangemode="tozero")
    figure.update_layout(height=320, margin={"t": 52, "b": 84})
    timed = steps[steps["warmup"] == 0]["step_time_s"]
    median = f"; the median of those timed is {1e3 * timed.median():,.1f} ms" if len(timed) else ""
    merged_note = f" Each point is the median of {together} steps." if together > 1 else ""
    return theme.finish(
        figure,
        title,
        alt=f"Time of each of {len(steps):,} steps of all ranks{median}.",
        caption=f"Each rank times its own steps{median}.{merged_note}",
        sources=[stem],
    )


# --------------------------------------------------------------------------- all runs


def explorer_table() -> pd.DataFrame:
    """Every run there is, trials and reported ones included; headers carry the units."""
    return results.runs()[list(EXPLORER_HEADERS)].rename(columns=EXPLORER_HEADERS)


@registry.figure("All runs")
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
    title, unit, _ = METRICS[metric]
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
        return theme.empty(f"No run yet: start one with `{start_command()}`.", heading)
    systems = list(runs.groupby("system", sort=True, dropna=False))
    titles = [f"<b>{theme.escape(label(name, 'system'), 40)}</b>" for name, _ in systems]
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
    return theme.finish(
        figure,
        heading,
        alt=f"Scatter plot of {title} of {len(runs)} runs.",
        caption=(
            f"{captions.SYNTHETIC_DATA if synthetic else ''}Each of {len(runs)} runs, unfinished "
            f"ones included; open markers are trials that stand behind no document.{left_out}"
        ),
        sources=list(runs["stem"]),
    )


def _draw_points(figure: go.Figure, cell: dict[str, int], runs: pd.DataFrame, metric: str) -> None:
    for experiment, group in runs.groupby("experiment", sort=False):
        name = theme.cycled(theme.SYMBOLS, theme.position(experiment))
        title, hue = theme.escape(label(experiment)), theme.colour(experiment)
        # A trial is drawn open, as everything is that no document rests on.
        kinds = ["measured" if taken else "reported" for taken in group["evidence"]]
        figure.add_scatter(
            x=list(group.index + 1),
            y=list(group[metric]),
            mode="markers",
            name=title,
            legendgroup=title,
            showlegend=theme.is_new(figure, title),
            marker={"symbol": [theme.symbol(name, kind) for kind in kinds], "size": 10,
                    "color": hue, "line": {"width": 2, "color": hue}},
            customdata=[theme.escape(stem, 90) for stem in group["stem"]],
            hovertemplate=f"%{{customdata}}<br>%{{y:,.4g}} {METRICS[metric][1]}<extra></extra>",
            **cell,
        )  # fmt: skip
