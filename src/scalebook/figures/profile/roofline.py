"""The roofline: how near operators come to what the device can do."""

import functools
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scalebook import traces
from scalebook.analysis.study_queries import start_command
from scalebook.figures import captions, registry, theme
from scalebook.figures.profile import families
from scalebook.traces.peaks import Peak

#: Most operators drawn: the longest.
MOST = 60
DASHES = {"fp32": "solid", "tf32": "dash", "fp16": "dot", "bf16": "dashdot"}


@registry.figure("Roofline", lenient=True)
def roofline(file: str | None) -> go.Figure:
    """Operators by arithmetic intensity and achieved rate, below the device's roofs.

    Parameters
    ----------
    file : str, optional
        A trace, relative to the study's root; a sentence is drawn where there is none.
    """
    if file is None:
        return theme.empty("No trace is in results/profiling/ yet.")
    table = traces.trace_speed(file)
    summary = traces.trace_summary(file)
    table = table[(table["flops"] > 0) & (table["bytes"] > 0)].head(MOST)
    if table.empty:
        command = start_command(profiled=True)
        return theme.empty(captions.text("roofline", "empty", file=file, command=command))
    peak = Peak(**summary["peak"]) if summary["peak"] else None
    figure = go.Figure()
    if peak is not None:
        _draw_roofs(figure, table, peak)
    _draw_operators(figure, table, summary["total_us"])
    decades = {"type": "log", "dtick": 1, "exponentformat": "none"}
    figure.update_xaxes(title_text="arithmetic intensity (FLOP per byte)", **decades)
    figure.update_yaxes(title_text="rate (TFLOP/s)", **decades)
    theme.leave_room(figure, 266)
    figure.update_layout(hovermode="closest")
    sentences = _sentences(table, file, summary, peak)
    return theme.finish(
        figure,
        alt=_alt(table, file, peak),
        caption=sentences[0],
        details=" ".join(sentences[1:]),
        sources=[file],
    )


def _draw_roofs(figure: go.Figure, table: pd.DataFrame, peak: Peak) -> None:
    low, high = table["intensity"].min() / 2, table["intensity"].max() * 2
    for precision in dict.fromkeys(table["precision"]):
        top = peak.of(precision)
        ridge = top * 1e3 / peak.memory_gb_s
        x = sorted({low, min(max(ridge, low), high), high})
        y = [min(top, intensity * peak.memory_gb_s / 1e3) for intensity in x]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": theme.GREY, "width": 2, "dash": DASHES.get(precision, "solid")},
            name=f"peak in {theme.escape(precision, 12)}",
            hovertemplate=f"{theme.escape(peak.device)}: {top:.4g} TFLOP/s in {precision}, "
            f"{peak.memory_gb_s:,.4g} GB/s<extra></extra>",
        )


def _draw_operators(figure: go.Figure, table: pd.DataFrame, total: float) -> None:
    for (kind, phase), mine in table.groupby(["kind", "phase"], sort=False):
        share = 100 * mine["time_us"] / (total or 1.0)
        figure.add_scatter(
            x=list(mine["intensity"]),
            y=list(mine["tflops"]),
            mode="markers",
            name=theme.escape(f"{families.title(kind)}, {phase}", 40),
            marker={
                "symbol": families.SYMBOLS.get(phase, "circle"),
                "color": families.colour(kind),
                "size": list(np.clip(7 + 4 * np.sqrt(share), 7, 30)),
                "opacity": 0.85,
                "line": {"width": 1, "color": "#ffffff"},
            },
            customdata=[_hover(row, part) for row, part in zip(mine.itertuples(), share)],
            hovertemplate="%{customdata}<extra></extra>",
        )


def _hover(row: Any, share: float) -> str:
    lines = [f"<b>{theme.escape(row.operator, 72)}</b>"]
    if row.shapes:
        lines.append(theme.escape(row.shapes, 72))
    lines.append(
        f"{theme.escape(row.phase, 20)}, {theme.escape(row.precision, 10)}, {row.calls:,} calls, "
        f"{families.duration(row.time_us)} ({share:.1f} % of the time)"
    )
    lines.append(f"{row.tflops:.3g} TFLOP/s at {row.intensity:.3g} FLOP per byte")
    if row.efficiency == row.efficiency:
        lines.append(f"{100 * row.efficiency:.1f} % of what {row.bound} allows")
    return "<br>".join(lines)


def _alt(table: pd.DataFrame, file: str, peak: Peak | None) -> str:
    each = [
        f"{row.operator} ({row.phase}): {row.tflops:.3g} TFLOP/s at {row.intensity:.3g} FLOP per "
        "byte" + (f", {100 * row.efficiency:.0f} % of its roof" if peak else "")
        for row in table.head(5).itertuples()
    ]
    return f"Roofline of {file}, both axes logarithmic. {'; '.join(each)}."


def _sentences(
    table: pd.DataFrame, file: str, summary: dict[str, Any], peak: Peak | None
) -> list[str]:
    text = functools.partial(captions.text, "roofline")
    sentences = []
    speed = summary["speed"]
    if speed and speed["mfu"] is not None:
        times = {"step": speed["step_us"] / 1e3, "best": speed["best_us"] / 1e3}
        work = {"flops": speed["flops"] / 1e9, "mfu": 100 * speed["mfu"]}
        sentences.append(text("step", **work, **times))
    sentences.append(text("points", count=len(table), file=file))
    if peak is not None:
        sentences.append(text("lines", peak=peak))
        if (table["gb_s"] > peak.memory_gb_s).any():
            sentences.append(text("caches"))
    else:
        what = "this CPU" if summary["device"] == "cpu" else "this device"
        hint = "; `scalebook trace summary --measure-cpu` measures it" if what == "this CPU" else ""
        sentences.append(text("no roof", what=what, hint=hint))
    return sentences
