"""`accuracy_curves`: validation accuracy over epochs, and final values where no curve exists."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import Configuration, configurations, documented, plain, whole
from scalebook.analysis.statistics import summarise
from scalebook.contract import ScalebookError
from scalebook.figures import theme
from scalebook.figures.throughput import by_facet, label

TITLE = "Validation accuracy over epochs"


def accuracy_curves(runs: pd.DataFrame | None = None) -> go.Figure:
    """Curves of measured runs; a reported run without a curve is one final point.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; where left out, those of a document, and of these the ones on a
        whole data set if there are any.
    """
    given = documented() if runs is None else runs
    runs = whole(given) if runs is None else runs
    found = [one for one in configurations(runs) if one.summary("final_val_acc").n]
    if not found:
        return theme.empty(
            TITLE, "No run with an accuracy yet: start one with `scalebook run baseline`."
        )
    facets = by_facet(found)
    figure, cells = theme.grid([theme.facet_title(group[0]) for group in facets])
    several = sum(group[0].kind == "measured" for group in facets) > 1
    for cell, group in zip(cells, facets):
        if group[0].kind == "reported":
            _draw_finals(figure, cell, group)
        else:
            _draw_curves(figure, cell, group, several)
        if cell["col"] == 1:
            figure.update_yaxes(title_text="validation accuracy (%)", **cell)
    # One scale of accuracy for all, so that plots side by side do not mislead.
    figure.update_yaxes(range=_range(figure))
    measured = [one for one in found if one.kind == "measured"]
    no_curve = len(measured) < len(found)
    said = [
        f"{theme.place_of(one.kind, one['system'])}: {label(one)} ends at "
        f"{one.summary('final_val_acc').median:.4g} %"
        + (f" (n = {len(one.runs)})" if one.kind == "measured" else "")
        for one in found
    ]
    return theme.finish(
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


def _range(figure: go.Figure) -> list[float]:
    """Range of accuracy that all curves and points fit in, with room for a label above."""
    drawn = [value for trace in figure.data for value in trace.y if value == value]
    if not drawn:
        return [0.0, 100.0]
    room = max(2.0, 0.08 * (max(drawn) - min(drawn)))
    return [min(drawn) - room, max(drawn) + 1.6 * room]


def _draw_curves(
    figure: go.Figure, cell: dict, group: list[Configuration], name_system: bool
) -> None:
    longest = 0
    for order, one in enumerate(group):
        table = accuracy_table(one)
        if table.empty:
            continue
        hue = theme.colour(one["experiment"])
        where = f" on {one['system']}" if name_system else ""
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
            name=theme.escape(f"{label(one)}{where} (n = {len(stems)})"),
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


def _draw_finals(figure: go.Figure, cell: dict, group: list[Configuration]) -> None:
    for order, one in enumerate(group):
        value = one.summary("final_val_acc").median
        job = ", ".join(str(plain(job)) for job in one.runs["job_id"])
        figure.add_scatter(
            x=[theme.escape(one["experiment"], 24)],
            y=[value],
            mode="markers+text",
            text=[f"{value:.4g} %"],
            textposition="top center",
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
