"""`accuracy_curves`: validation accuracy over epochs, and final values where no curve exists."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import Configuration, configurations, documented, plain, whole
from scalebook.analysis.statistics import summarise
from scalebook.analysis.study_queries import start_command
from scalebook.contract import ScalebookError
from scalebook.figures import column, theme
from scalebook.figures.throughput import by_facet, label

TITLE = "Validation accuracy over epochs"

#: Height of the plot with the most percent, and of any at least, in one column; in CSS pixels.
HIGHEST, LOWEST = 120, 60


def accuracy_curves(runs: pd.DataFrame | None = None, narrow: bool = False) -> go.Figure:
    """Curves of measured runs; a reported run without a curve is one final point.

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
    found = [one for one in configurations(runs) if one.summary("final_val_acc").n]
    if not found:
        return (column if narrow else theme).empty(
            TITLE, f"No run with an accuracy yet: start one with `{start_command()}`."
        )
    facets = by_facet(found)
    figure = (_narrow if narrow else _wide)(facets)
    measured = [one for one in found if one.kind == "measured"]
    no_curve = len(measured) < len(found)
    said = [
        f"{theme.place_of(one.kind, one['system'])}: {label(one)} ends at "
        f"{one.summary('final_val_acc').median:.4g} %"
        + (f" (n = {len(one.runs)})" if one.kind == "measured" else "")
        for one in found
    ]
    figure = theme.finish(
        figure,
        TITLE,
        alt=f"Validation accuracy. {'; '.join(said)}.",
        caption=(
            f"{theme.synthetic_warning(found)}{_message(facets)}"
            "Top-1 validation accuracy in percent. "
            + ("Thick lines are medians over seeds, thin lines the runs, shaded the range or 95 % "
               "interval. " if measured else "")
            + ("No curve was reported: open markers are final values, and the number of epochs "
               "behind them is not known. " if no_curve else "")
            + theme.origin(found)
            + theme.left_out(given, runs)
        ),
        sources=[stem for one in found for stem in one.stems],
    )  # fmt: skip
    return column.fit(figure, figure.layout.height) if narrow else figure


def _message(facets: list[list[Configuration]]) -> str:
    """What the figure shows: where each configuration ends."""
    said = []
    for group in facets:
        ends = [f"{one['experiment']} {one.summary('final_val_acc').median:.4g} %" for one in group]
        where = theme.place_of(group[0].kind, group[0]["system"])
        said.append(f"{where}: final accuracy {', '.join(ends)}. ")
    return "".join(said)


def accuracy_table(one: Configuration) -> pd.DataFrame:
    """Validation accuracy of a configuration by epoch.

    Returns
    -------
    DataFrame
        One row an epoch: ``epoch``, ``n``, ``median``, ``low``, ``high`` in percent, and a
        column of values for each run, named by its stem.
    """
    curves = {}
    for stem in one.runs["stem"]:
        try:
            epochs = results.epochs(stem)
        except ScalebookError:
            # `results.problems()` names the file; the other runs stay usable.
            continue
        curves[stem] = epochs.set_index("epoch")["val_acc"]
    if not curves:
        return pd.DataFrame(columns=["epoch", "n", "median", "low", "high"])
    table = pd.DataFrame(curves).sort_index()
    summaries = [summarise(values) for values in table.to_numpy(dtype=float)]
    about = pd.DataFrame(
        {
            "epoch": table.index,
            "n": [summary.n for summary in summaries],
            "median": [summary.median for summary in summaries],
            "low": [summary.low for summary in summaries],
            "high": [summary.high for summary in summaries],
        },
        index=table.index,
    )
    return pd.concat([about, table], axis=1).reset_index(drop=True)


def _wide(facets: list[list[Configuration]]) -> go.Figure:
    figure, cells = theme.grid([theme.facet_title(group[0]) for group in facets])
    names = _names(facets)
    for cell, group in zip(cells, facets):
        if group[0].kind == "reported":
            _draw_finals(figure, cell, group)
        else:
            _draw_curves(figure, cell, group, names)
        if cell["col"] == 1:
            figure.update_yaxes(title_text="validation accuracy (%)", **cell)
    # One scale of accuracy for all, so that plots side by side do not mislead.
    return figure.update_yaxes(range=_range([value for group in facets for value in _drawn(group)]))


def _narrow(facets: list[list[Configuration]]) -> go.Figure:
    """Plots above each other; a percent has the same height in all, so that none misleads."""
    names = _names(facets, narrow=True)
    ranges = [_range(_drawn(group)) for group in facets]
    per_percent = HIGHEST / max(high - low for low, high in ranges)
    heights = [max(LOWEST, per_percent * (high - low)) for low, high in ranges]
    figure = column.stacked(
        heights,
        [column.heading(group[0]) for group in facets],
        left=48,
        legend=[f"{name} (n = 3)" for name in names.values()],
    )
    for row, (group, height, (low, high)) in enumerate(zip(facets, heights, ranges), 1):
        cell = {"row": row, "col": 1}
        if group[0].kind == "reported":
            _draw_finals(figure, cell, group, beside=len(group) <= 4)
        else:
            _draw_curves(figure, cell, group, names)
        more = (height / per_percent - (high - low)) / 2
        figure.update_yaxes(
            title_text="accuracy (%)" if height > 90 else "%", range=[low - more, high + more],
            nticks=max(3, int(height / 20)), **cell,
        )  # fmt: skip
    return figure


def _names(facets: list[list[Configuration]], narrow: bool = False) -> dict[str, str]:
    """Name of each measured configuration in the legend, by its first stem."""
    measured = [group for group in facets if group[0].kind == "measured"]
    return {
        one.stems[0]: (str(one["experiment"]) if narrow else label(one))
        + (f" on {one['system']}" if len(measured) > 1 else "")
        for group in measured
        for one in group
    }


def _drawn(group: list[Configuration]) -> list[float]:
    """Accuracies that stand in one plot."""
    if group[0].kind == "reported":
        values = [one.summary("final_val_acc").median for one in group]
    else:
        tables = [accuracy_table(one).drop(columns=["epoch", "n"]) for one in group]
        values = [value for table in tables for value in table.to_numpy(dtype=float).ravel()]
    return [value for value in values if value == value]


def _range(drawn: list[float]) -> list[float]:
    """Range of accuracy that all curves and points fit in, with room for a label above."""
    if not drawn:
        return [0.0, 100.0]
    room = max(2.0, 0.08 * (max(drawn) - min(drawn)))
    return [min(drawn) - room, max(drawn) + 1.6 * room]


def _draw_curves(
    figure: go.Figure, cell: dict, group: list[Configuration], names: dict[str, str]
) -> None:
    longest = 0
    for order, one in enumerate(group):
        table = accuracy_table(one)
        if table.empty:
            continue
        hue = theme.colour(one["experiment"])
        stems = [name for name in one.runs["stem"] if name in table]
        if len(stems) > 1:
            _draw_band(figure, cell, table, hue)
            for stem in stems:
                figure.add_scatter(
                    x=table["epoch"], y=table[stem], mode="lines", showlegend=False,
                    line={"color": theme.faded(hue, 0.5), "width": 1}, hoverinfo="skip", **cell,
                )  # fmt: skip
        longest = max(longest, table["epoch"].max())
        last = [0] * (len(table) - 1) + [9]
        figure.add_scatter(
            x=table["epoch"],
            y=table["median"],
            mode="lines+markers",
            name=theme.escape(f"{names[one.stems[0]]} (n = {len(stems)})"),
            line={"color": hue, "width": 2.5, "dash": theme.DASHES[order % len(theme.DASHES)]},
            marker={
                "symbol": theme.SYMBOLS[order % len(theme.SYMBOLS)],
                "size": last,
                "opacity": 1,
            },
            hovertemplate=f"{theme.escape(one['experiment'])}, epoch %{{x}}: %{{y:.2f}} %"
            "<extra></extra>",
            **cell,
        )
    figure.update_xaxes(title_text="epoch", dtick=1 if longest <= 12 else None, **cell)


def _draw_band(figure: go.Figure, cell: dict, table: pd.DataFrame, hue: str) -> None:
    figure.add_scatter(
        x=[*table["epoch"], *table["epoch"][::-1]],
        y=[*table["high"], *table["low"][::-1]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=theme.faded(hue, 0.18),
        hoverinfo="skip",
        showlegend=False,
        **cell,
    )


def _draw_finals(
    figure: go.Figure, cell: dict, group: list[Configuration], beside: bool = False
) -> None:
    for order, one in enumerate(group):
        value = one.summary("final_val_acc").median
        job = ", ".join(str(plain(job)) for job in one.runs["job_id"])
        figure.add_scatter(
            x=[theme.escape(one["experiment"], 24)],
            y=[value],
            mode="markers+text",
            text=[f"{'  ' if beside else ''}{value:.4g} %"],
            textposition="middle right" if beside else "top center",
            marker={"symbol": theme.symbol(theme.SYMBOLS[order % len(theme.SYMBOLS)], "reported"),
                    "size": 13, "color": theme.colour(one["experiment"]), "line": {"width": 2.5}},
            showlegend=False,
            cliponaxis=False,
            hovertemplate=f"{theme.escape(label(one))}: %{{y:.4g}} %, "
            f"reported for job {theme.escape(job)}<extra></extra>",
            **cell,
        )  # fmt: skip
    figure.update_xaxes(
        title_text="final value, no curve reported", type="category",
        range=[-0.6, len(group) - 0.4], **cell,
    )  # fmt: skip
