"""`profiling_breakdown`: where device time goes, by kernel name and by launching operator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd
import plotly.graph_objects as go

from scalebook import results, traces
from scalebook.analysis.comparable import plain
from scalebook.contract import ScalebookError
from scalebook.figures import theme

TITLE = "Where device time goes"
PREFIX = "share."

#: The two ways to sort device time into groups, as `trace_summary` names them.
GROUPINGS = {"by_kernel": "grouped by kernel name", "by_operator": "grouped by launching operator"}

#: Columns of `breakdown_table` and `trace_table` for a reader, with units.
BREAKDOWN_HEADERS = {
    "kind": "kind",
    "title": "of",
    "grouping": "grouping",
    "group": "kind of work",
    "share": "share of device time (%)",
}
TRACE_HEADERS = {
    "file": "trace",
    "steps": "steps",
    "busy": "busy (ms)",
    "compute": "compute (ms)",
    "communication": "communication (ms)",
    "memory": "memory (ms)",
    "overlap": "overlap (ms)",
    "idle": "idle (ms)",
    "verdict": "verdict",
}

#: Groups below this share of the time are drawn together.
SMALL = 1.0


@dataclass(frozen=True)
class Breakdown:
    """Shares of device time from one source, under one grouping.

    Attributes
    ----------
    kind : {"measured", "reported"}
        A trace that is here, or a report.
    title, grouping, source : str
        What it is of, how time was sorted, and the file.
    shares : dict of str to float
        Percent of the device time by group.
    """

    kind: str
    title: str
    grouping: str
    source: str
    shares: dict[str, float]


def breakdowns() -> list[Breakdown]:
    """All breakdowns that may stand in a document: reported ones, then those of traces."""
    return [*_reported(), *_traced()]


def breakdown_table() -> pd.DataFrame:
    """Shares of device time in percent: one row a group and source.

    Returns
    -------
    DataFrame
        Columns ``kind``, ``title``, ``grouping``, ``group``, ``share``, ``source``.
    """
    rows = [
        (one.kind, one.title, one.grouping, group, share, one.source)
        for one in breakdowns()
        for group, share in one.shares.items()
    ]
    return pd.DataFrame(rows, columns=["kind", "title", "grouping", "group", "share", "source"])


def reported_use() -> pd.DataFrame:
    """What else was reported of the jobs whose device time was: memory, temperature and so on.

    Returns
    -------
    DataFrame
        Columns ``job``, ``quantity``, ``value``, ``unit``, ``source``.
    """
    values = results.reported()
    share = values["metric"].astype(str).str.startswith(PREFIX)
    rest = values[values["job_id"].isin(values[share]["job_id"]) & ~share]
    rows = [
        (row.job_id, _pretty(row.metric), f"{row.value:,.6g}", plain(row.unit), row.source)
        for row in rest.itertuples()
    ]
    return pd.DataFrame(rows, columns=["job", "quantity", "value", "unit", "source"])


def trace_table(everything: bool = False) -> pd.DataFrame:
    """What each trace says in whole: one row a file.

    Parameters
    ----------
    everything : bool
        Traces of trial runs in ``results/local`` too.

    Returns
    -------
    DataFrame
        Columns ``file``, ``steps``, then ``busy``, ``compute``, ``communication``, ``memory``,
        ``overlap``, ``idle`` in milliseconds, and ``verdict``.
    """
    names = ("busy", "compute", "communication", "memory", "overlap", "idle")
    rows = []
    for file in traces.trace_files():
        if not everything and "local" in PurePosixPath(file).parts[:2]:
            continue
        try:
            summary = traces.trace_summary(file)
        except ScalebookError as error:
            rows.append({"file": file, "verdict": str(error)})
            continue
        times = {name: summary["time"].get(f"{name}_us", 0) / 1e3 for name in names}
        steps = summary.get("steps")
        steps = len(steps) if isinstance(steps, (list, tuple, dict)) else steps
        rows.append({"file": file, "steps": steps, **times, "verdict": summary.get("verdict")})
    return pd.DataFrame(rows, columns=["file", "steps", *names, "verdict"])


def profiling_breakdown(found: list[Breakdown] | None = None) -> go.Figure:
    """Bars of the share of device time, one plot for each source and grouping.

    Parameters
    ----------
    found : list of Breakdown, optional
        What to draw; all that may stand in a document where left out.
    """
    found = breakdowns() if found is None else found
    if not found:
        return theme.empty(
            TITLE, "No profile yet: record one with `scalebook run profile`, or drop a trace into "
            "results/profiling/.",
        )  # fmt: skip
    figure = theme.stacked(
        [len(one.shares) for one in found], [_title(one) for one in found], bar=27, gap=68
    )
    top = max(share for one in found for share in one.shares.values())
    for row, one in enumerate(found, 1):
        names = list(one.shares)
        figure.add_bar(
            y=[theme.escape(name, 28) for name in names],
            x=list(one.shares.values()),
            orientation="h",
            marker=theme.bar_marker(theme.PALETTE[0], one.kind),
            text=[f"{share:.1f} %" for share in one.shares.values()],
            textposition="outside",
            cliponaxis=False,
            showlegend=False,
            hovertemplate="%{y}: %{x:.1f} % of device time<extra></extra>",
            row=row,
            col=1,
        )
        figure.update_yaxes(autorange="reversed", type="category", showgrid=False, row=row, col=1)
        figure.update_xaxes(
            range=[0, 1.15 * top], showgrid=False, showticklabels=row == len(found), row=row, col=1
        )
    figure.update_xaxes(title_text="share of device time (%)", row=len(found), col=1)
    said = [
        f"{one.title} ({one.kind}), {one.grouping}: "
        + ", ".join(f"{name} {share:.1f} %" for name, share in one.shares.items())
        for one in found
    ]
    return theme.finish(
        figure,
        TITLE,
        alt=f"Bar chart of device time. {'; '.join(said)}.",
        caption=_caption(found),
        sources=[one.source for one in found],
    )


def _caption(found: list[Breakdown]) -> str:
    measured = [one for one in found if one.kind == "measured"]
    reported = [one for one in found if one.kind == "reported"]
    said = f"{_message(found)}Share of device time by kind of work, in percent. "
    if measured:
        said += (
            "Kernel names hide who launched them: the matrix products and gradient kernels of a "
            "convolution count as other groups by name, and as convolution by operator. "
        )
        said += f"Measured: {', '.join(dict.fromkeys(one.source for one in measured))}. "
    if reported:
        titles = ", ".join(dict.fromkeys(one.title for one in reported))
        said += f"Reported and not verified: {titles}. How it was grouped was not reported. "
    if not measured:
        said += (
            "No trace is in results/profiling/ yet, so whether the largest named group is the "
            "bottleneck is undetermined."
        )
    return said.strip()


def _message(found: list[Breakdown]) -> str:
    """What the figure shows: the largest group of each source, and how grouping changes it."""
    said = []
    for one in found:
        named = {name: share for name, share in one.shares.items() if name != "other"}
        if not named:
            continue
        largest = max(named, key=named.get)
        said.append(
            f"In {one.title} ({one.kind}, {one.grouping}) the largest named group is {largest} "
            f"with {named[largest]:.1f} %"
        )
        if one.shares.get("other", 0) > named[largest]:
            said[-1] += f", but {one.shares['other']:.1f} % is in no named group"
    return "".join(f"{sentence}. " for sentence in said)


def _title(one: Breakdown) -> str:
    return f"<b>{one.kind}: {theme.escape(one.title, 60)}</b><br>{theme.escape(one.grouping, 60)}"


def _reported() -> list[Breakdown]:
    values = results.reported()
    values = values[values["metric"].astype(str).str.startswith(PREFIX)]
    found = []
    for (file, job), group in values.groupby(["source_file", "job_id"], sort=False):
        shares = {
            _pretty(metric.removeprefix(PREFIX)): float(value)
            for metric, value in zip(group["metric"], group["value"])
        }
        system = plain(group["system"].iloc[0]) if "system" in group else None
        where = f" on {system}" if system else ""
        found.append(
            Breakdown("reported", f"job {job}{where}", "grouping not reported", str(file), shares)
        )
    return found


def _traced() -> list[Breakdown]:
    """Breakdowns of the traces that are evidence; ranks of one run are added up."""
    totals: dict[str, dict[str, dict[str, float]]] = {}
    for file in traces.trace_files():
        if "local" in PurePosixPath(file).parts[:2]:
            continue
        try:
            summary = traces.trace_summary(file)
        except ScalebookError:
            # `trace_table` names the file and what is wrong with it.
            continue
        run = PurePosixPath(file).name.split(".")[0].rsplit("_rank", 1)[0]
        for grouping in GROUPINGS:
            groups = totals.setdefault(run, {}).setdefault(grouping, {})
            for name, duration in summary.get(grouping, {}).items():
                groups[name] = groups.get(name, 0.0) + float(duration)
    return [
        Breakdown("measured", _named(run), GROUPINGS[grouping], f"results/profiling/{run}*", shares)
        for run, groupings in totals.items()
        for grouping, groups in groupings.items()
        if (shares := _shares(groups))
    ]


def _named(run: str) -> str:
    """Name a traced run by experiment, system and device; by its file where it has no manifest."""
    known = results.runs(kind="measured", stem=run)
    if len(known) != 1:
        return run
    one = known.iloc[0]
    device = f" ({one['device_name']})" if plain(one["device_name"]) else ""
    return f"{one['experiment']} on {one['system']}{device}"


def _shares(durations: dict[str, float]) -> dict[str, float]:
    """Percent of the whole, largest first; what is below `SMALL` goes to other."""
    total = sum(durations.values())
    if total <= 0:
        return {}
    shares: dict[str, float] = {}
    for name, duration in sorted(durations.items(), key=lambda item: -item[1]):
        share = 100 * duration / total
        title = _pretty(name) if share >= SMALL else "other"
        shares[title] = shares.get(title, 0.0) + share
    if "other" in shares:
        shares["other"] = shares.pop("other")
    return shares


def _pretty(name: str) -> str:
    known = {"gemm": "GEMM", "nccl": "NCCL"}
    return known.get(name.lower(), name.replace("_", " "))
