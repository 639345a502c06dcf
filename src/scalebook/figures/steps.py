"""`overheads`: what a parallel step spends on computation, on being parallel, on the network."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import COMPARABLE, Configuration, configurations, documented
from scalebook.analysis.step_parts import overheads as overhead_table
from scalebook.analysis.study_queries import label
from scalebook.analysis.text import listed
from scalebook.figures import captions, registry, theme

#: A row of `analysis.step_parts.overheads`.
Step = dict[str, Any]

#: Parts of a step as they are stacked: name for the reader, colour, pattern.
PARTS = {
    "compute": ("computation", theme.PALETTE[0], ""),
    "parallel": ("parallel overhead", theme.PALETTE[4], "."),
    "network": ("network", theme.PALETTE[1], "\\"),
}


@registry.figure("Where the time of a parallel step goes", plot=True, column=True)
def overheads(runs: pd.DataFrame | None = None) -> go.Figure:
    """Stacked bars of a step under strong scaling, one for each system.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    runs = documented() if runs is None else runs
    table = overhead_table(runs)
    strong = table[table["scaling"] == "strong"]
    drawn = strong[strong["network_ms"].notna()].to_dict("records")
    missing = "".join(
        f"Not drawn: {label(row.experiment)} on {label(row.system, 'system')}, {row.reason}. "
        for row in strong[strong["network_ms"].isna()].itertuples()
    )
    if not drawn:
        return theme.empty(missing.rstrip() or captions.text("overheads", "empty"))
    measured = [
        configuration for configuration in configurations(runs) if configuration.kind == "measured"
    ]
    configuration_of = {
        stem: configuration for configuration in measured for stem in configuration.stems
    }
    groups: dict[tuple[object, ...], list[Step]] = {}
    for row in drawn:
        groups.setdefault(_alike(configuration_of[row["stems"][0]]), []).append(row)
    stems = {stem for row in drawn for stem in row["stems"]}
    used = [configuration for configuration in measured if configuration.stems[0] in stems]
    return theme.finish(
        _draw(list(groups.values()), configuration_of),
        **captions.texts(
            "overheads",
            message=_message(drawn),
            each="; ".join(map(_sentence, drawn)),
            warning=captions.synthetic_warning(used),
            missing=missing,
            machines=captions.machines(row["system"] for row in drawn),
            origin=captions.origin(used),
        ),
        trial=captions.trial(used),
        sources=sorted(stems),
    )


def _message(drawn: list[Step]) -> str:
    """What the figure shows: the network's share of each step."""
    shares = [
        f"{100 * max(0.0, row['network_ms']) / row['step_ms']:.0f} % on "
        f"{label(row['system'], 'system')}"
        for row in drawn
    ]
    return f"The network takes of a step: {listed(shares)}."


def _alike(configuration: Configuration) -> tuple[object, ...]:
    """Equal for configurations whose steps differ in the system's network alone."""
    return tuple(configuration[name] for name in (*COMPARABLE, "global_batch") if name != "system")


def _draw(groups: list[list[Step]], configuration_of: dict[str, Configuration]) -> go.Figure:
    # Device and data alone: the systems are on the axis.
    titles = [
        captions.heading(configuration_of[group[0]["stems"][0]]).partition("<br>")[2]
        for group in groups
    ]
    figure = theme.stacked([len(group) for group in groups], titles, bar=46, gap=100)
    for row, group in enumerate(groups, 1):
        _draw_group(figure, row, group)
    # A part may come out below zero where it is smaller than the noise.
    return figure.update_layout(
        barmode="relative",
        height=figure.layout.height + 48,
        margin_b=theme.MARGIN["b"] + 48,
        legend={"xref": "container", "x": 0.02, "itemsizing": "constant"},
    )


def _draw_group(figure: go.Figure, row: int, group: list[Step]) -> None:
    """Steps of one plot with their times beside them."""
    cell = {"row": row, "col": 1}
    names = [label(step["system"], "system") for step in group]
    if len({step["experiment"] for step in group}) > 1:
        names = [f"{name}, {label(step['experiment'])}" for name, step in zip(names, group)]
    names = [theme.escape(name, 50) for name in _short(names)]
    _draw_parts(figure, cell, group, names)
    _draw_limits(figure, cell, group, names)
    ends = [max(100.0, 100 * (_limit(step) or 0) / step["step_ms"]) for step in group]
    for step, name in zip(group, names):
        rounded = _rounding(step)
        parts = ", ".join(rounded(step[f"{part}_ms"]) for part in PARTS)
        figure.add_annotation(
            text=f"{rounded(step['step_ms'])} ms<br>({parts})",
            x=max(ends), xanchor="left", xshift=12, y=name, align="left", font_size=12, **cell,
        )  # fmt: skip
    least = min(
        0.0, *(100 * step[f"{part}_ms"] / step["step_ms"] for step in group for part in PARTS)
    )
    figure.update_xaxes(
        title_text="share of the step (%)",
        range=[1.05 * least, 1.42 * max(ends)],
        showgrid=False,
        tickvals=[0, 50, 100],
        **cell,
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=False, **cell)


def _short(names: list[str]) -> list[str]:
    """Names without the words that all begin with: ``full rate`` of ``two nodes at full rate``."""
    split = [name.split() for name in names]
    same = sum(1 for _ in takewhile(lambda at: len(set(at)) == 1, zip(*split)))
    return [" ".join(words[same:] or words) for words in split]


def _draw_parts(
    figure: go.Figure, cell: dict[str, int], group: list[Step], names: list[str]
) -> None:
    for part, (title, hue, shape) in PARTS.items():
        figure.add_bar(
            y=names,
            x=[100 * step[f"{part}_ms"] / step["step_ms"] for step in group],
            orientation="h",
            name=title,
            legendgroup=part,
            showlegend=cell["row"] == 1,
            marker=theme.part_marker(hue, shape),
            customdata=[theme.escape(_sentence(step), 200) for step in group],
            hovertemplate="%{customdata}<extra></extra>",
            **cell,
        )


def _limit(step: Step) -> float | None:
    """Modelled step whose exchange takes the link's time, and hides nowhere; in ms."""
    if pd.isna(step["transfer_ms"]):
        return None
    return float(step["compute_ms"] + step["parallel_ms"] + step["transfer_ms"])


def _draw_limits(
    figure: go.Figure, cell: dict[str, int], group: list[Step], names: list[str]
) -> None:
    limits = [
        (name, 100 * limit / step["step_ms"])
        for step, name in zip(group, names)
        if (limit := _limit(step)) is not None
    ]
    if not limits:
        return
    for ink, width in ((theme.HALO, 5), (theme.GREY, 3)):
        figure.add_scatter(
            y=[name for name, _ in limits],
            x=[limit for _, limit in limits],
            mode="markers",
            name="modelled: control, then the exchange without overlap",
            legendgroup="limit",
            showlegend=cell["row"] == 1 and ink == theme.GREY,
            marker={"symbol": "line-ns-open", "size": 17, "line": {"width": width}, "color": ink},
            hovertemplate="modelled: %{x:,.0f} % of the step measured<extra></extra>",
            **cell,
        )


def _rounding(row: Step) -> Callable[[float], str]:
    """How the times of one step are written: all with the same number of decimal places."""
    decimals = 0 if row["step_ms"] >= 100 else 1
    return lambda value: f"{value:,.{decimals}f}"


def _sentence(row: Step) -> str:
    rounded = _rounding(row)
    spread = ""
    if row["n"] > 1:
        low, high = row["network_ms_low"], row["network_ms_high"]
        spread = f" ({rounded(low)} to {rounded(high)}, n = {row['n']})"
    limit = ""
    if _limit(row) is not None:
        limit = f"; the link alone would take {rounded(row['transfer_ms'])} ms (modelled)"
    return (
        f"{label(row['experiment'])} on {label(row['system'], 'system')}: "
        f"{rounded(row['step_ms'])} ms a step, of it computation {rounded(row['compute_ms'])}, "
        f"parallel overhead {rounded(row['parallel_ms'])}, "
        f"network {rounded(row['network_ms'])}{spread}{limit}"
    )
