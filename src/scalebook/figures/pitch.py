"""`reported_speedup` and `link_efficiency`: one message each, legible from the last row."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis import study_queries
from scalebook.analysis.comparable import by_stem, configurations, documented
from scalebook.analysis.scaling import scaling_table
from scalebook.figures import theme

SPEEDUP = "Reported speed-up, two ways"
LINKS = "Two nodes: efficiency by link"

#: The ways to form a speed-up: colour, hatching, and how its bars are named.
BASES = {"throughput": (theme.PALETTE[0], "/", "by rate"),
         "time per epoch": (theme.PALETTE[1], "\\", "by time")}  # fmt: skip
#: Both are legible in half a slide, in CSS pixels.
MIN_WIDTH = 290
#: Kinds of scaling, with their colour.
KINDS = {"strong": theme.PALETTE[0], "weak": theme.PALETTE[4]}


def reported_speedup(runs: pd.DataFrame | None = None) -> go.Figure:
    """Reported runs against their reference, by rate and by time per epoch.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    runs = documented() if runs is None else runs
    table = scaling_table(runs)
    table = table[(table["kind"] == "reported") & table["speedup"].notna()]
    if table.empty:
        return theme.empty(SPEEDUP, "No reported run has a reference it can be compared with.")
    found = by_stem(configurations(runs))
    labels = []
    for row in table.to_dict("records"):
        one = found[row["kind"], row["stems"][0]]
        noun = "GPU" if one["device"] == "gpu" else "rank"
        ranks = f"{row['world_size']:.0f} {noun}{'s' if row['world_size'] > 1 else ''}"
        labels.append(f"{ranks}, {str(one['precision'] or '').upper()}".rstrip(", "))
    table = table.assign(label=labels)
    figure = go.Figure()
    for basis, (hue, hatch, name) in BASES.items():
        marker = theme.bar_marker(hue, "reported")
        marker["pattern"]["shape"] = hatch
        rows = table[table["basis"] == basis]
        figure.add_bar(
            x=list(rows["label"]),
            y=list(rows["speedup"]),
            name=name,
            text=[f"{value:.2f}" for value in rows["speedup"]],
            textposition="outside",
            cliponaxis=False,
            marker=marker,
            hovertemplate=f"%{{x}}: %{{y:.2f}} times {name}<extra></extra>",
        )
    _line(figure, 1)
    figure.update_yaxes(
        title_text="speed-up", range=[0, 1.22 * max(1.0, table["speedup"].max())], zeroline=False
    )
    figure.update_xaxes(showgrid=False, ticks="", tickangle=0)
    figure.update_layout(height=360, margin={"t": 52, "b": 66}, bargap=0.3, bargroupgap=0.1)
    said = "; ".join(f"{row.label} {row.speedup:.2f} by {row.basis}" for row in table.itertuples())
    jobs = sorted({stem for stems in table["stems"] for stem in stems})
    return theme.finish(
        figure,
        SPEEDUP,
        alt=f"Bars of reported speed-up over one GPU, with a line at 1. {said}.",
        caption=(
            f"Speed-up over the reported baseline: {said}. Rate and time of the same run should "
            f"agree where every epoch processes all images once. Reported and not verified: "
            f"{theme.listed(jobs)}, one run each."
        ),
        sources=jobs,
        min_width=MIN_WIDTH,
    )


def link_efficiency(runs: pd.DataFrame | None = None) -> go.Figure:
    """Measured efficiency of runs over several nodes, by the link between the nodes.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    runs = documented() if runs is None else runs
    table = scaling_table(runs)
    own = [one for one in configurations(runs) if one.kind == "measured"]
    nodes = {stem: one["nodes"] for one in own for stem in one.stems}
    several = pd.Series([(nodes.get(stems[0]) or 1) > 1 for stems in table["stems"]], table.index)
    table = table[
        several & (table["kind"] == "measured") & (table["basis"] == "throughput")
        & table["efficiency"].notna() & table["scaling"].isin(list(KINDS))
    ]  # fmt: skip
    if table.empty:
        return theme.empty(LINKS, "No measured run over several nodes with its reference yet.")
    systems = [name for name in study_queries.systems() if name in set(table["system"])]
    labels = {name: _link(name) for name in systems}
    figure = go.Figure()
    for kind, hue in KINDS.items():
        rows = table[table["scaling"] == kind]
        rows = rows.set_index("system").loc[
            [name for name in systems if name in set(rows["system"])]
        ]
        figure.add_bar(
            x=[labels[name] for name in rows.index],
            y=list(rows["efficiency"]),
            name=kind,
            offsetgroup=kind,
            marker={"color": hue},
            error_y={
                "type": "data", "symmetric": False, "thickness": 2, "width": 5,
                "color": theme.GREY,
                "array": list(rows["efficiency_high"] - rows["efficiency"]),
                "arrayminus": list(rows["efficiency"] - rows["efficiency_low"]),
            },
            customdata=[f"{row.efficiency_low:.1f} to {row.efficiency_high:.1f} %, n = {row.n}"
                        for row in rows.itertuples()],
            hovertemplate=f"%{{x}}, {kind} scaling: %{{y:.1f}} %, %{{customdata}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[labels[name] for name in rows.index], y=list(rows["efficiency_high"]),
            text=[f"{value:.0f}" for value in rows["efficiency"]], mode="text",
            textposition="top center", offsetgroup=kind, showlegend=False, hoverinfo="skip",
            cliponaxis=False,
        )  # fmt: skip
    _line(figure, 100)
    figure.update_yaxes(title_text="efficiency (%)", range=[0, 112], dtick=25, zeroline=False)
    figure.update_xaxes(
        showgrid=False, ticks="", tickangle=0, categoryorder="array",
        categoryarray=list(labels.values()),
    )  # fmt: skip
    figure.update_layout(height=360, margin={"t": 52, "b": 66}, bargap=0.25, scattermode="group")
    said = "; ".join(
        f"{row.scaling} scaling on {row.system} {row.efficiency:.1f} % "
        f"({row.efficiency_low:.1f} to {row.efficiency_high:.1f}, n = {row.n})"
        for row in table.itertuples()
    )
    shown = {stems[0] for stems in table["stems"]}
    taken = [one for one in own if one.stems[0] in shown]
    return theme.finish(
        figure,
        LINKS,
        alt=f"Bars of parallel efficiency by throughput, ideal 100 %. {said}.",
        caption=(
            f"{theme.synthetic_warning(taken)}Parallel efficiency by throughput: {said}. Lines are "
            f"the range or 95 % interval over seeds. {theme.machines(systems)}{theme.origin(taken)}"
        ),
        sources=sorted({stem for column in ("stems", "reference_stems")
                        for stems in table[column] for stem in stems}),
        min_width=MIN_WIDTH,
    )  # fmt: skip


def _link(system: str) -> str:
    """What a reader calls the link of a system: its rate, else what its facts say of it."""
    facts = study_queries.facts(system)
    rate = facts.link_gbit_s
    if rate is None:
        return theme.escape(facts.network.partition(":")[0] or system, 20)
    return f"{rate:g} Gbit/s" if rate >= 1 else f"{1000 * rate:g} Mbit/s"


def _line(figure: go.Figure, y: float) -> None:
    """A dotted line across the plot."""
    figure.add_hline(y=y, line={"color": theme.GREY, "dash": "dot", "width": 2})
