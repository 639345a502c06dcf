"""`overheads`: what a parallel step spends on computation, on being parallel, on the network."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import COMPARABLE, Configuration, configurations, documented
from scalebook.analysis.step_parts import overheads as overhead_table
from scalebook.figures import column, theme

TITLE = "Where the time of a parallel step goes"

#: Parts of a step as they are stacked: name for the reader, colour, pattern.
PARTS = {
    "compute": ("computation", theme.PALETTE[0], ""),
    "parallel": ("parallel overhead", theme.PALETTE[4], "."),
    "network": ("network", theme.PALETTE[1], "\\"),
}

#: Name in a short legend of the modelled step, which the caption explains.
LIMIT = "modelled limit"


def overheads(runs: pd.DataFrame | None = None, narrow: bool = False) -> go.Figure:
    """Stacked bars of a step under strong scaling, one for each system.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    narrow : bool, optional
        For one column of a paper.
    """
    runs = documented() if runs is None else runs
    table = overhead_table(runs)
    strong = table[table["scaling"] == "strong"]
    drawn = strong[strong["network_ms"].notna()].to_dict("records")
    missing = "".join(
        f"Not drawn: {row.experiment} on {row.system}, {row.reason}. "
        for row in strong[strong["network_ms"].isna()].itertuples()
    )
    if not drawn:
        return (column if narrow else theme).empty(
            TITLE,
            missing.rstrip()
            or "No run on more nodes than its reference yet: run one, its reference, and as many "
            "ranks on one node, on the same system.",
        )
    measured = [one for one in configurations(runs) if one.kind == "measured"]
    found = {stem: one for one in measured for stem in one.stems}
    groups: dict[tuple, list[dict]] = {}
    for row in drawn:
        groups.setdefault(_alike(found[row["stems"][0]]), []).append(row)
    stems = {stem for row in drawn for stem in row["stems"]}
    used = [one for one in measured if one.stems[0] in stems]
    figure = theme.finish(
        (_draw_narrow if narrow else _draw_wide)(list(groups.values()), found),
        TITLE,
        alt=f"Stacked bars of the time of a step. {'; '.join(map(_said_overhead, drawn))}.",
        caption=(
            f"{theme.synthetic_warning(used)}{'; '.join(map(_said_overhead, drawn))}. "
            "Computation is the step of one rank, shared out without loss; parallel overhead is "
            "what as many ranks on one node take beyond it; network is what more nodes add. "
            "Medians over seeds, formed seed by seed, of the median step of a run (slowest rank, "
            "warm-up left out); the line is the interval of the step. Upright lines are modelled: "
            "the step on one node, and the gradients at the rate of the link after it, none hidden "
            f"behind computation. {missing}{theme.machines(row['system'] for row in drawn)}"
            f"{theme.origin(used)}"
        ),
        sources=sorted(stems),
    )
    return column.fit(figure, figure.layout.height) if narrow else figure


def _alike(one: Configuration) -> tuple:
    """Equal for configurations whose steps differ in the system's network alone."""
    return tuple(one[name] for name in (*COMPARABLE, "global_batch") if name != "system")


def _titles(groups: list[list[dict]], found: dict[str, Configuration]) -> list[str]:
    """Device and data of each group; its systems are on the axis."""
    behind = [found[group[0]["stems"][0]] for group in groups]
    return [theme.facet_title(one).partition("<br>")[2] for one in behind]


def _draw_wide(groups: list[list[dict]], found: dict[str, Configuration]) -> go.Figure:
    sizes = [len(group) for group in groups]
    figure = theme.stacked(sizes, _titles(groups, found), bar=46, gap=100)
    for row, group in enumerate(groups, 1):
        names = [theme.escape(f"{one['system']}, {one['experiment']}", 40) for one in group]
        _draw_group(figure, row, group, names)
        ends = [max(one["step_ms_high"], _limit(one) or 0) for one in group]
        _set_range(figure, row, group, 1.42 * max(ends))
        figure.update_xaxes(title_text="time of a step (ms)", row=row, col=1)
    # A part may come out below zero where it is smaller than the noise.
    return figure.update_layout(
        barmode="relative",
        height=figure.layout.height + 48,
        margin_b=theme.MARGIN["b"] + 48,
        legend={"xref": "container", "x": 0.02, "itemsizing": "constant"},
    )


def _draw_narrow(groups: list[list[dict]], found: dict[str, Configuration]) -> go.Figure:
    """Names in two lines, a short legend, the title of the axis on the last one alone."""
    names = [
        [f"{column.name(one['system'])}<br>{column.name(one['experiment'])}" for one in group]
        for group in groups
    ]  # fmt: skip
    left = column.room([name for group in names for name in group])
    figure = column.stacked(
        [34 * len(group) for group in groups],
        _titles(groups, found),
        left,
        axes=column.TICKS,
        legend=[*(title for title, _, _ in PARTS.values()), LIMIT],
    )
    for row, (group, named) in enumerate(zip(groups, names), 1):
        longest = _draw_group(figure, row, group, named, column.LETTERS)
        ends = max(max(one["step_ms_high"], _limit(one) or 0) for one in group)
        end = column.end_of_axis(ends, 16 + column.LETTER * longest, left)
        _set_range(figure, row, group, end)
        figure.update_xaxes(tickvals=column.ticks(ends), row=row, col=1)
    figure.update_xaxes(title_text="time of a step (ms)", row=len(groups), col=1)
    figure.update_yaxes(automargin=False)
    figure.for_each_trace(lambda trace: trace.update(name=LIMIT), {"legendgroup": "limit"})
    # A group starts a new row in the legend.
    figure.update_traces(legendgroup=None)
    return figure.update_layout(barmode="relative")


def _draw_group(
    figure: go.Figure, row: int, group: list[dict], names: list[str], letters: int = 12
) -> int:
    """Steps of one plot with their times beside them; return the letters of the longest."""
    _draw_parts(figure, row, group, names)
    _draw_step(figure, row, group, names)
    _draw_limits(figure, row, group, names)
    longest = 0
    for one, name in zip(group, names):
        shown = _rounding(one)
        parts = " + ".join(shown(one[f"{part}_ms"]) for part in PARTS)
        lines = [f"{shown(one['step_ms'])} ms", parts]
        longest = max(longest, *map(len, lines))
        figure.add_annotation(
            text="<br>".join(lines), x=max(one["step_ms_high"], _limit(one) or 0),
            xanchor="left", xshift=12, y=name, align="left", font_size=letters, row=row, col=1,
        )  # fmt: skip
    figure.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], showgrid=False, row=row, col=1
    )
    return longest


def _set_range(figure: go.Figure, row: int, group: list[dict], end: float) -> None:
    low = min(0, *(one["network_ms"] for one in group), *(one["parallel_ms"] for one in group))
    figure.update_xaxes(range=[1.05 * low, end], showgrid=False, tickformat=",d", row=row, col=1)


def _draw_parts(figure: go.Figure, row: int, group: list[dict], names: list[str]) -> None:
    for part, (title, hue, shape) in PARTS.items():
        figure.add_bar(
            y=names,
            x=[one[f"{part}_ms"] for one in group],
            orientation="h",
            name=title,
            legendgroup=part,
            showlegend=row == 1,
            marker={
                "color": hue, "line": {"color": "#ffffff", "width": 1},
                "pattern": {"shape": shape, "fgcolor": "#ffffff", "size": 6, "solidity": 0.25,
                            "fillmode": "overlay"},
            },
            customdata=[theme.escape(_said_overhead(one), 200) for one in group],
            hovertemplate="%{customdata}<extra></extra>",
            row=row,
            col=1,
        )  # fmt: skip


def _draw_step(figure: go.Figure, row: int, group: list[dict], names: list[str]) -> None:
    """Interval of the step, dark on a light halo so that any page and bar shows it."""
    several = [(one, name) for one, name in zip(group, names) if one["n"] > 1]
    for ink, thickness, cap in (("#ffffff", 5, 8), ("#222222", 2, 6)) if several else ():
        figure.add_scatter(
            y=[name for _, name in several],
            x=[one["step_ms"] for one, _ in several],
            mode="markers",
            marker={"size": 0.1, "color": ink},
            error_x={
                "type": "data", "symmetric": False, "color": ink, "thickness": thickness,
                "width": cap,
                "array": [one["step_ms_high"] - one["step_ms"] for one, _ in several],
                "arrayminus": [one["step_ms"] - one["step_ms_low"] for one, _ in several],
            },
            showlegend=False,
            hoverinfo="skip",
            row=row,
            col=1,
        )  # fmt: skip


def _limit(one: dict) -> float | None:
    """Modelled step whose exchange takes the link's time, and hides nowhere; in ms."""
    if one["transfer_ms"] is None or math.isnan(one["transfer_ms"]):
        return None
    return one["compute_ms"] + one["parallel_ms"] + one["transfer_ms"]


def _draw_limits(figure: go.Figure, row: int, group: list[dict], names: list[str]) -> None:
    limits = [(name, _limit(one)) for one, name in zip(group, names) if _limit(one) is not None]
    if not limits:
        return
    for ink, width in (("#ffffff", 5), (theme.GREY, 3)):
        figure.add_scatter(
            y=[name for name, _ in limits],
            x=[limit for _, limit in limits],
            mode="markers",
            name="modelled: one node, then the link's limit",
            legendgroup="limit",
            showlegend=row == 1 and ink == theme.GREY,
            marker={"symbol": "line-ns-open", "size": 17, "line": {"width": width}, "color": ink},
            hovertemplate="modelled: %{x:,.0f} ms<extra></extra>",
            row=row,
            col=1,
        )


def _rounding(row: dict) -> Callable[[float], str]:
    """How the times of one step are written: all with the same number of decimal places."""
    places = 0 if row["step_ms"] >= 100 else 1
    return lambda value: f"{value:,.{places}f}"


def _said_overhead(row: dict) -> str:
    shown = _rounding(row)
    spread = ""
    if row["n"] > 1:
        low, high = row["network_ms_low"], row["network_ms_high"]
        spread = f" ({shown(low)} to {shown(high)}, n = {row['n']})"
    limit = ""
    if _limit(row) is not None:
        limit = f"; the link alone would take {shown(row['transfer_ms'])} ms (modelled)"
    return (
        f"{row['experiment']} on {row['system']}: {shown(row['step_ms'])} ms a step, of it "
        f"computation {shown(row['compute_ms'])}, parallel overhead {shown(row['parallel_ms'])}, "
        f"network {shown(row['network_ms'])}{spread}{limit}"
    )
