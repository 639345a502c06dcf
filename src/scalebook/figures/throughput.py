"""`throughput_comparison`: images per second of every configuration, baseline beside it."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration, configurations, documented, plain, whole
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.study_queries import start_command
from scalebook.analysis.text import number
from scalebook.figures import column, theme

TITLE = "Throughput of each configuration"


def throughput_comparison(runs: pd.DataFrame | None = None, narrow: bool = False) -> go.Figure:
    """Bars of the median throughput, one plot for each system, each with its own axis.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; where left out, those of a document, and of these the ones on a
        whole data set if there are any.
    narrow : bool, optional
        For one column of a paper.
    """
    given = documented() if runs is None else runs
    runs = whole(given) if runs is None else runs
    found = [one for one in configurations(runs) if one.summary("throughput").n]
    if not found:
        return (column if narrow else theme).empty(
            TITLE, f"No run with a throughput yet: start one with `{start_command()}`."
        )
    facets = by_facet(found)
    ratios = _ratios(runs)
    figure = (_narrow if narrow else _wide)(facets, ratios)
    said = [
        f"{theme.place_of(one.kind, one['system'])}: {label(one)} {', '.join(_said(one, ratios))}"
        for one in found
    ]
    figure = theme.finish(
        figure,
        TITLE,
        alt=f"Bar chart of throughput. {'; '.join(said)}.",
        caption=(
            f"{theme.synthetic_warning(found)}{_message(runs)}"
            "Throughput in images/s over all ranks, warm-up and "
            "validation not timed. Filled bars are medians of measured runs, with each run as a "
            "point and the range or 95 % interval of the median as a line; hatched bars are "
            "reported numbers. Systems have axes of their own and are not compared. "
            f"{theme.origin(found)}{theme.left_out(given, runs)}"
        ),
        sources=[stem for one in found for stem in one.stems],
    )
    return column.fit(figure, figure.layout.height) if narrow else figure


def by_facet(found: list[Configuration]) -> list[list[Configuration]]:
    """Configurations that may share an axis, together, in the order they came."""
    groups: dict[tuple, list[Configuration]] = {}
    for one in found:
        groups.setdefault(one.facet, []).append(one)
    return list(groups.values())


def label(one: Configuration) -> str:
    """Name on the axis: experiment, ranks and precision."""
    return f"{one['experiment']}, {_ranks(one)}"


def _ranks(one: Configuration) -> str:
    parts = []
    if one["world_size"]:
        parts.append(f"{one['world_size']} rank{'s' if one['world_size'] > 1 else ''}")
    if one["precision"]:
        parts.append(one["precision"].upper())
    return " ".join(parts)


def said_throughput(one: Configuration) -> str:
    """Median with unit, and how many runs."""
    summary = one.summary("throughput")
    n = "" if one.kind == "reported" else f" (n = {summary.n})"
    return f"{number(summary.median)} images/s{n}"


def _message(runs: pd.DataFrame) -> str:
    """What the figure shows: each speed-up, and the absolute value it is relative to."""
    table = scaling_table(runs)
    table = table[table["basis"] == "throughput"]
    said = []
    for (kind, system, reference), rows in table.groupby(
        ["kind", "system", "reference"], sort=False
    ):
        ratios = " and ".join(f"{row.experiment} {row.speedup:.2f} ×" for row in rows.itertuples())
        base = number(rows["reference_value"].iloc[0])
        said.append(
            f"{theme.place_of(kind, system)}: {ratios} the {base} images/s of {reference}. "
        )
    return "".join(said)


def _said(one: Configuration, ratios: dict[tuple, str]) -> list[str]:
    """Lines beside a bar: the value, and the ratio to its reference where there is one."""
    ratio = ratios.get(_key(one))
    return [said_throughput(one), *([ratio] if ratio else [])]


def _key(one: Configuration) -> tuple:
    return (one.kind, tuple(one.stems))


def _ratios(runs: pd.DataFrame) -> dict[tuple, str]:
    """Speed-up over the reference by throughput, as text, of each configuration that has one."""
    table = scaling_table(runs)
    table = table[table["basis"] == "throughput"]
    return {
        (row["kind"], tuple(row["stems"])): f"{row['speedup']:.2f} × {row['reference']}"
        for row in table.to_dict("records")
    }


def _wide(facets: list[list[Configuration]], ratios: dict) -> go.Figure:
    figure = theme.stacked(
        [len(group) for group in facets],
        [theme.facet_title(group[0]) for group in facets],
        bar=38,
        gap=112,
    )
    for row, group in enumerate(facets, 1):
        texts = [[theme.escape(line) for line in _said(one, ratios)] for one in group]
        _draw(figure, row, group, _unique_labels(group), texts)
        top = max(one.summary("throughput").high for one in group)
        figure.update_xaxes(range=[0, 1.62 * top], title_text="images/s", row=row, col=1)
    return figure


def _narrow(facets: list[list[Configuration]], ratios: dict) -> go.Figure:
    """Names in two lines, the unit on the last axis alone."""
    names = [_unique_labels(group, narrow=True) for group in facets]
    lines = max(name.count("<br>") + 1 for group in names for name in group)
    left = column.room([name for group in names for name in group])
    figure = column.stacked(
        [len(group) * (lines * column.LINE + 4) for group in facets],
        [column.heading(group[0]) for group in facets],
        left,
        axes=column.TICKS,
    )
    for row, (group, named) in enumerate(zip(facets, names), 1):
        said = [_said(one, ratios) for one in group]
        texts = [[column.name(line.replace(" images/s", "")) for line in lines] for lines in said]
        _draw(figure, row, group, named, texts, column.LETTERS)
        top = max(one.summary("throughput").high for one in group)
        longest = max(len(line) for text in texts for line in text)
        end = column.end_of_axis(top, 14 + column.LETTER * longest, left)
        figure.update_xaxes(range=[0, end], tickvals=column.ticks(top), row=row, col=1)
    figure.update_yaxes(automargin=False)
    return figure.update_xaxes(title_text="images/s", row=len(facets), col=1)


def _draw(
    figure: go.Figure, row: int, group: list[Configuration], names: list[str],
    texts: list[list[str]], letters: int = 12,
) -> None:  # fmt: skip
    summaries = [one.summary("throughput") for one in group]
    colours = [theme.colour(one["experiment"]) for one in group]
    for one, name, summary, hue, lines in zip(group, names, summaries, colours, texts):
        text = "<br>".join(lines)
        figure.add_bar(
            y=[name],
            x=[summary.median],
            orientation="h",
            marker=theme.bar_marker(hue, one.kind),
            name=one.kind,
            showlegend=False,
            hovertemplate=f"{text}<br>{theme.escape(one.source, 120)}<extra></extra>",
            row=row,
            col=1,
        )
        figure.add_annotation(
            y=name, x=summary.high, text=text, xanchor="left", xshift=10, align="left",
            font_size=letters, row=row, col=1,
        )  # fmt: skip
    drawn = [(one, name, s) for one, name, s in zip(group, names, summaries) if s.n > 1]
    if drawn:
        _draw_spread(figure, row, drawn)
    figure.update_xaxes(showgrid=False, tickformat=",d", row=row, col=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], showgrid=False, row=row, col=1
    )


def _draw_spread(figure: go.Figure, row: int, drawn: list) -> None:
    """Interval of each median, and each run as a point on it."""
    # Dark on a light halo, so that it is seen on bars, light pages and dark ones.
    for ink, thickness, cap in (("#ffffff", 5, 8), ("#222222", 2, 6)):
        figure.add_scatter(
            y=[name for _, name, _ in drawn],
            x=[s.median for _, _, s in drawn],
            mode="markers",
            marker={"size": 0.1, "color": ink},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [s.high - s.median for _, _, s in drawn],
                "arrayminus": [s.median - s.low for _, _, s in drawn],
                "color": ink,
                "thickness": thickness,
                "width": cap,
            },
            showlegend=False,
            hoverinfo="skip",
            row=row,
            col=1,
        )
    for one, name, _ in drawn:
        values = pd.to_numeric(one.runs["throughput"], errors="coerce")
        figure.add_scatter(
            y=[name] * len(values),
            x=list(values),
            mode="markers",
            marker={"symbol": "circle", "size": 7, "color": "#ffffff",
                    "line": {"width": 1.2, "color": "#222222"}},
            customdata=[f"seed {plain(seed)}" for seed in one.runs["seed"]],
            hovertemplate="%{x:,.0f} images/s, %{customdata}<extra></extra>",
            showlegend=False,
            row=row,
            col=1,
        )  # fmt: skip


def _unique_labels(group: list[Configuration], narrow: bool = False) -> list[str]:
    """Labels of one plot; equal ones, as of another batch size, are told apart."""
    names = [theme.escape(label(one), 40) for one in group]
    shown = [
        f"{column.name(one['experiment'])}<br>{_ranks(one)}" if narrow else name
        for one, name in zip(group, names)
    ]
    return [
        f"{text}<br>batch {one['global_batch']}, {one['nodes']} nodes"
        if names.count(name) > 1
        else text
        for one, name, text in zip(group, names, shown)
    ]
