"""`allreduce_bandwidth`: what the links between the nodes can give, without any training."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis import study_queries
from scalebook.analysis.comparable import plain
from scalebook.analysis.text import number
from scalebook.figures import column, theme

TITLE = "Bus bandwidth of an all-reduce"


def allreduce_bandwidth(curves: pd.DataFrame | None = None, narrow: bool = False) -> go.Figure:
    """Bus bandwidth over message size, one line for each measured curve.

    Parameters
    ----------
    curves : DataFrame, optional
        Rows of `results.allreduce`; all that may stand in a document where left out.
    narrow : bool, optional
        For one column of a paper.
    """
    curves = results.allreduce(local=False) if curves is None else curves
    if curves.empty:
        return (column if narrow else theme).empty(
            TITLE,
            "No all-reduce curve yet: measure one with `sbatch slurm/test_allreduce.sbatch`.",
        )
    order = study_queries.systems()
    # The order of the study, so that a colour means the same system whichever are there.
    systems = sorted(
        curves["system"].unique(), key=lambda name: order.index(name) if name in order else 99
    )
    figure = go.Figure()
    letters = column.LETTERS if narrow else 12
    name = column.name if narrow else theme.escape
    said = []
    for system in systems:
        position = order.index(system) if system in order else len(order)
        of_system = curves[curves["system"] == system]
        for _, curve in of_system.groupby("stem", sort=True):
            _draw_curve(figure, curve, position, name(system), letters)
            said.append(_said_curve(curve))
        _draw_rate(figure, of_system, position, letters)
    figure.update_xaxes(title_text="message size (bytes)", **_sizes(curves["bytes"]))
    figure.update_yaxes(
        title_text="bus bandwidth (GB/s)", type="log", dtick=1, exponentformat="none"
    )
    figure.update_layout(height=400, margin={"r": 120, "t": 56})
    figure = theme.finish(
        figure,
        TITLE,
        alt=f"Bus bandwidth over message size, both axes logarithmic. {'; '.join(said)}.",
        caption=(
            f"{'; '.join(said)}. Measured: median over repetitions of the slowest rank, warm-up "
            "left out; shaded from the lower to the upper quartile. Bus bandwidth is bytes over "
            "latency times 2 (n - 1) / n with n ranks, so that the rate of the link bounds it. "
            "Dashed lines are modelled, not measured: the rate the link is set to, in bytes. "
            f"{theme.machines(systems)}"
        ),
        sources=sorted(curves["stem"].unique()),
    )
    if not narrow:
        return figure
    right = column.room([column.name(system) for system in systems])
    figure.update_layout(margin={"l": 8, "r": right, "t": column.TOP + 4, "b": column.AXIS})
    return column.fit(figure, 228)


def _draw_curve(
    figure: go.Figure, curve: pd.DataFrame, position: int, name: str, letters: int
) -> None:
    hue = theme.PALETTE[position % len(theme.PALETTE)]
    sizes = list(curve["bytes"])
    median = curve["busbw_gb_s"]
    upper = median * curve["latency_us"] / curve["latency_low_us"]
    lower = median * curve["latency_us"] / curve["latency_high_us"]
    figure.add_scatter(
        x=[*sizes, *sizes[::-1]], y=[*upper, *list(lower)[::-1]], mode="lines", fill="toself",
        fillcolor=theme.faded(hue, 0.25), line={"width": 0}, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=sizes,
        y=list(median),
        mode="lines+markers+text",
        name=name,
        text=[*[""] * (len(sizes) - 1), f" {name}"],
        textposition="middle right",
        textfont_size=letters,
        showlegend=False,
        cliponaxis=False,
        line={"color": hue, "width": 2},
        marker={"symbol": theme.SYMBOLS[position % len(theme.SYMBOLS)], "size": 7},
        customdata=list(curve["latency_us"]),
        hovertemplate="%{x:,d} bytes: %{y:.3g} GB/s, %{customdata:,.0f} µs<extra></extra>",
    )


def _draw_rate(figure: go.Figure, curve: pd.DataFrame, position: int, letters: int) -> None:
    """The rate of the link as a dashed line: no curve can lie above it for long messages."""
    rate = plain(curve["link_gbit_s"].iloc[-1])
    if rate is None:
        return
    system = curve["system"].iloc[0]
    hue = theme.PALETTE[position % len(theme.PALETTE)]
    text = f"modelled: {rate:g} Gbit/s"
    figure.add_scatter(
        x=[curve["bytes"].min(), curve["bytes"].max()],
        y=[rate / 8, rate / 8],
        mode="lines+text",
        text=["", text],
        textposition="top left",
        textfont_size=letters,
        line={"color": hue, "dash": "dash", "width": 2},
        showlegend=False,
        name=theme.escape(f"link of {system}"),
        hovertemplate=f"{text} = {rate / 8:g} GB/s<extra>%{{fullData.name}}</extra>",
    )


def _sizes(sizes: pd.Series) -> dict:
    """A logarithmic axis with ticks at powers of 16, named in binary units."""
    powers = range(0, 41, 4)
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    ticks = [2**power for power in powers]
    names = [f"{2 ** (power % 10)} {units[power // 10]}" for power in powers]
    span = [math.log10(sizes.min()), math.log10(sizes.max())]
    pad = 0.02 * (span[1] - span[0]) + 0.05
    return {
        "type": "log", "tickvals": ticks, "ticktext": names, "range": [span[0] - pad, span[1] + pad]
    }  # fmt: skip


def _said_curve(curve: pd.DataFrame) -> str:
    first = curve.iloc[0]
    top = curve.loc[curve["busbw_gb_s"].idxmax()]
    rate = plain(first["link_gbit_s"])
    share = f", {100 * 8 * top['busbw_gb_s'] / rate:.0f} % of its link" if rate else ""
    return (
        f"{first['system']} with {first['world_size']} ranks by {first['backend']} reaches "
        f"{number(top['busbw_gb_s'])} GB/s{share}, and takes {number(first['latency_us'])} µs for "
        f"{first['bytes']} bytes"
    )
