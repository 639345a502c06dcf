"""`scaling_efficiency`: parallel efficiency against the ideal, by both of its definitions."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration, by_stem, configurations, documented
from scalebook.analysis.reported_jobs import agree
from scalebook.analysis.scaling import BASES, scaling_table
from scalebook.analysis.study_queries import label
from scalebook.analysis.text import listed, number
from scalebook.figures import captions, registry, theme

#: How each of `scaling.BASES` is drawn: colour, marker, and how far above the middle of the row,
#: in pixels, so that equal values do not hide each other.
MARKERS = {
    "throughput": (theme.PALETTE[0], "circle", 4),
    "time per epoch": (theme.PALETTE[1], "square", -4),
}

#: A ratio of `scaling_table`, and those of one configuration by their basis.
Row = dict[str, Any]
Pair = dict[str, Row]

#: Heights of a row and of the title of a group, and room for labels and numbers, in CSS pixels.
ROW, HEAD, GAP = 23, 22, 7
RIGHT, TOP = 158, 58


@registry.figure("Parallel efficiency against the ideal", plot=True)
def scaling_efficiency(runs: pd.DataFrame | None = None) -> go.Figure:
    """Efficiency in percent, a row for each configuration, grouped by system.

    Efficiencies have no unit and are formed within a system, so that all share one axis.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    runs = documented() if runs is None else runs
    table = scaling_table(runs)
    table = table[table["efficiency"].notna()]
    if table.empty:
        return theme.empty(
            "No two comparable runs with different numbers of ranks yet: run an experiment with a "
            "reference, and its reference, on the same system."
        )
    everyone = configurations(runs)
    configuration_of = by_stem(everyone)
    rows = table.to_dict("records")
    pairs = _pairs(rows)
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        # Weak scaling may have more images than its reference, beside which it is shown.
        row = _main(pair)
        groups.setdefault(
            configuration_of[row["kind"], row["reference_stems"][0]].facet, []
        ).append(pair)
    headings = [_heading(list(map(_main, group)), configuration_of) for group in groups.values()]
    used = {
        (row["kind"], stem) for row in rows for stem in (*row["stems"], *row["reference_stems"])
    }
    taken = [
        configuration
        for configuration in everyone
        if (configuration.kind, configuration.stems[0]) in used
    ]
    return theme.finish(
        _draw(list(groups.values()), headings),
        alt=f"Parallel efficiency, ideal 100 %. {'; '.join(_sentence(row) for row in rows)}.",
        caption=f"{captions.synthetic_warning(taken)}{_message(pairs)}{_disagreement(pairs)}",
        details=(
            f"{_every(pairs)}Parallel efficiency in percent: speed-up over the growth in ranks, "
            f"formed from throughput and from time per epoch{_intervals(rows)}. {_partial(taken)}"
            f"{_baselines(rows)}{_notes(rows)}{captions.machines(row['system'] for row in rows)}"
            f"{captions.origin(taken)}"
        ),
        trial=captions.trial(taken),
        sources=sorted({stem for _, stem in used}),
        min_width=620,  # a contradiction is named between its marks and the numbers
    )


def _draw(groups: list[list[Pair]], headings: list[str]) -> go.Figure:
    """One axis whose y counts pixels from the top, so that rows have the same height always."""
    figure = go.Figure()
    highest = max(_top(pair) for group in groups for pair in group)
    height, ticks = 0.0, dict[float, Pair]()
    ideal: list[float | None] = []  # it leaves out the headings
    names = [theme.escape(_label(pair), 36) for group in groups for pair in group]
    left = 24 + 7 * max(map(theme.letters, names))
    for group, heading in zip(groups, headings):
        height += HEAD + (GAP if ticks else 0)
        figure.add_annotation(
            text=heading, x=0, xref="x domain",
            xanchor="left", xshift=12 - left, y=height - HEAD / 2, font_size=12,
        )  # fmt: skip
        ideal += [height]
        for pair in group:
            height += ROW
            ticks[height - ROW / 2] = pair
        ideal += [height, None]
    # Numbers stand in two columns beside the plot, where nothing can lie over them.
    for basis, shift in zip(BASES, (76, 148)):
        figure.add_annotation(
            text=_by(basis), x=1, xref="x domain",
            xanchor="right", xshift=shift, y=0, yanchor="bottom", font_size=12,
        )  # fmt: skip
        for y, pair in ticks.items():
            if basis in pair:
                figure.add_annotation(
                    text=f"{pair[basis]['efficiency']:.1f} %", x=1, xref="x domain",
                    xanchor="right", xshift=shift, y=y, font_size=12,
                )  # fmt: skip
    figure.add_scatter(
        x=[100] * len(ideal), y=ideal, mode="lines", name="ideal", hoverinfo="skip",
        line={"color": theme.GREY, "dash": "dot", "width": 2},
    )  # fmt: skip
    for basis in BASES:
        _draw_basis(figure, basis, [(y, pair[basis]) for y, pair in ticks.items() if basis in pair])
    for y, pair in ticks.items():
        if _contradictory(pair):
            figure.add_annotation(
                text="contradictory", x=_top(pair), xanchor="left", xshift=12, y=y, font_size=12
            )
    figure.update_xaxes(title_text="parallel efficiency (%)", range=[0, max(108, 1.08 * highest)])
    figure.update_yaxes(
        range=[height, 0], tickvals=list(ticks), ticks="", showgrid=False, zeroline=False,
        ticktext=names, automargin=False,
        tickfont_size=12,
    )  # fmt: skip
    bottom = theme.MARGIN["b"] + 16
    return figure.update_layout(
        height=height + TOP + bottom,
        margin={"l": left, "r": RIGHT, "t": TOP, "b": bottom},
        legend={"xref": "container", "x": 0.02},
    )


def _heading(rows: list[Row], configuration_of: dict[tuple[str, str], Configuration]) -> str:
    """Heading of a group: that of its reference, and how many images weak scaling has."""
    reference = configuration_of[rows[0]["kind"], rows[0]["reference_stems"][0]]
    heading = captions.heading(reference).replace("<br>", " ")
    images = {configuration_of[row["kind"], row["stems"][0]]["train_images"] for row in rows}
    more = sorted(images - {reference["train_images"], None})
    if not reference["subset"] or not more:
        return heading
    return f"{heading} (weak {listed([f'{n:,}' for n in more])})"


def _draw_basis(figure: go.Figure, basis: str, rows: list[tuple[float, Row]]) -> None:
    hue, symbol, above = MARKERS[basis]
    several = [row for _, row in rows if row["n"] > 1]
    if several:
        middle = [row["efficiency"] for row in several]
        low = [row["efficiency_low"] for row in several]
        high = [row["efficiency_high"] for row in several]
        figure.add_scatter(
            x=middle,
            y=[y - above for y, row in rows if row["n"] > 1],
            mode="markers",
            name=f"interval by {basis}",
            marker={"size": 0.1, "color": hue},
            error_x=theme.spread(middle, low, high, hue),
            legendgroup=basis,
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    figure.add_scatter(
        x=[row["efficiency"] for _, row in rows],
        y=[y - above for y, _ in rows],
        mode="markers",
        name=_by(basis),
        legendgroup=basis,
        marker={
            "symbol": [theme.symbol(symbol, row["kind"]) for _, row in rows],
            "size": 9,
            "color": hue,
            "line": {"width": 2, "color": hue},
        },
        customdata=[theme.escape(_sentence(row), 160) for _, row in rows],
        hovertemplate="%{customdata}<extra></extra>",
        cliponaxis=False,
    )


def _by(basis: str) -> str:
    """Short name of a basis, which fits above its numbers and lets the legend fit on one line."""
    return "by rate" if basis == "throughput" else f"by {basis.removesuffix(' per epoch')}"


def _label(pair: Pair) -> str:
    row = _main(pair)
    kind = f", {row['scaling']}" if row["scaling"] else ""
    name = label(row["experiment"])
    return name if name != row["experiment"] else f"{name}, {row['world_size']} ranks{kind}"


def _pairs(rows: list[Row]) -> list[Pair]:
    """Rows of each configuration by basis, in the order they came."""
    pairs: dict[tuple[object, ...], Pair] = {}
    for row in rows:
        key = (row["kind"], *row["stems"], *row["reference_stems"])
        pairs.setdefault(key, {})[row["basis"]] = row
    return list(pairs.values())


def _main(pair: Pair) -> Row:
    """The row by throughput; that by time where there is no other."""
    return pair.get("throughput") or next(iter(pair.values()))


def _top(pair: Pair) -> float:
    """Upper end of what is drawn of a configuration."""
    return max(float(row["efficiency_high"]) for row in pair.values())


# --------------------------------------------------------------------------- words


def _sentence(row: Row) -> str:
    spread = ""
    if row["n"] > 1:
        spread = f" ({row['efficiency_low']:.1f} to {row['efficiency_high']:.1f}, n = {row['n']})"
    kind = f"{row['scaling']} scaling, " if row["scaling"] else ""
    return (
        f"{label(row['experiment'])} on {label(row['system'], 'system')}, {kind}"
        f"{row['world_size']} ranks, {row['kind']}: "
        f"{row['efficiency']:.1f} %{spread} by {row['basis']}"
    )


def _message(pairs: list[Pair]) -> str:
    """What the figure shows: the least and the largest efficiency of each kind."""
    by_kind: dict[str, list[Row]] = {}
    for row in map(_main, pairs):
        by_kind.setdefault(row["kind"], []).append(row)
    parts = []
    for kind, own in by_kind.items():
        ends = sorted(own, key=lambda row: float(row["efficiency"]))
        values = [
            f"{row['efficiency']:.1f} % ({label(row['experiment'])} on "
            f"{label(row['system'], 'system')})"
            for row in (ends[0], ends[-1])
        ]
        parts.append(f"{kind}, {' to '.join(dict.fromkeys(values))}")
    return f"Of the ideal is left: {'; '.join(parts)}. "


def _every(pairs: list[Pair]) -> str:
    """The efficiency by throughput of each configuration."""
    ratios: dict[str, list[str]] = {}
    for row in map(_main, pairs):
        basis = "" if row["basis"] == "throughput" else f" by {row['basis']}"
        ratios.setdefault(captions.subject(row["kind"], row["system"]), []).append(
            f"{label(row['experiment'])} {row['efficiency']:.1f} %{basis}"
        )
    parts = [f"{where}: {listed(values)}" for where, values in ratios.items()]
    return f"Efficiency by throughput. {'; '.join(parts)}. "


def _contradictory(pair: Pair) -> bool:
    """Whether the two efficiencies cannot both describe the same epoch."""
    if len(pair) < 2:
        return False
    return not agree(*(pair[basis]["efficiency"] for basis in BASES))


def _disagreement(pairs: list[Pair]) -> str:
    """Name the runs whose two efficiencies contradict each other."""
    sentences = []
    for pair in filter(_contradictory, pairs):
        row, epoch = (pair[basis] for basis in BASES)
        sentences.append(
            f"The {row['kind']} numbers of {label(row['experiment'])} on "
            f"{label(row['system'], 'system')} contradict each other: {row['efficiency']:.0f} % by "
            f"throughput, {epoch['efficiency']:.0f} % by time per epoch. "
        )
    return "".join(sentences)


def _intervals(rows: list[Row]) -> str:
    if not any(row["n"] > 1 for row in rows):
        return ""
    return ", with the range or 95 % interval over blocks or runs as a line"


def _partial(taken: list[Configuration]) -> str:
    if not any(configuration["subset"] for configuration in taken):
        return ""
    return "Where a number of images is named, an epoch is partial: it has that many. "


def _baselines(rows: list[Row]) -> str:
    """Absolute values of the references: a ratio alone says nothing of the speed."""
    references: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        epoch = " an epoch" if row["unit"] == "s" else ""
        text = f"{number(row['reference_value'])} {row['unit']}{epoch}"
        of_system = references.setdefault((row["kind"], row["reference"]), {})
        system = label(row["system"], "system")
        if text not in of_system.setdefault(system, []):
            of_system[system].append(text)
    parts = [
        f"{label(name)} ({kind}) "
        + ", ".join(f"on {system} {' and '.join(values)}" for system, values in systems.items())
        for (kind, name), systems in references.items()
    ]
    return f"Reference: {'; '.join(parts)}. "


def _notes(rows: list[Row]) -> str:
    """Remarks of the ratios, each once with the systems it is about."""
    systems: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            systems.setdefault(row["note"], []).append(label(row["system"], "system"))
    return "".join(
        f"{captions.capitalised(listed(list(dict.fromkeys(names))))}: {note}. "
        for note, names in systems.items()
    )
