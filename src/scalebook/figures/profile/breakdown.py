"""`profiling_breakdown`: device time under two groupings, and what one of them hides."""

import plotly.graph_objects as go

from scalebook.analysis.study_queries import start_command
from scalebook.analysis.text import listed
from scalebook.figures import captions, registry, theme
from scalebook.figures.profile import families
from scalebook.figures.profile.shares import GROUPINGS, SMALL, UNKNOWN, Breakdown, breakdowns

#: What a row is called, by its grouping.
ROWS = {
    GROUPINGS["by_kernel"]: "by kernel<br>name",
    GROUPINGS["by_operator"]: "by<br>operator",
    UNKNOWN: "grouping<br>unknown",
}
#: Percent of a bar that a letter takes in it on a phone.
LETTER = 2.85
KINDS = {"example": "not of this study"}


@registry.figure("Where device time goes", plot=True)
def profiling_breakdown() -> go.Figure:
    """Bars of 100 % of device time: a plot a source, a bar a grouping."""
    found = breakdowns()
    if not found:
        command = start_command(profiled=True)
        return theme.empty(captions.text("profiling_breakdown", "empty", command=command))
    each = [
        f"{breakdown.title} ({breakdown.kind}), {grouping}: "
        + ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
        for breakdown in found
        for grouping, shares in breakdown.shares.items()
    ]
    return theme.finish(
        _draw_groupings(found),
        alt=f"Bar chart of device time. {'; '.join(each)}.",
        caption=f"Largest named group: {'; '.join(filter(None, map(_largest, found)))}.",
        details=_details(found),
        sources=[breakdown.source for breakdown in found],
    )


def _draw_groupings(found: list[Breakdown]) -> go.Figure:
    rows = [len(breakdown.shares) for breakdown in found]
    figure = theme.stacked(rows, list(map(_title, found)), bar=42, gap=44)
    # What was reported is hatched, and comes last: a legend has the look of the first.
    for row, breakdown in sorted(enumerate(found, 1), key=lambda item: item[1].kind == "reported"):
        for place, shares in enumerate(breakdown.shares.values()):
            _draw_shares(figure, place, breakdown.kind, shares, {"row": row, "col": 1})
    for row, breakdown in enumerate(found, 1):
        cell = {"row": row, "col": 1}
        theme.name_rows(figure, [ROWS[grouping] for grouping in breakdown.shares], **cell)
        figure.update_xaxes(
            range=[0, 100],
            showgrid=False,
            zeroline=False,
            showticklabels=row == len(found),
            ticks="outside" if row == len(found) else "",
            **cell,
        )
    figure.update_xaxes(title_text="share of device time (%)", row=len(found), col=1)
    inner = figure.layout.height - theme.MARGIN["t"] - theme.MARGIN["b"]
    theme.leave_room(figure, inner, top=64)
    return figure.update_layout(barmode="stack")


def _title(breakdown: Breakdown) -> str:
    return (
        f"<b>{KINDS.get(breakdown.kind, breakdown.kind)}: {theme.escape(breakdown.title, 60)}</b>"
    )


def _part_text(name: str, share: float) -> str:
    """What is written into a part of a bar: as much as it has room for."""
    number = f"{share:.0f} %"
    fitting = [text for text in (f"{name} {number}", number) if share >= LETTER * len(text)]
    return fitting[0] if fitting else ""


def _draw_shares(
    figure: go.Figure, place: int, kind: str, shares: dict[str, float], cell: dict[str, int]
) -> None:
    """A bar of 100 %: a part a group, named where it has the room."""
    for group, share in shares.items():
        name = theme.escape(group, 28)
        hue = families.colour_of_title(group)
        marker = theme.bar_marker(hue, kind)
        if "pattern" in marker:  # letters have to be read on it
            marker["pattern"] |= {"bgcolor": theme.HALO, "solidity": 0.12}
        else:
            marker["line"] = {"color": theme.HALO, "width": 1}
        figure.add_bar(
            y=[place],
            x=[share],
            orientation="h",
            width=0.94,
            marker=marker,
            text=[_part_text(name, share)],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
            insidetextfont_color=theme.MARK if kind == "reported" else None,
            name=name,
            legendgroup=name,
            legendrank=1000 + list(families.COLOURS.values()).index(hue),
            showlegend=theme.is_new(figure, name),
            hovertemplate="%{fullData.name}: %{x:.1f} % of device time<extra></extra>",
            **cell,
        )


def _details(found: list[Breakdown]) -> str:
    kinds = {
        kind: [breakdown for breakdown in found if breakdown.kind == kind]
        for kind in ("measured", "reported", "example")
    }
    sentences = [_message(breakdown) for breakdown in found]
    sentences += ["Share of device time by kind of work, in percent."]
    if any(len(breakdown.shares) == len(GROUPINGS) for breakdown in found):
        sentences.append(captions.text("profiling_breakdown", "hidden"))
    if any(len(breakdown.shares) == 1 for breakdown in found if UNKNOWN not in breakdown.shares):
        sentences.append(captions.text("profiling_breakdown", "no kernels"))
    if kinds["measured"]:
        sentences.append(
            f"Measured: {', '.join(breakdown.source for breakdown in kinds['measured'])}."
        )
    if kinds["example"]:
        sentences.append(
            f"Example: {'; '.join(breakdown.origin for breakdown in kinds['example'])}."
        )
    if kinds["reported"]:
        titles = ", ".join(dict.fromkeys(breakdown.title for breakdown in kinds["reported"]))
        sentences.append(captions.text("profiling_breakdown", "reported", titles=titles))
    if not kinds["measured"]:
        sentences.append(captions.text("profiling_breakdown", "no trace"))
    return " ".join(sentence for sentence in sentences if sentence)


def _leader(shares: dict[str, float]) -> str | None:
    """The largest named group; None where there is none."""
    return max((name for name in shares if name != "other"), key=shares.__getitem__, default=None)


def _largest(breakdown: Breakdown) -> str:
    """The largest named group of a source, by the operator that launched where that is known."""
    shares = list(breakdown.shares.values())[-1]
    name = _leader(shares)
    return f"{name} {shares[name]:.0f} % ({breakdown.title})" if name else ""


def _message(breakdown: Breakdown) -> str:
    """The largest named group of a source, under each grouping."""
    parts = []
    for grouping, shares in breakdown.shares.items():
        largest = _leader(shares)
        if largest is None:
            continue
        parts.append(
            f"{grouping}, {largest} is the largest named group with {shares[largest]:.1f} %"
        )
        if shares.get("other", 0) > shares[largest]:
            parts[-1] += f", but {shares['other']:.1f} % is in no named group"
    if not parts:
        return ""
    kind = KINDS.get(breakdown.kind, breakdown.kind)
    return f"{breakdown.title[:1].upper()}{breakdown.title[1:]} ({kind}): {'; '.join(parts)}."


# --------------------------------------------------------------------------- the difference


@registry.figure("Which kernels the operators run in")
def grouping_difference() -> go.Figure:
    """What each operator's time is called by kernel name: one stacked bar a family of operators."""
    found = [breakdown for breakdown in breakdowns() if any(breakdown.by_both.values())]
    if not found:
        return theme.empty(captions.text("grouping_difference", "empty"))
    shown = [_both(breakdown) for breakdown in found]
    figure = theme.stacked([len(rows) for rows in shown], list(map(_title, found)), bar=30, gap=56)
    for row, shares in enumerate(shown, 1):
        _draw_kernels(figure, shares, {"row": row, "col": 1})
    figure.update_xaxes(title_text="share of device time (%)", row=len(found), col=1)
    inner = figure.layout.height - theme.MARGIN["t"] - theme.MARGIN["b"]
    theme.leave_room(figure, inner, top=theme.MARGIN["t"])
    figure.update_layout(
        barmode="stack",
        uniformtext={"minsize": 11, "mode": "hide"},
        legend_title={"text": "by kernel<br>name", "font": {"size": 13}},
    )
    each = " ".join(map(_hidden, found))
    origins = "".join(f" Example: {breakdown.origin}." for breakdown in found if breakdown.origin)
    return theme.finish(
        figure,
        **captions.texts("grouping_difference", each=each, origins=origins),
        sources=[breakdown.source for breakdown in found],
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


def _both(breakdown: Breakdown) -> dict[str, dict[str, float]]:
    """Percent of device time by operator, then by kernel name; small operators left out."""
    total = sum(sum(parts.values()) for parts in breakdown.by_both.values())
    rows = sorted(breakdown.by_both.items(), key=lambda item: -sum(item[1].values()))
    return {
        operator: {kernel: 100 * value / total for kernel, value in parts.items()}
        for operator, parts in rows
        if 100 * sum(parts.values()) >= SMALL * total
    }


def _hidden(breakdown: Breakdown) -> str:
    """How much of the largest family of operators is called something else."""
    rows = _both(breakdown)
    if not rows:
        return ""
    operator, parts = next(iter(rows.items()))
    whole, own = sum(parts.values()), parts.get(operator, 0.0)
    rest = {name: share for name, share in parts.items() if name != operator}
    if whole - own < 0.05:
        return f"In {breakdown.title} all kernels of {families.title(operator)} are called so."
    most = sorted(rest, key=rest.__getitem__, reverse=True)[:2]
    called = listed([f"{families.title(name)} ({rest[name]:.1f} %)" for name in most])
    about = {"title": breakdown.title, "operator": families.title(operator), "called": called}
    return captions.text("grouping_difference", "hidden", whole=whole, own=own, **about)
