"""`profiling_breakdown`: device time under two groupings, and what one of them hides."""

import plotly.graph_objects as go

from scalebook.analysis.study_queries import start_command
from scalebook.analysis.text import listed
from scalebook.figures import captions, registry, theme
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

#: What stands in place of a grouping that a source does not have.
MISSING = {
    "reported": "Not known: a trace of the job<br>in results/profiling/ decides it.",
    "measured": "No kernels: a CPU runs<br>the operators themselves.",
}
KINDS = {"example": "not of this study"}


@registry.figure("Where device time goes", plot=True)
def profiling_breakdown(found: list[Breakdown] | None = None) -> go.Figure:
    """Bars of the share of device time: a row of plots a source, a column a grouping.

    Parameters
    ----------
    found : list of Breakdown, optional
        What to draw; all that may stand in a document where left out.
    """
    found = breakdowns() if found is None else found
    if not found:
        command = start_command(profiled=True)
        return theme.empty(captions.text("profiling_breakdown", "empty", command=command))
    each = [
        f"{one.title} ({one.kind}), {one.grouping}: "
        + ", ".join(f"{name} {share:.1f} %" for name, share in one.shares.items())
        for one in found
    ]
    sources = _sources(found)
    return theme.finish(
        _draw_groupings(sources),
        alt=f"Bar chart of device time. {'; '.join(each)}.",
        caption=f"Largest named group: {'; '.join(filter(None, map(_largest, sources)))}.",
        details=_details(sources),
        sources=[one.source for one in found],
    )


def _sources(found: list[Breakdown]) -> list[dict[str, Breakdown]]:
    """Breakdowns of each source by their grouping."""
    by_source: dict[tuple[str, str, str], dict[str, Breakdown]] = {}
    for one in found:
        by_source.setdefault((one.kind, one.title, one.source), {})[one.grouping] = one
    return list(by_source.values())


def _draw_groupings(sources: list[dict[str, Breakdown]]) -> go.Figure:
    names = [_names(source) for source in sources]
    titles = [title for source in sources for title in _titles(source)]
    bars = [max(2, len(one)) for one in names]
    figure = theme.stacked(bars, titles, bar=20, gap=58, columns=2, horizontal_spacing=0.06)
    top = max(
        share for source in sources for one in source.values() for share in one.shares.values()
    )
    for row, (source, groups) in enumerate(zip(sources, names), 1):
        last = row == len(sources)
        for column, one in enumerate(_columns(source), 1):
            cell = {"row": row, "col": column}
            if one is None:
                _say_missing(figure, next(iter(source.values())).kind, cell)
            else:
                _draw_shares(figure, groups, one, cell)
            figure.update_xaxes(
                range=[0, 1.25 * top], showgrid=False, zeroline=one is not None,
                showticklabels=last, ticks="outside" if last else "",
                title_text="share of device time (%)" if last else None, **cell,
            )  # fmt: skip
            shown = [theme.escape(group, 28) for group in groups]
            theme.name_rows(figure, shown, showticklabels=column == 1, **cell)
    return figure.update_layout(barmode="overlay")


def _say_missing(figure: go.Figure, kind: str, cell: dict[str, int]) -> None:
    # Without a trace in it the plot, and what stands in it, would not be placed.
    figure.add_bar(x=[0], y=[0], orientation="h", hoverinfo="skip", showlegend=False, **cell)
    figure.add_annotation(
        text=MISSING.get(kind, ""), x=0.04, xref="x domain", xanchor="left", y=0.5,
        yref="y domain", align="left", font_size=12, **cell,
    )  # fmt: skip


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
    figure: go.Figure, groups: list[str], one: Breakdown, cell: dict[str, int]
) -> None:
    for row, group in enumerate(groups):
        if group not in one.shares:
            continue
        share = one.shares[group]
        figure.add_bar(
            y=[row],
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
            **cell,
        )


def _details(sources: list[dict[str, Breakdown]]) -> str:
    found = [one for source in sources for one in source.values()]
    kinds = {
        kind: list(dict.fromkeys(one.title for one in found if one.kind == kind))
        for kind in ("measured", "reported", "example")
    }
    sentences = [_message(source) for source in sources]
    sentences += ["Share of device time by kind of work, in percent."]
    if len(GROUPINGS) <= max(len(source) for source in sources):
        sentences.append(captions.text("profiling_breakdown", "hidden"))
    if kinds["measured"]:
        files = dict.fromkeys(one.source for one in found if one.kind == "measured")
        sentences.append(f"Measured: {', '.join(files)}.")
    if kinds["example"]:
        origins = [one.origin for one in profiled() if one.kind == "example"]
        sentences.append(f"Example: {'; '.join(origins)}.")
    if kinds["reported"]:
        titles = ", ".join(kinds["reported"])
        sentences.append(captions.text("profiling_breakdown", "reported", titles=titles))
    if not kinds["measured"]:
        sentences.append(captions.text("profiling_breakdown", "no trace"))
    return " ".join(sentence for sentence in sentences if sentence)


def _largest(source: dict[str, Breakdown]) -> str:
    """The largest named group of a source, by the operator that launched where that is known."""
    one = list(filter(None, _columns(source)))[-1]
    named = {name: share for name, share in one.shares.items() if name != "other"}
    if not named:
        return ""
    name = max(named, key=lambda group: named[group])
    return f"{name} {named[name]:.0f} % ({one.title})"


def _message(source: dict[str, Breakdown]) -> str:
    """The largest named group of a source, under each grouping."""
    parts = []
    for one in filter(None, _columns(source)):
        named = {name: share for name, share in one.shares.items() if name != "other"}
        if not named:
            continue
        largest = max(named, key=named.__getitem__)
        parts.append(
            f"{one.grouping}, {largest} is the largest named group with {named[largest]:.1f} %"
        )
        if one.shares.get("other", 0) > named[largest]:
            parts[-1] += f", but {one.shares['other']:.1f} % is in no named group"
    if not parts:
        return ""
    one = next(iter(source.values()))
    kind = KINDS.get(one.kind, one.kind)
    return f"{one.title[:1].upper()}{one.title[1:]} ({kind}): {'; '.join(parts)}."


# --------------------------------------------------------------------------- the difference


@registry.figure("Which kernels the operators run in")
def grouping_difference(found: list[Profiled] | None = None) -> go.Figure:
    """What each operator's time is called by kernel name: one stacked bar a family of operators.

    Parameters
    ----------
    found : list of Profiled, optional
        What to draw; all with kernels where left out.
    """
    found = [one for one in (profiled() if found is None else found) if any(one.by_both.values())]
    if not found:
        return theme.empty(captions.text("grouping_difference", "empty"))
    shown = [_both(one) for one in found]
    titles = [
        f"<b>{KINDS.get(one.kind, one.kind)}: {theme.escape(one.title, 60)}</b>" for one in found
    ]
    figure = theme.stacked([len(rows) for rows in shown], titles, bar=30, gap=56)
    for row, shares in enumerate(shown, 1):
        _draw_kernels(figure, shares, {"row": row, "col": 1})
    figure.update_xaxes(title_text="share of device time (%)", row=len(found), col=1)
    inner = figure.layout.height - theme.MARGIN["t"] - theme.MARGIN["b"]
    theme.leave_room(figure, inner, top=theme.MARGIN["t"])
    figure.update_layout(
        barmode="stack",
        uniformtext={"minsize": 11, "mode": "hide"},
        legend_title={"text": "by kernel name", "font": {"size": 13}},
    )
    each = " ".join(map(_hidden, found))
    origins = "".join(f" Example: {one.origin}." for one in found if one.origin)
    return theme.finish(
        figure,
        **captions.texts("grouping_difference", each=each, origins=origins),
        sources=[one.source for one in found],
    )


def _draw_kernels(
    figure: go.Figure, rows: dict[str, dict[str, float]], cell: dict[str, int]
) -> None:
    kernels = dict.fromkeys(kernel for parts in rows.values() for kernel in parts)
    for kernel in sorted(kernels, key=lambda name: name == "other"):
        shares = [parts.get(kernel, 0.0) for parts in rows.values()]
        name = theme.escape(families.title(kernel), 28)
        figure.add_bar(
            y=list(range(len(rows))), x=shares, orientation="h", width=0.76,
            name=name, legendgroup=kernel, showlegend=theme.is_new(figure, name),
            marker={"color": families.colour(kernel), "line": {"color": theme.HALO, "width": 1}},
            text=[name if share else "" for share in shares],
            textposition="inside", insidetextanchor="middle",
            hovertemplate="kernels called after %{fullData.name}: %{x:.2f} % of device time"
            "<extra></extra>",
            **cell,
        )  # fmt: skip
    theme.name_rows(figure, [theme.escape(families.title(name), 28) for name in rows], **cell)


def _both(one: Profiled) -> dict[str, dict[str, float]]:
    """Percent of device time by operator, then by kernel name; small operators left out."""
    total = sum(sum(parts.values()) for parts in one.by_both.values())
    rows = sorted(one.by_both.items(), key=lambda item: -sum(item[1].values()))
    return {
        operator: {kernel: 100 * value / total for kernel, value in parts.items()}
        for operator, parts in rows
        if 100 * sum(parts.values()) >= SMALL * total
    }


def _hidden(one: Profiled) -> str:
    """How much of the largest family of operators is called something else."""
    rows = _both(one)
    if not rows:
        return ""
    operator, parts = next(iter(rows.items()))
    whole, own = sum(parts.values()), parts.get(operator, 0.0)
    rest = {name: share for name, share in parts.items() if name != operator}
    if whole - own < 0.05:
        return f"In {one.title} all kernels of {families.title(operator)} are called so."
    most = sorted(rest, key=rest.__getitem__, reverse=True)[:2]
    called = listed([f"{families.title(name)} ({rest[name]:.1f} %)" for name in most])
    about = {"title": one.title, "operator": families.title(operator), "called": called}
    return captions.text("grouping_difference", "hidden", whole=whole, own=own, **about)
