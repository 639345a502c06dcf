"""What a device did all the time, and what it waited for when it did nothing."""

import re
from typing import Any

import plotly.graph_objects as go

from scalebook.analysis.text import count
from scalebook.figures import captions, registry, theme
from scalebook.figures.profile import families
from scalebook.figures.profile.shares import readable, trace_title

#: Parts of the time: title, colour, pattern (idle parts have one).
PARTS = {
    "compute": ("compute", theme.PALETTE[0], ""),
    "communication": ("communication alone", families.COLOURS["communication"], ""),
    "memory": ("copies alone", families.COLOURS["memory"], ""),
    "host": ("idle: waits for a launch", theme.PALETTE[1], "/"),
    "gap": ("idle: between two kernels", theme.PALETTE[4], "."),
    "rest": ("idle: other", theme.GREY, "x"),
}
#: Percent of the time from which a part is drawn and told.
SEEN = 0.05
#: Most traces drawn.
MOST = 16


@registry.figure("What the device waits for")
def idle_breakdown(everything: bool = False) -> go.Figure:
    """Stacked bars of the time of each trace: work by kind, and idle by what ended it.

    Parameters
    ----------
    everything : bool
        Traces of trial runs in ``results/local`` too.
    """
    found = list(readable(everything).items())
    if not found:
        return theme.empty("No trace is in results/profiling/ yet.")
    drawn = found[:MOST]
    names = [trace_title(file, summary) for file, summary in drawn]
    shares = [_shares(summary) for _, summary in drawn]
    figure = go.Figure()
    for part, (title, hue, shape) in PARTS.items():
        values = [share[part] for share in shares]
        if not any(value >= SEEN for value in values):
            continue
        figure.add_bar(
            y=list(range(len(drawn))),
            x=values,
            orientation="h",
            width=0.66,
            name=title,
            marker=theme.part_marker(hue, shape),
            customdata=[
                families.ms(value / 100 * summary["time"]["span_us"])
                for value, (_, summary) in zip(values, drawn)
            ],
            hovertemplate="%{fullData.name}: %{x:.1f} %, %{customdata}<extra></extra>",
        )
    for row, (_, summary) in enumerate(drawn):
        idle = 100 * summary["time"]["idle_us"] / _span(summary)
        figure.add_annotation(
            text=f"idle {idle:.1f} %",
            x=100,
            xanchor="left",
            xshift=6,
            y=row,
            font_size=12,
            xref="x",
            yref="y",
        )
    figure.update_xaxes(
        title_text="share of the time traced (%)",
        range=[0, 120],
        tickvals=list(range(0, 101, 20)),
        showgrid=False,
    )
    theme.name_rows(figure, [theme.escape(name, 46) for name in _short(names)])
    theme.leave_room(figure, 44 * len(drawn))
    figure.update_layout(barmode="stack")
    each = "; ".join(f"{name}: {_sentence(summary)}" for name, (_, summary) in zip(names, drawn))
    worked = sorted(100 - 100 * summary["time"]["idle_us"] / _span(summary) for _, summary in drawn)
    ends = dict.fromkeys(f"{share:.1f}" for share in (worked[0], worked[-1]))
    message = f"The device works {' to '.join(ends)} % of the time traced."
    more = len(found) - len(drawn)
    left_out = f" {count(more, 'further trace')} not drawn." if more else ""
    return theme.finish(
        figure,
        **captions.texts("idle_breakdown", message=message, each=each, left_out=left_out),
        sources=[file for file, _ in drawn],
    )


def _short(names: list[str]) -> list[str]:
    """Names without the devices in brackets, where these tell no two apart."""
    short = [re.sub(r" \([^()]*\)", "", name) for name in names]
    return short if len(set(short)) == len(short) else names


def _shares(summary: dict[str, Any]) -> dict[str, float]:
    """Percent of the span by part; they add up to 100."""
    time, idle = summary["time"], summary["idle"]
    alone = time["communication_us"] - time["overlap_us"]
    parts = {
        "compute": time["compute_us"],
        "communication": alone,
        "memory": time["busy_us"] - time["compute_us"] - alone,
        "host": idle["host_us"],
        "gap": idle["gap_us"],
        "rest": idle["rest_us"],
    }
    return {name: 100 * max(0.0, value) / _span(summary) for name, value in parts.items()}


def _span(summary: dict[str, Any]) -> float:
    return float(summary["time"]["span_us"] or 1.0)


def _sentence(summary: dict[str, Any]) -> str:
    span = _span(summary)
    parts = [
        f"{PARTS[part][0]} {share:.1f} %"
        for part, share in _shares(summary).items()
        if share >= SEEN
    ]
    awaited = 100 * summary["idle"]["input_us"] / span
    waits = f"; idle while the host waits for data: {awaited:.1f} %" if awaited >= SEEN else ""
    return f"{families.ms(span)}, of it {', '.join(parts)}{waits}"
