"""`scaling_efficiency`: parallel efficiency against the ideal, by both of its definitions."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration, configurations, documented
from scalebook.analysis.consistency import TOLERANCE
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.values import number
from scalebook.figures import theme

TITLE = "Parallel efficiency against the ideal"

#: How the two ways to form the efficiency are drawn: colour, dash, marker.
BASES = {
    "throughput": (theme.PALETTE[0], "solid", "circle"),
    "time per epoch": (theme.PALETTE[1], "dash", "square"),
}


def scaling_efficiency(runs: pd.DataFrame | None = None) -> go.Figure:
    """Efficiency in percent over ranks, one plot for each system.

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
            TITLE, "No two comparable runs with different numbers of ranks yet: run an experiment "
            "with a reference, and its reference, on the same system.",
        )  # fmt: skip
    # A job that was reported and whose file turned up has the same stem twice.
    found = {(one.kind, stem): one for one in configurations(runs) for stem in one.stems}
    facets: dict[tuple, list[dict]] = {}
    for row in table.to_dict("records"):
        facets.setdefault(found[row["kind"], row["stems"][0]].facet, []).append(row)
    behind = [found[group[0]["kind"], group[0]["stems"][0]] for group in facets.values()]
    figure = _draw(list(facets.values()), behind)
    rows = table.to_dict("records")
    used = {
        (row["kind"], stem) for row in rows for stem in (*row["stems"], *row["reference_stems"])
    }
    taken = [one for one in configurations(runs) if (one.kind, one.stems[0]) in used]
    return theme.finish(
        figure,
        TITLE,
        alt=f"Parallel efficiency, ideal 100 %. {'; '.join(_said(row) for row in rows)}.",
        caption=(
            f"{theme.synthetic_warning(taken)}{_message(rows)}"
            "Parallel efficiency in percent: speed-up over the growth in ranks, formed from "
            "throughput and from time per epoch. "
            f"{_baselines(rows)}{_notes(rows)}{theme.origin(taken)}"
        ),
        sources=sorted({stem for _, stem in used}),
    )


def _draw(facets: list[list[dict]], behind: list[Configuration]) -> go.Figure:
    figure, cells = theme.grid([theme.facet_title(one) for one in behind])
    for position, (cell, group) in enumerate(zip(cells, facets)):
        _draw_facet(figure, cell, group, first=position == 0)
        if cell["col"] == 1:
            figure.update_yaxes(title_text="efficiency (%)", **cell)
        if _disagreement(group):
            figure.add_annotation(
                text=f"the {group[0]['kind']} numbers<br>contradict each other", align="right",
                x=1, xanchor="right", xref="x domain", y=113, font_size=12, **cell,
            )  # fmt: skip
    highest = max(row["efficiency_high"] for group in facets for row in group)
    figure.update_yaxes(range=[0, max(124, 1.2 * highest)], tickvals=[0, 25, 50, 75, 100])
    return figure


def _draw_facet(figure: go.Figure, cell: dict, group: list[dict], first: bool) -> None:
    ranks = sorted({row[name] for row in group for name in ("world_size", "reference_world_size")})
    pad = 0.35 * (ranks[-1] - ranks[0])
    figure.add_scatter(
        x=[ranks[0] - pad, ranks[-1] + pad], y=[100, 100], mode="lines", name="ideal",
        line={"color": theme.GREY, "dash": "dot", "width": 2}, legendgroup="ideal",
        showlegend=first, hoverinfo="skip", **cell,
    )  # fmt: skip
    kind = group[0]["kind"]
    for basis, (hue, dash, symbol) in BASES.items():
        for series in _series([row for row in group if row["basis"] == basis]):
            reference = series[0]["reference_world_size"]
            values = [row["efficiency"] for row in series]
            # At 100 % by definition, so without a label.
            figure.add_scatter(
                x=[reference, *(row["world_size"] for row in series)],
                y=[100, *values],
                mode="lines+markers+text",
                text=["", *(f"{value:.1f} %" for value in values)],
                textposition=["middle right", *(_label_place(row, group) for row in series)],
                name=f"by {basis}",
                legendgroup=basis,
                showlegend=first,
                line={"color": hue, "dash": dash, "width": 2},
                marker={"symbol": theme.symbol(symbol, kind), "size": 11,
                        "line": {"width": 2, "color": hue}},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [0, *(row["efficiency_high"] - row["efficiency"] for row in series)],
                    "arrayminus": [
                        0, *(row["efficiency"] - row["efficiency_low"] for row in series)
                    ],
                    "color": hue,
                    "visible": any(row["n"] > 1 for row in series),
                },
                customdata=["reference", *(theme.escape(_said(row), 160) for row in series)],
                hovertemplate="%{customdata}<extra></extra>",
                cliponaxis=False,
                **cell,
            )  # fmt: skip
    figure.update_xaxes(
        title_text="ranks", tickvals=ranks, range=[ranks[0] - pad, ranks[-1] + pad], **cell
    )


def _label_place(row: dict, group: list[dict]) -> str:
    """Right of the point; further up or down where the other basis has its label there."""
    gaps = [
        row["efficiency"] - other["efficiency"]
        for other in group
        if other["world_size"] == row["world_size"] and other["basis"] != row["basis"]
    ]
    near = [gap for gap in gaps if abs(gap) < 9]
    if not near:
        return "middle right"
    first = row["basis"] == next(iter(BASES))
    return "top right" if near[0] > 0 or (near[0] == 0 and first) else "bottom right"


def _series(rows: list[dict]) -> list[list[dict]]:
    """Rows that one line joins: the same reference and kind of scaling, by ranks."""
    groups: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["world_size"]):
        groups.setdefault((tuple(row["reference_stems"]), row["scaling"]), []).append(row)
    return list(groups.values())


def _said(row: dict) -> str:
    spread = ""
    if row["n"] > 1:
        spread = f" ({row['efficiency_low']:.1f} to {row['efficiency_high']:.1f}, n = {row['n']})"
    kind = f"{row['scaling']} scaling, " if row["scaling"] else ""
    return (
        f"{row['experiment']} on {row['system']}, {kind}{row['world_size']} ranks, {row['kind']}: "
        f"{row['efficiency']:.1f} %{spread} by {row['basis']}"
    )


def _baselines(rows: list[dict]) -> str:
    """Absolute values of the references: a ratio alone says nothing of the speed."""
    said: dict[tuple, list[str]] = {}
    for row in rows:
        key = (row["kind"], row["reference"], row["system"])
        epoch = " an epoch" if row["unit"] == "s" else ""
        text = f"{number(row['reference_value'])} {row['unit']}{epoch}"
        if text not in said.setdefault(key, []):
            said[key].append(text)
    parts = [
        f"{name} on {system} ({kind}) " + " and ".join(values)
        for (kind, name, system), values in said.items()
    ]
    return f"Reference: {'; '.join(parts)}. "


def _disagreement(rows: list[dict]) -> str:
    """Name the runs whose two efficiencies cannot both describe the same epoch."""
    said = []
    for (kind, experiment, system, _), pair in _pairs(rows).items():
        if len(pair) == 2:
            rate, epoch = pair["throughput"], pair["time per epoch"]
            if abs(rate - epoch) > TOLERANCE * max(rate, epoch):
                said.append(
                    f"The {kind} numbers of {experiment} on {system} contradict each other: "
                    f"{rate:.0f} % by throughput, {epoch:.0f} % by time per epoch. "
                )
    return "".join(said)


def _message(rows: list[dict]) -> str:
    """What the figure shows: the efficiency of each configuration, by both bases."""
    said = []
    for (kind, experiment, system, ranks), pair in _pairs(rows).items():
        values = " and ".join(f"{value:.1f} % by {basis}" for basis, value in pair.items())
        where = theme.place_of(kind, system)
        said.append(f"{where}: {experiment} reaches {values} with {ranks} ranks. ")
    return "".join(said) + _disagreement(rows)


def _pairs(rows: list[dict]) -> dict[tuple, dict[str, float]]:
    """Efficiency by basis, of each configuration."""
    pairs: dict[tuple, dict[str, float]] = {}
    for row in rows:
        key = (row["kind"], row["experiment"], row["system"], row["world_size"])
        pairs.setdefault(key, {})[row["basis"]] = row["efficiency"]
    return pairs


def _notes(rows: list[dict]) -> str:
    return "".join(
        f"{system}: {note}. "
        for system, note in dict.fromkeys((row["system"], row["note"]) for row in rows)
        if note
    )
