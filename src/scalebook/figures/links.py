"""What the links between nodes give: `allreduce_bandwidth` without training, `link_efficiency`."""

import math
import textwrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from scalebook import results
from scalebook.analysis import controls, link_model, study_queries
from scalebook.analysis.comparable import to_python
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.study_queries import label
from scalebook.analysis.text import count, listed, number
from scalebook.figures import captions, registry, theme

#: Kinds of scaling, with their colour.
KINDS = {"strong": theme.PALETTE[0], "weak": theme.PALETTE[4]}

# --------------------------------------------------------------------------- bandwidth


@registry.figure("Bus bandwidth of an all-reduce", plot=True, column=True)
def allreduce_bandwidth(curves: pd.DataFrame | None = None) -> go.Figure:
    """Bus bandwidth over message size, one line a system: the median over its jobs.

    Parameters
    ----------
    curves : DataFrame, optional
        Rows of `results.allreduce`; all that may stand in a document where left out.
    """
    curves = results.allreduce(local=False) if curves is None else curves
    if curves.empty:
        return theme.empty(captions.text("allreduce_bandwidth", "empty"))
    declared, there = study_queries.systems(), set(curves["system"])
    # The order of the study, so that a colour means the same system whichever are there.
    order = [*declared, *sorted(there.difference(declared))]
    systems = [system for system in order if system in there]
    figure = go.Figure()
    sentences, reached, reasons = [], [], link_model.fits()[1]
    for system in systems:
        position, title = order.index(system), label(system, "system")
        name = "<br> ".join(theme.escape(line) for line in textwrap.wrap(title, 14))
        mine = curves[curves["system"] == system]
        for _, alike in mine.fillna({"nodes": 0}).groupby(["world_size", "nodes"], sort=True):
            curve = _over_jobs(alike)
            _draw_curve(figure, curve, position, name)
            reached.append(f"{number(curve['busbw_gb_s'].iloc[-1])} GB/s on {title}")
            sentences.append(_sentence(curve, reasons.get(system)))
        _draw_rate(figure, mine, position)
    figure.update_xaxes(title_text="message size (bytes)", **_sizes(curves["bytes"]))
    figure.update_yaxes(
        title_text="bus bandwidth (GB/s)", type="log", dtick=1, exponentformat="none"
    )
    figure.update_layout(height=420, margin={"r": 120, "t": 56, "b": 80})
    each = "; ".join(sentences)
    return theme.finish(
        figure,
        **captions.texts(
            "allreduce_bandwidth",
            message=f"Large messages reach {listed(reached)}.",
            each=captions.capitalised(each),
            machines=captions.machines(systems),
        ),
        sources=sorted(curves["stem"].unique()),
    )


def _over_jobs(curves: pd.DataFrame) -> pd.DataFrame:
    """Median over jobs by message size, with lowest and highest; of one job its quartiles."""
    low = high = rate = curves["busbw_gb_s"]
    if curves["stem"].nunique() == 1:
        low = rate * curves["latency_us"] / curves["latency_high_us"]
        high = rate * curves["latency_us"] / curves["latency_low_us"]
    return curves.assign(low=low, high=high).groupby("bytes", as_index=False).agg(
        system=("system", "first"), ranks=("world_size", "first"), backend=("backend", "first"),
        rate=("link_gbit_s", "first"), jobs=("stem", "nunique"), low=("low", "min"),
        high=("high", "max"), busbw_gb_s=("busbw_gb_s", "median"),
        latency_us=("latency_us", "median"),
    )  # fmt: skip


def _draw_curve(figure: go.Figure, curve: pd.DataFrame, position: int, name: str) -> None:
    hue = theme.cycled(theme.PALETTE, position)
    sizes = list(curve["bytes"])
    median = curve["busbw_gb_s"]
    theme.add_band(figure, sizes, curve["low"], curve["high"], hue, 0.25)
    figure.add_scatter(
        x=sizes,
        y=list(median),
        mode="lines+markers+text",
        name=name,
        text=[*[""] * (len(sizes) - 1), f" {name}"],
        textposition="middle right",
        textfont_size=12,
        showlegend=False,
        cliponaxis=False,
        line={"color": hue, "width": 2},
        marker={"symbol": theme.cycled(theme.SYMBOLS, position), "size": 7},
        customdata=list(curve["latency_us"]),
        hovertemplate="%{x:,d} bytes: %{y:.3g} GB/s, %{customdata:,.0f} µs<extra></extra>",
    )


def _draw_rate(figure: go.Figure, curve: pd.DataFrame, position: int) -> None:
    """The rate of the link as a dashed line: no curve can lie above it for long messages."""
    rate = to_python(curve["link_gbit_s"].iloc[-1])
    if rate is None:
        return
    name = "rate that the link is set to"
    figure.add_scatter(
        x=[curve["bytes"].min(), curve["bytes"].max()],
        y=[rate / 8, rate / 8],
        mode="lines",
        line={"color": theme.cycled(theme.PALETTE, position), "dash": "dash", "width": 2},
        showlegend=theme.is_new(figure, name),
        name=name,
        hovertemplate=f"{rate:g} Gbit/s = {rate / 8:g} GB/s<extra>%{{fullData.name}}</extra>",
    )


def _sizes(sizes: pd.Series) -> dict[str, Any]:
    """A logarithmic axis with ticks at powers of 16, named in binary units."""
    ticks = [2**power for power in range(0, 41, 4)]
    span = [math.log10(sizes.min()), math.log10(sizes.max())]
    pad = 0.02 * (span[1] - span[0]) + 0.05
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [_size(size) for size in ticks],
        "range": [span[0] - pad, span[1] + pad],
    }


def _size(size: float) -> str:
    """Bytes in a binary unit, as ``64 MiB``."""
    power = min(4, (int(size).bit_length() - 1) // 10)
    return f"{size / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _sentence(curve: pd.DataFrame, refused: str | None) -> str:
    first = curve.iloc[0]
    largest = curve.iloc[-1]
    rate = to_python(first["rate"])
    share = f", {100 * 8 * largest['busbw_gb_s'] / rate:.0f} % of its link" if rate else ""
    name, jobs = label(first["system"], "system"), count(first["jobs"], "job")
    return (
        f"{name} with {first['ranks']} ranks by {first['backend']} reaches "
        f"{number(largest['busbw_gb_s'])} GB/s{share} with {_size(largest['bytes'])}, and takes "
        f"{number(first['latency_us'])} µs for {_size(first['bytes'])} ({jobs})"
        + (f"; no model is fitted to it, since {refused}" if refused else "")
    )


# --------------------------------------------------------------------------- efficiency


@registry.figure("Two nodes: efficiency by link", plot=True)
def link_efficiency(runs: pd.DataFrame | None = None) -> go.Figure:
    """Measured efficiency of runs over several nodes, by the link between the nodes.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    evidence = Evidence(runs)
    table, own = scaling_table(evidence.runs), evidence.measured
    nodes = {stem: configuration["nodes"] for configuration in own for stem in configuration.stems}
    several = pd.Series([(nodes.get(stems[0]) or 1) > 1 for stems in table["stems"]], table.index)
    table = table[
        several
        & (table["kind"] == "measured")
        & (table["basis"] == "throughput")
        & table["efficiency"].notna()
        & table["scaling"].isin(list(KINDS))
    ]
    if table.empty:
        return theme.empty("No measured run over several nodes with its reference yet.")
    systems = [name for name in study_queries.systems() if name in set(table["system"])]
    labels = {name: _link(name) for name in systems}
    figure = go.Figure()
    for kind, hue in KINDS.items():
        rows = table[table["scaling"] == kind].set_index("system")
        rows = rows.loc[[name for name in systems if name in rows.index]]
        _draw_bars(figure, kind, hue, rows, [labels[name] for name in rows.index])
    theme.add_level(figure, 100, "ideal")
    for control in evidence.controls:
        _draw_control(figure, control)
    figure.update_yaxes(
        title_text="efficiency (%)", range=[0, 112], dtick=25, showgrid=False, zeroline=False
    )
    figure.update_xaxes(
        showgrid=False,
        ticks="",
        tickangle=0,
        categoryorder="array",
        categoryarray=list(labels.values()),
    )
    figure.update_layout(height=360, margin={"t": 52, "b": 66}, bargap=0.25, scattermode="group")
    each = "; ".join(
        f"{row.scaling} scaling on {label(row.system, 'system')} {row.efficiency:.1f} % "
        f"({row.efficiency_low:.1f} to {row.efficiency_high:.1f}, n = {row.n})"
        for row in table.itertuples()
    )
    shown = {stems[0] for stems in table["stems"]}
    taken = [configuration for configuration in own if configuration.stems[0] in shown]
    return theme.finish(
        figure,
        alt=f"Bars of parallel efficiency by throughput, ideal 100 %. {each}.",
        caption=(
            f"{captions.synthetic_warning(taken)}{_message(table)}"
        ),
        details=(
            f"Parallel efficiency by throughput: {each}. Lines are the range or 95 % interval over "
            "blocks. "
            f"{''.join(map(_control_said, evidence.controls))}{captions.machines(systems)}"
            f"{captions.origin(taken)}"
        ),
        trial=captions.trial(taken),
        sources=sorted({stem for column in ("stems", "reference_stems")
                        for stems in table[column] for stem in stems}),
        min_width=290,
    )  # fmt: skip


def _message(table: pd.DataFrame) -> str:
    """What the figure shows: how much of the ideal each kind of scaling keeps behind each link."""
    parts = []
    for kind, rows in table.groupby("scaling", sort=False):
        kept = [
            f"{row.efficiency:.0f} % on {label(row.system, 'system')}" for row in rows.itertuples()
        ]
        parts.append(f"{kind} scaling keeps {listed(kept)}")
    return captions.capitalised(f"{'; '.join(parts)}.")


def _draw_control(figure: go.Figure, control: controls.Pooled) -> None:
    """The range of the control as a band: within it no two systems can be told apart."""
    values = control.efficiency
    figure.add_hrect(
        y0=values.min, y1=values.max, fillcolor=theme.GREY, opacity=0.25, line_width=0,
        layer="below", name="control", showlegend=True,
    )  # fmt: skip


def _control_said(control: controls.Pooled) -> str:
    values = control.efficiency
    return (
        f"The band is the range of {label(control.experiment)} over all of these systems, "
        f"where {control.because}: {values.median:.1f} % ({values.min:.1f} to {values.max:.1f}, "
        f"n = {values.n}); smaller differences than its own count as none. "
    )


def _draw_bars(
    figure: go.Figure, kind: str, hue: str, rows: pd.DataFrame, labels: list[str]
) -> None:
    figure.add_bar(
        x=labels,
        y=list(rows["efficiency"]),
        name=kind,
        offsetgroup=kind,
        marker={"color": hue},
        error_y=theme.spread(
            rows["efficiency"], rows["efficiency_low"], rows["efficiency_high"], theme.GREY
        ),
        customdata=[
            f"{row.efficiency_low:.1f} to {row.efficiency_high:.1f} %, n = {row.n}"
            for row in rows.itertuples()
        ],
        hovertemplate=f"%{{x}}, {kind} scaling: %{{y:.1f}} %, %{{customdata}}<extra></extra>",
    )
    figure.add_scatter(
        x=labels,
        y=list(rows["efficiency_high"]),
        text=[f"{value:.0f}" for value in rows["efficiency"]],
        mode="text",
        textposition="top center",
        offsetgroup=kind,
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )


def _link(system: str) -> str:
    """What a reader calls the link of a system: its rate, else what its facts say of it."""
    facts = study_queries.facts(system)
    rate = facts.link_gbit_s
    if rate is None:
        return theme.escape(label(system, "system").removeprefix("two nodes at "), 20)
    return f"{rate:g} Gbit/s" if rate >= 1 else f"{1000 * rate:g} Mbit/s"
