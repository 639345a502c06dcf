"""Where device time goes, as numbers: by kernel name and by launching operator.

Sources are what was reported, the traces of the study's own runs, and summaries of published
traces (`scalebook.traces.trace_examples`), which show what a grouping hides.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from scalebook import results, traces
from scalebook.analysis.comparable import to_python
from scalebook.analysis.study_queries import label
from scalebook.contract import ScalebookError
from scalebook.figures.profile.families import title as pretty

PREFIX = "share."

#: The two ways to sort device time into groups, as `trace_summary` names them.
GROUPINGS = {"by_kernel": "grouped by kernel name", "by_operator": "grouped by launching operator"}
UNKNOWN = "grouping not reported"


_UNIT = re.compile(r"_(mb|gb|mib|gib|c|w|s|ms|us|percent|hours)$")

#: Groups below this share of the time are drawn together.
SMALL = 1.0


@dataclass(frozen=True)
class Breakdown:
    """Where the device time of one source went.

    Attributes
    ----------
    kind : {"measured", "reported", "example"}
        Traces of a run of this study, a report, or a published trace of something else.
    title, source : str
        What it is of, and the file.
    shares : dict of str to dict
        Percent of the device time by how it was sorted, then by group.
    by_both : dict of str to dict
        µs by family of the operator, then by that of the kernel's name.
    origin : str
        Whose trace it is, where it is not of this study.
    """

    kind: str
    title: str
    source: str
    shares: dict[str, dict[str, float]]
    by_both: dict[str, dict[str, float]] = field(default_factory=dict)
    origin: str = ""


def breakdowns() -> list[Breakdown]:
    """All breakdowns that may stand in a document: reports, own traces, published traces."""
    return [
        breakdown for breakdown in (*_reported(), *_measured(), *_examples()) if breakdown.shares
    ]


def breakdown_table() -> pd.DataFrame:
    """Shares of device time in percent: one row a group and source.

    Returns
    -------
    DataFrame
        Columns ``kind``, ``title``, ``grouping``, ``group``, ``share``, ``source``.
    """
    rows = [
        (breakdown.kind, breakdown.title, _grouped(grouping), group, share, breakdown.source)
        for breakdown in breakdowns()
        for grouping, shares in breakdown.shares.items()
        for group, share in shares.items()
    ]
    return pd.DataFrame(rows, columns=["kind", "title", "grouping", "group", "share", "source"])


def reported_use() -> pd.DataFrame:
    """What else was reported of jobs with a share of device time: memory, temperature and so on.

    Returns
    -------
    DataFrame
        Columns ``job``, ``quantity``, ``value``, ``unit``, ``source``.
    """
    values = results.reported()
    share = values["metric"].astype(str).str.startswith(PREFIX)
    rest = values[values["job_id"].isin(values[share]["job_id"]) & ~share]
    rows = [
        (row.job_id, _quantity(row.metric), f"{row.value:,.6g}", to_python(row.unit), row.source)
        for row in rest.itertuples()
    ]
    return pd.DataFrame(rows, columns=["job", "quantity", "value", "unit", "source"])


def _grouped(grouping: str) -> str:
    return "not reported" if grouping == UNKNOWN else grouping.removeprefix("grouped by ")


def _quantity(metric: str) -> str:
    """Name of a metric without the unit at its end, which has a column of its own."""
    return pretty(_UNIT.sub("", metric)).replace("gpu ", "GPU ")


def trace_table(everything: bool = False) -> pd.DataFrame:
    """Totals of each trace: one row a file.

    Parameters
    ----------
    everything : bool
        Traces of trial runs in ``results/local`` too.

    Returns
    -------
    DataFrame
        Columns ``file``, ``title``, ``steps``, then ``busy``, ``compute``, ``communication``,
        ``memory``, ``overlap``, ``idle`` in milliseconds, ``bound`` and ``verdict``; of a trace
        that cannot be read the verdict says why.
    """
    names = ("busy", "compute", "communication", "memory", "overlap", "idle")
    rows = []
    for file, summary in summaries(everything):
        row: dict[str, Any] = {"file": file, "title": trace_title(file, summary)}
        if isinstance(summary, ScalebookError):
            rows.append({**row, "bound": "cannot be read", "verdict": str(summary)})
            continue
        row |= {name: summary["time"].get(f"{name}_us", 0) / 1e3 for name in names}
        row |= {"steps": len(summary["steps"]), "bound": summary["bound"]}
        rows.append({**row, "verdict": summary["verdict"]})
    columns = ["file", "title", "steps", *names, "bound", "verdict"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


# --------------------------------------------------------------------------- sources


def summaries(everything: bool = False) -> Iterator[tuple[str, dict[str, Any] | ScalebookError]]:
    """Each trace with its summary, or with what is wrong with it.

    Parameters
    ----------
    everything : bool
        Traces of trial runs in ``results/local`` too.
    """
    for file in traces.trace_files():
        if not everything and traces.is_trial(file):
            continue
        try:
            yield file, traces.trace_summary(file)
        except ScalebookError as error:
            yield file, error


def readable(everything: bool = False) -> dict[str, dict[str, Any]]:
    """Summaries of the traces that can be read; `trace_table` names the others."""
    return {
        file: summary
        for file, summary in summaries(everything)
        if not isinstance(summary, ScalebookError)
    }


def run_title(run: str) -> str:
    """Name a traced run by experiment, system, ranks and device, or as its file is named."""
    runs = results.runs(kind="measured", stem=run)
    if len(runs) != 1:
        return run
    first = runs.iloc[0]
    device = f" ({first['device_name']})" if to_python(first["device_name"]) else ""
    ranks = f", {int(first['world_size'])} ranks" if first["world_size"] > 1 else ""
    return f"{label(first['experiment'])} on {label(first['system'], 'system')}{ranks}{device}"


def trace_title(file: str, summary: dict[str, Any] | ScalebookError) -> str:
    """Name of a trace for a reader: its run and, where it says one, its rank."""
    ranks = [] if isinstance(summary, ScalebookError) else summary["ranks"]
    rank = ranks[0]["rank"] if ranks else None
    return run_title(traces.run_of(file)) + (f", rank {rank}" if rank is not None else "")


def _measured() -> Iterator[Breakdown]:
    """Traces that are evidence, the ranks of one run added up."""
    totals: dict[str, dict[str, Any]] = {}
    for file, summary in readable().items():
        sums = {name: summary[name] for name in (*GROUPINGS, "by_both")}
        _add(totals.setdefault(traces.run_of(file), {}), sums)
    for run, sums in totals.items():
        file = f"results/profiling/{run}*"
        yield Breakdown("measured", run_title(run), file, _sorted(sums), sums["by_both"])


def _examples() -> Iterator[Breakdown]:
    for example in traces.trace_examples():
        sums = example["summary"]
        origin = (
            f"{example['source']}; {example['licence']}; {example['url']}; "
            f"summed up on {example['date']}"
        )
        by_both = sums.get("by_both", {})
        yield Breakdown(
            "example", example["title"], example["file"], _sorted(sums), by_both, origin
        )


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0.0) + float(value)


def _reported() -> Iterator[Breakdown]:
    values = results.reported()
    values = values[values["metric"].astype(str).str.startswith(PREFIX)]
    for (file, job), group in values.groupby(["source_file", "job_id"], sort=False):
        shares = {
            pretty(metric.removeprefix(PREFIX)): float(value)
            for metric, value in zip(group["metric"], group["value"])
        }
        system = to_python(group["system"].iloc[0]) if "system" in group else None
        where = f" on {label(system, 'system')}" if system else ""
        yield Breakdown("reported", f"job {job}{where}", str(file), {UNKNOWN: shares})


def _sorted(sums: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Percent of the time under each grouping; what is large under one is shown under both."""
    kept = {
        family
        for name in GROUPINGS
        for family, duration in sums[name].items()
        if 100 * duration >= SMALL * sum(sums[name].values())
    }
    found = {grouping: _shares(sums[name], kept) for name, grouping in GROUPINGS.items()}
    return {grouping: shares for grouping, shares in found.items() if shares}


def _shares(durations: dict[str, float], kept: Container[str] = ()) -> dict[str, float]:
    """Percent of the whole, largest first; what is below `SMALL` and not kept goes to other."""
    total = sum(durations.values())
    if total <= 0:
        return {}
    shares: dict[str, float] = {}
    for name, duration in sorted(durations.items(), key=lambda item: -item[1]):
        share = 100 * duration / total
        shown = pretty(name) if share >= SMALL or name in kept else "other"
        shares[shown] = shares.get(shown, 0.0) + share
    if "other" in shares:
        shares["other"] = shares.pop("other")
    return shares
