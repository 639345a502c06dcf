"""`profiling_breakdown`: device time under two groupings, and what one of them hides."""

from __future__ import annotations

import plotly.graph_objects as go

from scalebook.analysis.study_queries import start_command
from scalebook.figures import theme
from scalebook.figures.profile import families
from scalebook.figures.profile.shares import (
    GROUPINGS,
    SMALL,
    UNKNOWN,
    Breakdown,
    Profiled,
    breakdowns,
    profiled,
)

TITLE = "Where device time goes"
TITLE_KERNELS = "Which kernels the operators run in"

#: What stands in place of a grouping that a source does not have.
MISSING = {
    "reported": "Not known: a trace of the job<br>in results/profiling/ decides it.",
    "measured": "No kernels: a CPU runs<br>the operators themselves.",
}
KINDS = {"example": "not of this study"}


def profiling_breakdown(found: list[Breakdown] | None = None) -> go.Figure:
    """Bars of the share of device time: a row of plots a source, a column a grouping.

    Parameters
    ----------
    found : list of Breakdown, optional
        What to draw; all that may stand in a document where left out.
    """
    found = breakdowns() if found is None else found
    if not found:
        return theme.empty(
            TITLE, f"No profile yet: record one with `{start_command(profiled=True)}`, or drop a "
            "trace into results/profiling/.",
        )  # fmt: skip
    said = [
        f"{one.title} ({one.kind}), {one.grouping}: "
        + ", ".join(f"{name} {share:.1f} %" for name, share in one.shares.items())
        for one in found
    ]
    sources = _sources(found)
    return theme.finish(
        _draw_groupings(sources),
        TITLE,
        alt=f"Bar chart of device time. {'; '.join(said)}.",
        caption=_caption(sources),
        sources=[one.source for one in found],
    )


def _sources(found: list[Breakdown]) -> list[dict[str, Breakdown]]:
    """Breakdowns of each source by their grouping."""
    by_source: dict[tuple, dict[str, Breakdown]] = {}
    for one in found:
        by_source.setdefault((one.kind, one.title, one.source), {})[one.grouping] = one
    return list(by_source.values())


def _draw_groupings(sources: list[dict[str, Breakdown]]) -> go.Figure:
    names = [_names(source) for source in sources]
    titles = [title for source in sources for title in _titles(source)]
    heights, gap, bar = [max(2, len(one)) for one in names], 58, 20
    inner = bar * sum(heights) + gap * (len(heights) - 1)
    figure = theme.subplots(
        len(sources), 2, titles, row_heights=heights, horizontal_spacing=0.06,
        vertical_spacing=gap / inner if len(sources) > 1 else 0,
    )  # fmt: skip
    top = max(
        share for source in sources for one in source.values() for share in one.shares.values()
    )
    for row, (source, groups) in enumerate(zip(sources, names), 1):
        for column, one in enumerate(_columns(source), 1):
            if one is None:
                kind = next(iter(source.values())).kind
                # Without a trace in it the plot, and what stands in it, would not be placed.
                figure.add_bar(x=[0], y=[0], orientation="h", hoverinfo="skip", showlegend=False,
                               row=row, col=column)  # fmt: skip
                figure.add_annotation(
                    text=MISSING.get(kind, ""), x=0.04, xref="x domain", xanchor="left", y=0.5,
                    yref="y domain", align="left", font_size=12, row=row, col=column,
                )  # fmt: skip
            else:
                _draw_shares(figure, row, column, groups, one)
            last = row == len(sources)
            figure.update_xaxes(
                range=[0, 1.25 * top], showgrid=False, zeroline=one is not None,
                showticklabels=last, ticks="outside" if last else "",
                title_text="share of device time (%)" if last else None, row=row, col=column,
            )  # fmt: skip
            figure.update_yaxes(
                tickvals=list(range(len(groups))),
                ticktext=[theme.escape(group, 28) for group in groups],
                range=[len(groups) - 0.4, -0.6], showticklabels=column == 1, ticks="",
                showgrid=False, zeroline=False, row=row, col=column,
            )  # fmt: skip
    height = inner + theme.MARGIN["t"] + theme.MARGIN["b"]
    return figure.update_layout(barmode="overlay", height=height)


def _names(source: dict[str, Breakdown]) -> list[str]:
    """Groups of a source, largest by operator first, those in no family last."""
    order = [one for one in reversed(_columns(source)) if one is not None]
    names = dict.fromkeys(name for one in order for name in one.shares if name != "other")
    other = any("other" in one.shares for one in order)
    return [*names, *(["other"] if other else [])]


def _columns(source: dict[str, Breakdown]) -> tuple[Breakdown | None, Breakdown | None]:
    left = source.get(GROUPINGS["by_kernel"]) or source.get(UNKNOWN)
    return left, source.get(GROUPINGS["by_operator"])


def _titles(source: dict[str, Breakdown]) -> tuple[str, str]:
    one = next(iter(source.values()))
    kind = KINDS.get(one.kind, one.kind)
    left = UNKNOWN if UNKNOWN in source else GROUPINGS["by_kernel"]
    return (
        f"<b>{kind}: {theme.escape(one.title, 60)}</b><br>{left}",
        f" <br>{GROUPINGS['by_operator']}",
    )


def _draw_shares(
    figure: go.Figure, row: int, column: int, groups: list[str], one: Breakdown
) -> None:
    for place, group in enumerate(groups):
        if group not in one.shares:
            continue
        share = one.shares[group]
        figure.add_bar(
            y=[place],
            x=[share],
            orientation="h",
            width=0.72,
            marker=theme.bar_marker(families.colour_of_title(group), one.kind),
            text=[f"{share:.1f} %"],
            textposition="outside",
            cliponaxis=False,
            showlegend=False,
            name=theme.escape(group, 28),
            hovertemplate="%{fullData.name}: %{x:.1f} % of device time<extra></extra>",
            row=row,
            col=column,
        )


def _caption(sources: list[dict[str, Breakdown]]) -> str:
    found = [one for source in sources for one in source.values()]
    kinds = {
        kind: list(dict.fromkeys(one.title for one in found if one.kind == kind))
        for kind in ("measured", "reported", "example")
    }
    said = [_message(source) for source in sources]
    said.append("Share of device time by kind of work, in percent.")
    if len(GROUPINGS) <= max(len(source) for source in sources):
        said.append(
            "Kernel names hide who launched them: the matrix products and gradient kernels of a "
            "convolution count as other groups by name, and as convolution by operator."
        )
    if kinds["measured"]:
        files = dict.fromkeys(one.source for one in found if one.kind == "measured")
        said.append(f"Measured: {', '.join(files)}.")
    if kinds["example"]:
        origins = [one.origin for one in profiled() if one.kind == "example"]
        said.append(f"Example: {'; '.join(origins)}.")
    if kinds["reported"]:
        titles = ", ".join(kinds["reported"])
        said.append(f"Reported and not verified: {titles}. How it was grouped was not reported.")
    if not kinds["measured"]:
        said.append(
            "No trace is in results/profiling/ yet, so whether the largest named group is the "
            "bottleneck is undetermined."
        )
    return " ".join(sentence for sentence in said if sentence)


def _message(source: dict[str, Breakdown]) -> str:
    """The largest named group of a source, under each grouping."""
    said = []
    for one in filter(None, _columns(source)):
        named = {name: share for name, share in one.shares.items() if name != "other"}
        if not named:
            continue
        largest = max(named, key=named.get)
        said.append(
            f"{one.grouping}, {largest} is the largest named group with {named[largest]:.1f} %"
        )
        if one.shares.get("other", 0) > named[largest]:
            said[-1] += f", but {one.shares['other']:.1f} % is in no named group"
    if not said:
        return ""
    one = next(iter(source.values()))
    kind = KINDS.get(one.kind, one.kind)
    return f"{one.title[:1].upper()}{one.title[1:]} ({kind}): {'; '.join(said)}."


# --------------------------------------------------------------------------- the difference


def grouping_difference(found: list[Profiled] | None = None) -> go.Figure:
    """What each operator's time is called by kernel name: one stacked bar a family of operators.

    Parameters
    ----------
    found : list of Profiled, optional
        What to draw; all with kernels where left out.
    """
    found = [one for one in (profiled() if found is None else found) if any(one.by_both.values())]
    if not found:
        return theme.empty(
            TITLE_KERNELS, "No trace of a GPU is in results/profiling/ yet: a CPU runs no kernels."
        )
    shown = [_both(one) for one in found]
    titles = [
        f"<b>{KINDS.get(one.kind, one.kind)}: {theme.escape(one.title, 60)}</b>" for one in found
    ]
    figure = theme.stacked([len(rows) for rows in shown], titles, bar=30, gap=56)
    named: set[str] = set()
    for number, rows in enumerate(shown, 1):
        kernels = dict.fromkeys(kernel for parts in rows.values() for kernel in parts)
        order = sorted(kernels, key=lambda kernel: kernel == "other")
        for kernel in order:
            shares = [parts.get(kernel, 0.0) for parts in rows.values()]
            title = families.title(kernel)
            figure.add_bar(
                y=list(range(len(rows))), x=shares, orientation="h", width=0.76,
                name=theme.escape(title, 28), legendgroup=kernel, showlegend=kernel not in named,
                marker={"color": families.colour(kernel), "line": {"color": "#ffffff", "width": 1}},
                text=[theme.escape(title, 28) if share else "" for share in shares],
                textposition="inside", insidetextanchor="middle",
                hovertemplate="kernels called after %{fullData.name}: %{x:.2f} % of device time"
                "<extra></extra>",
                row=number, col=1,
            )  # fmt: skip
            named.add(kernel)
        figure.update_yaxes(
            tickvals=list(range(len(rows))), range=[len(rows) - 0.4, -0.6], ticks="",
            ticktext=[theme.escape(families.title(name), 28) for name in rows],
            showgrid=False, zeroline=False, row=number, col=1,
        )  # fmt: skip
    figure.update_xaxes(title_text="share of device time (%)", row=len(found), col=1)
    bottom = theme.MARGIN["b"] + 62
    figure.update_layout(
        barmode="stack", height=figure.layout.height + 62, margin_b=bottom,
        uniformtext={"minsize": 11, "mode": "hide"},
        legend={**families.BELOW, "title": {"text": "by kernel name", "font": {"size": 13}}},
    )  # fmt: skip
    return theme.finish(
        figure, TITLE_KERNELS,
        alt="Stacked bars of device time: rows are kinds of operators, parts are what their "
        f"kernels are called. {' '.join(map(_said_hidden, found))}",
        caption=f"{' '.join(map(_said_hidden, found))} Rows are sorted by the operator that "
        "launched the kernels, the parts of a row by what the kernels are called; parts of another "
        "colour than the row's own are what a grouping by name counts elsewhere."
        + "".join(f" Example: {one.origin}." for one in found if one.origin),
        sources=[one.source for one in found],
    )  # fmt: skip


def _both(one: Profiled) -> dict[str, dict[str, float]]:
    """Percent of device time by operator, then by kernel name; small operators left out."""
    total = sum(sum(parts.values()) for parts in one.by_both.values())
    rows = sorted(one.by_both.items(), key=lambda item: -sum(item[1].values()))
    return {
        operator: {kernel: 100 * value / total for kernel, value in parts.items()}
        for operator, parts in rows
        if 100 * sum(parts.values()) >= SMALL * total
    }


def _said_hidden(one: Profiled) -> str:
    """How much of the largest family of operators is called something else."""
    rows = _both(one)
    if not rows:
        return ""
    operator, parts = next(iter(rows.items()))
    whole, own = sum(parts.values()), parts.get(operator, 0.0)
    rest = {name: share for name, share in parts.items() if name != operator}
    if whole - own < 0.05:
        return f"In {one.title} all kernels of {families.title(operator)} are called so."
    most = sorted(rest, key=rest.get, reverse=True)[:2]
    called = theme.listed([f"{families.title(name)} ({rest[name]:.1f} %)" for name in most])
    return (
        f"In {one.title} {families.title(operator)} takes {whole:.1f} % of device time, but only "
        f"{own:.1f} % in kernels of that name: the rest is called mostly {called}."
    )
