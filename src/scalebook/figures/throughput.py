"""`throughput_comparison`: images per second of every configuration, baseline beside it."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration, configurations, shown, to_python, whole
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.study_queries import label, start_command
from scalebook.analysis.text import count, listed, number
from scalebook.figures import captions, registry, theme


@registry.figure("Throughput of each configuration", plot=True, column=True)
def throughput_comparison(runs: pd.DataFrame | None = None) -> go.Figure:
    """Bars of the median throughput, one plot for each system, each with its own axis.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; where left out, those of a document, and of these the ones on a
        whole data set if there are any.
    """
    given = shown() if runs is None else runs
    runs = whole(given) if runs is None else runs
    found = [
        configuration
        for configuration in configurations(runs)
        if configuration.summary("throughput").n
    ]
    if not found:
        return theme.empty(f"No run with a throughput yet: start one with `{start_command()}`.")
    table = scaling_table(runs)
    table = table[table["basis"] == "throughput"]
    ratios = {
        (row["kind"], tuple(row["stems"])): f"{row['speedup']:.2f} × {label(row['reference'])}"
        for row in table.to_dict("records")
    }
    facets = by_facet(found)
    figure = theme.stacked(
        [len(group) for group in facets],
        [captions.heading(group[0]) for group in facets],
        bar=38,
        gap=112,
    )
    for row, group in enumerate(facets, 1):
        _draw(figure, row, group, [_text(configuration, ratios) for configuration in group])
    each = [
        f"{captions.subject(configuration.kind, configuration['system'])}: {name} "
        f"{', '.join(_text(configuration, ratios))}"
        for configuration, name in zip(found, titles(found))
    ]
    return theme.finish(
        figure,
        **captions.texts(
            "throughput_comparison",
            each="; ".join(each),
            warning=captions.synthetic_warning(found),
            message=_message(table) or _rates(found),
            origin=captions.origin(found),
            left_out=captions.left_out(given, runs),
        ),
        trial=captions.trial(found),
        sources=[stem for configuration in found for stem in configuration.stems],
    )


def by_facet(found: Sequence[Configuration]) -> list[list[Configuration]]:
    """Configurations that may share an axis, together, in the order they came."""
    groups: dict[tuple[object, ...], list[Configuration]] = {}
    for configuration in found:
        groups.setdefault(configuration.facet, []).append(configuration)
    return list(groups.values())


def titles(found: Sequence[Configuration]) -> list[str]:
    """What configurations are called: the label of each, with what tells equal ones apart.

    An experiment without a label has its ranks and precision beside its name in any case.
    """
    names = [
        configuration.title
        if configuration.title != configuration["experiment"]
        else f"{configuration.title}, {_settings(configuration)}"
        for configuration in found
    ]
    where = [(configuration.facet, name) for configuration, name in zip(found, names)]
    return [
        f"{name}, {_settings(configuration)}"
        if where.count(place) > 1 and configuration.title == name
        else name
        for configuration, name, place in zip(found, names, where)
    ]


def _settings(configuration: Configuration) -> str:
    ranks = [count(configuration["world_size"], "rank")] if configuration["world_size"] else []
    precision = [configuration["precision"].upper()] if configuration["precision"] else []
    return " ".join([*ranks, *precision])


def _message(table: pd.DataFrame) -> str:
    """What the figure shows: each speed-up, and the absolute value it is relative to."""
    sentences = []
    for (kind, system, reference), rows in table.groupby(
        ["kind", "system", "reference"], sort=False
    ):
        ratios = " and ".join(
            f"{label(row.experiment)} {row.speedup:.2f} ×" for row in rows.itertuples()
        )
        base = number(rows["reference_value"].iloc[0])
        sentences.append(
            f"{captions.subject(kind, system)}: {ratios} the {base} images/s of "
            f"{label(reference)}. "
        )
    return "".join(sentences)


def _rates(found: Sequence[Configuration]) -> str:
    """What the figure shows where nothing has a reference: the rates alone."""
    rates = [
        f"{name} {number(configuration.summary('throughput').median)} images/s"
        for configuration, name in zip(found, titles(found))
    ]
    where = captions.subject(found[0].kind, found[0]["system"])
    return f"{where}: {listed(rates)}."


def _text(
    configuration: Configuration, ratios: dict[tuple[str, tuple[str, ...]], str]
) -> list[str]:
    """Lines beside a bar: the value, and the ratio to its reference where there is one."""
    summary = configuration.summary("throughput")
    n = "" if configuration.kind == "reported" else f" (n = {summary.n})"
    ratio = ratios.get((configuration.kind, tuple(configuration.stems)))
    return [f"{number(summary.median)} images/s{n}", *([ratio] if ratio else [])]


def _draw(figure: go.Figure, row: int, group: list[Configuration], texts: list[list[str]]) -> None:
    cell = {"row": row, "col": 1}
    names = _labels(group)
    summaries = [configuration.summary("throughput") for configuration in group]
    for configuration, name, summary, lines in zip(group, names, summaries, texts):
        text = "<br>".join(map(theme.escape, lines))
        figure.add_bar(
            y=[name],
            x=[summary.median],
            orientation="h",
            marker=theme.bar_marker(theme.colour(configuration["experiment"]), configuration.kind),
            name=configuration.kind,
            showlegend=False,
            hovertemplate=f"{text}<br>{theme.escape(configuration.source, 120)}<extra></extra>",
            **cell,
        )
        figure.add_annotation(
            y=name, x=summary.high, text=text, xanchor="left", xshift=10, align="left",
            font_size=12, **cell,
        )  # fmt: skip
    several = [at for at, summary in enumerate(summaries) if summary.n > 1]
    if several:
        theme.add_intervals(
            figure,
            [names[at] for at in several],
            [summaries[at].median for at in several],
            [summaries[at].low for at in several],
            [summaries[at].high for at in several],
            **cell,
        )
    for at in several:
        _draw_runs(figure, names[at], group[at].runs, cell)
    top = max(summary.high for summary in summaries)
    figure.update_xaxes(
        range=[0, 1.62 * top], title_text="images/s", showgrid=False, tickformat=",d", **cell
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=False, **cell)


def _draw_runs(figure: go.Figure, name: str, runs: pd.DataFrame, cell: dict[str, int]) -> None:
    """Each run as a point on its bar."""
    values = list(pd.to_numeric(runs["throughput"], errors="coerce"))
    figure.add_scatter(
        y=[name] * len(values),
        x=values,
        mode="markers",
        marker={"symbol": "circle", "size": 7, "color": theme.HALO,
                "line": {"width": 1.2, "color": theme.MARK}},
        customdata=[f"seed {to_python(seed)}" for seed in runs["seed"]],
        hovertemplate="%{x:,.0f} images/s, %{customdata}<extra></extra>",
        showlegend=False,
        **cell,
    )  # fmt: skip


def _labels(group: list[Configuration]) -> list[str]:
    """Labels of one plot; equal ones, as of another batch size, are told apart."""
    names = [theme.escape(name, 40) for name in titles(group)]
    return [
        f"{name}<br>batch {configuration['global_batch']}, {count(configuration['nodes'], 'node')}"
        if names.count(name) > 1
        else name
        for configuration, name in zip(group, names)
    ]
