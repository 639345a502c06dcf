"""The ranks of one job against each other: load, waiting, and who is waited for."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from scalebook import traces
from scalebook.analysis.headers import COLLECTIVE_HEADERS
from scalebook.contract import ScalebookError
from scalebook.figures import captions, registry, theme
from scalebook.figures.profile import families
from scalebook.figures.profile.shares import run_title

#: Most ranks drawn: those that wait or are waited for longest.
MOST = 24


_PARTS = {
    "compute_us": ("compute", theme.PALETTE[0], ""),
    "exposed_us": ("communication alone", families.COLOURS["communication"], "."),
    "idle_us": ("idle", theme.GREY, "x"),
}
_WAITS = {
    "wait_us": ("waits for others", theme.PALETTE[4], "/"),
    "awaited_us": ("others wait for it", theme.PALETTE[1], ""),
}


def job_of(files: Sequence[str]) -> dict[str, Any] | ScalebookError | None:
    """Sum up traces as ranks of one job; None for fewer than two, or why it is not possible."""
    if len(files) < 2:
        return None
    try:
        return traces.trace_job(list(files))
    except ScalebookError as error:
        return error


@registry.figure("Ranks of one job")
def rank_comparison(files: Sequence[str]) -> go.Figure:
    """Bars of a mean step for each rank, and of the waiting in its collectives.

    Parameters
    ----------
    files : sequence of str
        Traces of the ranks of one job; a sentence is drawn for fewer than two.
    """
    job = job_of(files)
    if job is None:
        return theme.empty(captions.text("rank_comparison", "empty"))
    if isinstance(job, ScalebookError):
        return theme.empty(str(job))
    ranks = sorted(job["ranks"], key=lambda rank: -(rank["wait_us"] + rank["awaited_us"]))[:MOST]
    ranks.sort(key=lambda rank: rank["rank"])
    left_out = len(job["ranks"]) - len(ranks)
    heads = ["a mean step (ms)", "waiting in collectives (ms a step)"]
    figure = theme.subplots(1, 2, heads, horizontal_spacing=0.08)
    for column, parts in enumerate((_PARTS, _WAITS), 1):
        cell = {"row": 1, "col": column}
        for name, (title, hue, shape) in parts.items():
            figure.add_bar(
                y=list(range(len(ranks))),
                x=[rank[name] / 1e3 for rank in ranks],
                orientation="h",
                name=title,
                offsetgroup=name if column == 2 else "step",
                marker=theme.part_marker(hue, shape),
                base=_base(ranks, name) if column == 1 else None,
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"rank {rank['rank']}: {title} {families.ms(rank[name])}" for rank in ranks
                ],
                **cell,
            )
        names = [_label(rank) for rank in ranks]
        theme.name_rows(figure, names, showticklabels=column == 1, **cell)
        figure.update_xaxes(rangemode="tozero", **cell)
    theme.leave_room(figure, 44 * max(2, len(ranks)), top=84, legend=34)
    figure.update_layout(barmode="group", bargap=0.3)
    each = "; ".join(map(_sentence, ranks))
    more = f" {left_out} ranks that wait less are not drawn." if left_out else ""
    return theme.finish(
        figure,
        f"Ranks of one job: {theme.escape(run_title(traces.run_of(files[0])), 50)}",
        **captions.texts("rank_comparison", each=each, verdict=job["verdict"], left_out=more),
        sources=list(files),
    )


def collective_table(files: Sequence[str]) -> pd.DataFrame:
    """Collectives of a job by kind and size, as `scalebook.traces.get_collective_summary`."""
    job = job_of(files)
    rows = job["collectives"] if isinstance(job, dict) else []
    table = pd.DataFrame(rows, columns=[*COLLECTIVE_HEADERS, "complete"])
    # Where a rank's trace is missing the last to come may be missing too.
    rates = zip(table["busbw_gb_s"], table["complete"])
    return table.assign(busbw_gb_s=[_rate(rate, bool(whole)) for rate, whole in rates])


def _rate(rate: float | None, complete: bool) -> str:
    if rate is None or rate != rate:
        return "unknown"
    return f"{'' if complete else '≥ '}{rate:,.3g}"


def _base(ranks: list[dict[str, Any]], name: str) -> list[float]:
    """Where a part of the stacked step begins: after the parts before it."""
    before = list(_PARTS)[: list(_PARTS).index(name)]
    return [sum(rank[part] for part in before) / 1e3 for rank in ranks]


def _label(rank: dict[str, Any]) -> str:
    return f"rank {rank['rank']}{'<br>straggler' if rank['straggler'] else ''}"


def _sentence(rank: dict[str, Any]) -> str:
    parts = ("step", "compute", "exposed", "idle", "wait", "awaited")
    times = {part: families.ms(rank[f"{part}_us"]) for part in parts}
    return captions.text("rank_comparison", "sentence", rank=rank["rank"], **times)
