"""`accuracy_curves`: validation accuracy over epochs, and final values where no curve exists."""

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis.comparable import Configuration, configurations, shown, to_python, whole
from scalebook.analysis.statistics import summarise
from scalebook.analysis.study_queries import start_command
from scalebook.contract import ScalebookError
from scalebook.figures import captions, registry, theme
from scalebook.figures.throughput import by_facet, titles


@registry.figure("Validation accuracy over epochs", plot=True, column=True)
def accuracy_curves(runs: pd.DataFrame | None = None) -> go.Figure:
    """Curves of measured runs; a reported run without a curve is one final point.

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
        if configuration.summary("final_val_acc").n
    ]
    if not found:
        return theme.empty(f"No run with an accuracy yet: start one with `{start_command()}`.")
    facets = by_facet(found)
    curves = [configuration for configuration in found if configuration.kind == "measured"]
    each = [
        f"{captions.subject(configuration.kind, configuration['system'])}: {name} ends at "
        f"{_end(configuration)}"
        + (f" (n = {len(configuration.runs)})" if configuration.kind == "measured" else "")
        for configuration, name in zip(found, titles(found))
    ]
    how = "Top-1 validation accuracy in percent. "
    if curves:
        how += (
            "Thick lines are medians over seeds, thin lines the runs, shaded the range or 95 % "
            "interval. "
        )
    if len(curves) < len(found):
        how += (
            "No curve was reported: open markers are final values, and the number of epochs "
            "behind them is not known. "
        )
    return theme.finish(
        _draw(facets),
        alt=f"Validation accuracy. {'; '.join(each)}.",
        caption=f"{captions.synthetic_warning(found)}{_message(facets)}",
        details=f"{how}{captions.origin(found)}{captions.left_out(given, runs)}",
        trial=captions.trial(found),
        sources=[stem for configuration in found for stem in configuration.stems],
    )


def _end(configuration: Configuration) -> str:
    return f"{configuration.summary('final_val_acc').median:.4g} %"


def _message(facets: list[list[Configuration]]) -> str:
    """What the figure shows: where each configuration ends."""
    sentences = []
    for group in facets:
        ends = ", ".join(
            f"{name} {_end(configuration)}" for configuration, name in zip(group, titles(group))
        )
        subject = captions.subject(group[0].kind, group[0]["system"])
        sentences.append(f"{subject}: final accuracy {ends}. ")
    return "".join(sentences)


def accuracy_table(configuration: Configuration) -> pd.DataFrame:
    """Validation accuracy of a configuration by epoch.

    Returns
    -------
    DataFrame
        One row an epoch: ``epoch``, ``n``, ``median``, ``low``, ``high`` in percent, and a
        column of values for each run, named by its stem.
    """
    curves = {}
    for stem in configuration.runs["stem"]:
        try:
            epochs = results.epochs(stem)
        except ScalebookError:
            # `results.problems()` names the file; the other runs stay usable.
            continue
        curves[stem] = epochs.set_index("epoch")["val_acc"]
    about = ["n", "median", "low", "high"]
    if not curves:
        return pd.DataFrame(columns=["epoch", *about])
    table = pd.DataFrame(curves).sort_index()
    summaries = [summarise(values) for values in table.to_numpy(dtype=float)]
    summed = {name: [getattr(summary, name) for summary in summaries] for name in about}
    columns = pd.DataFrame({"epoch": table.index, **summed}, index=table.index)
    return pd.concat([columns, table], axis=1).reset_index(drop=True)


def _draw(facets: list[list[Configuration]]) -> go.Figure:
    figure, cells = theme.grid([captions.heading(group[0]) for group in facets])
    several = sum(group[0].kind == "measured" for group in facets) > 1
    drawn: list[float] = []
    for cell, group in zip(cells, facets):
        if group[0].kind == "reported":
            drawn += _draw_finals(figure, cell, group)
        else:
            drawn += _draw_curves(figure, cell, group, several)
        if cell["col"] == 1:
            figure.update_yaxes(title_text="validation accuracy (%)", **cell)
    # One scale of accuracy for all, so that plots side by side do not mislead, with room for a
    # label above.
    drawn = [value for value in drawn if value == value]
    low, high = (min(drawn), max(drawn)) if drawn else (0.0, 100.0)
    room = max(2.0, 0.08 * (high - low)) if drawn else 0.0
    return figure.update_yaxes(range=[low - room, high + 1.6 * room])


def _draw_curves(
    figure: go.Figure, cell: dict[str, int], group: list[Configuration], several: bool
) -> list[float]:
    """Draw a plot's configurations, named by their system too where several have curves."""
    longest, drawn = 0, []
    for order, (configuration, title) in enumerate(zip(group, titles(group))):
        table = accuracy_table(configuration)
        if table.empty:
            continue
        drawn += table.drop(columns=["epoch", "n"]).to_numpy(dtype=float).ravel().tolist()
        hue = theme.colour(configuration["experiment"])
        stems = [name for name in configuration.runs["stem"] if name in table]
        if len(stems) > 1:
            theme.add_band(figure, table["epoch"], table["low"], table["high"], hue, 0.18, **cell)
            for stem in stems:
                figure.add_scatter(
                    x=table["epoch"], y=table[stem], mode="lines", showlegend=False,
                    line={"color": theme.faded(hue, 0.5), "width": 1}, hoverinfo="skip", **cell,
                )  # fmt: skip
        longest = max(longest, int(table["epoch"].max()))
        name = title + (f" on {configuration.machine}" if several else "")
        figure.add_scatter(
            x=table["epoch"],
            y=table["median"],
            mode="lines+markers",
            name=theme.escape(f"{name} (n = {len(stems)})"),
            line={"color": hue, "width": 2.5, "dash": theme.cycled(theme.DASHES, order)},
            # The last point alone has a mark.
            marker={
                "symbol": theme.cycled(theme.SYMBOLS, order),
                "size": [0] * (len(table) - 1) + [9],
                "opacity": 1,
            },
            hovertemplate=f"{theme.escape(title)}, epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
            **cell,
        )
    figure.update_xaxes(title_text="epoch", dtick=1 if longest <= 12 else None, **cell)
    return drawn


def _draw_finals(
    figure: go.Figure, cell: dict[str, int], group: list[Configuration]
) -> list[float]:
    values = [configuration.summary("final_val_acc").median for configuration in group]
    for order, (configuration, title, value) in enumerate(zip(group, titles(group), values)):
        job = ", ".join(str(to_python(job)) for job in configuration.runs["job_id"])
        hue = theme.colour(configuration["experiment"])
        figure.add_scatter(
            x=[theme.escape(title, 24)],
            y=[value],
            mode="markers+text",
            text=[f"{value:.4g} %"],
            textposition="top center",
            marker={
                "symbol": theme.symbol(theme.cycled(theme.SYMBOLS, order), "reported"),
                "size": 13,
                "color": hue,
                "line": {"width": 2.5},
            },
            showlegend=False,
            cliponaxis=False,
            hovertemplate=f"{theme.escape(title)}: %{{y:.4g}} %, "
            f"reported for job {theme.escape(job)}<extra></extra>",
            **cell,
        )
    figure.update_xaxes(
        title_text="final value, no curve reported",
        type="category",
        range=[-0.6, len(group) - 0.4],
        **cell,
    )
    return values
