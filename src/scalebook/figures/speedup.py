"""`reported_speedup`: what was reported of speed, by rate and by time."""

import pandas as pd
import plotly.graph_objects as go

from scalebook.analysis.comparable import Configuration, by_stem, configurations, documented
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.text import count, listed
from scalebook.figures import registry, theme

#: How the bars of each of `scaling.BASES` look: colour, hatching, name.
BARS = {
    "throughput": (theme.PALETTE[0], "/", "by rate"),
    "time per epoch": (theme.PALETTE[1], "\\", "by time"),
}


@registry.figure("Reported speed-up, two ways", plot=True)
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
        return theme.empty("No reported run has a reference it can be compared with.")
    configuration_of = by_stem(configurations(runs))
    labels, references = (
        [_label(configuration_of["reported", stems[0]]) for stems in table[column]]
        for column in ("stems", "reference_stems")
    )
    table = table.assign(label=labels)
    figure = go.Figure()
    for basis, (hue, hatch, name) in BARS.items():
        rows = table[table["basis"] == basis]
        figure.add_bar(
            x=list(rows["label"]),
            y=list(rows["speedup"]),
            name=name,
            text=[f"{value:.2f}" for value in rows["speedup"]],
            textposition="outside",
            cliponaxis=False,
            marker=theme.bar_marker(hue, "reported", hatch),
            hovertemplate=f"%{{x}}: %{{y:.2f}} times {name}<extra></extra>",
        )
    theme.add_level(figure, 1, "baseline")
    figure.update_yaxes(
        title_text="speed-up",
        range=[0, 1.22 * max(1.0, table["speedup"].max())],
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(showgrid=False, ticks="", tickangle=0)
    figure.update_layout(height=360, margin={"t": 52, "b": 66}, bargap=0.3, bargroupgap=0.1)
    each = "; ".join(f"{row.label} {row.speedup:.2f} by {row.basis}" for row in table.itertuples())
    jobs = sorted({stem for stems in table["stems"] for stem in stems})
    return theme.finish(
        figure,
        alt=f"Bars of reported speed-up over one GPU, with a line at 1. {each}.",
        caption=f"Speed-up over the reported baseline: {each}.",
        details=(
            f"The line is the baseline, {listed(list(dict.fromkeys(references)))}. Rate and time "
            "of the same run should agree where every epoch processes all images "
            f"once. Reported and not verified: {listed(jobs)}, one run each."
        ),
        sources=[*jobs, *(stem for stems in table["reference_stems"] for stem in stems)],
        min_width=290,
    )


def _label(configuration: Configuration) -> str:
    """Ranks and precision of a configuration."""
    ranks = count(
        int(configuration["world_size"]), "GPU" if configuration["device"] == "gpu" else "rank"
    )
    return f"{ranks}, {str(configuration['precision'] or '').upper()}".rstrip(", ")
