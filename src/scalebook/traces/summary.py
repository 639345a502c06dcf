"""Where the time of one trace went, as one JSON-ready document."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.traces import (
    breakdown,
    launches,
    memory,
    ranks,
    reading,
    speed,
    times,
    verdict,
)
from scalebook.traces.attribution import attribute
from scalebook.traces.peaks import Peak, get_overhead, get_run_peak
from scalebook.traces.trace import Trace

#: Rows of ``top_kernels``, ``top_operators``, ``by_module`` and ``roofline``.
TOP = 15


def summary(path: Path | str, peak: Peak | None = None) -> dict[str, Any]:
    """Sum up one trace.

    Parameters
    ----------
    path : Path or str
        A trace of torch.profiler, ``.json`` or ``.json.gz``.
    peak : Peak, optional
        What the device can do; where left out that of a GPU by its name, that of a CPU where the
        run measured it. See `measured_cpu` for that of the CPU here.

    Returns
    -------
    dict
        Durations in µs; None for what is not known. Names are untrusted text: escape them where
        they are shown.

        ``file``, ``device`` ("gpu" or "cpu"), ``devices`` (names), ``events`` (number read),
        ``total_us``: summed duration of all GPU activities, or of all operators themselves.
        ``time``: ``span_us`` from the first to the last activity; ``busy_us``, ``compute_us``,
        ``communication_us``, ``memory_us`` as unions of intervals, ``overlap_us`` where compute
        hides communication, ``idle_us`` = span - busy. Several GPUs are added up.
        ``idle``: ``host_us``, ``gap_us``, ``rest_us``, ``input_us``, see `get_time`.
        ``by_operator``: summed duration by the family of the launching operator (on a CPU: the
        operators' own time). ``by_kernel``: by the family of the kernel's name; empty on a CPU.
        Where no operator says it the kernel's name does, for ``by_name_us`` in all.
        ``by_both``: of each family of operators, the families of its kernels' names.
        ``by_phase``, ``by_module`` (the longest): the same by phase and module.
        ``top_kernels``, ``top_operators``: lists of name, family, calls, total_us, mean_us, share.
        ``steps``: list of step, start_us, dur_us (on the host), span_us, busy_us, compute_us,
        communication_us, exposed_us, idle_us (on the device), warm_up.
        ``launch``: see `get_launch_summary`; ``memory``: see `get_memory_peak`; ``speed``: see
        `get_speed_summary`, with ``memory_bound_share`` (of the best times) and ``efficiency``
        (best times over times); ``roofline``: the longest of `get_speed`; ``peak``: what the device
        can do: device, tflops (by precision), memory_gb_s, source, date. Empty, or None, where
        not recorded.
        ``ranks``: list of rank, world_size.
        ``profiler``: what recording cost the run, see `get_overhead`; None where it is not told.
        ``dropped``: what was left out of the file, and how often; ``not_read``: events
        of other categories, by category (untrusted text). ``notices``: what is odd in it,
        see `get_notices`. ``bound`` and ``verdict``: what
        holds the run up, in a word and in a paragraph.

    Raises
    ------
    ScalebookError
        If the file is missing, damaged, or holds nothing to sum up.
    """
    return _of_run(Path(path), reading.read(Path(path)), peak)


def _of_run(path: Path, trace: Trace, peak: Peak | None) -> dict[str, Any]:
    answer = document(trace, path.name, peak or get_run_peak(path))
    answer["profiler"] = get_overhead(path)
    return answer


def document(trace: Trace, where: str, peak: Peak | None = None) -> dict[str, Any]:
    """Sum up a trace that was read; `where` names it. See `summary`."""
    parts = attribute(trace)
    gpu, work = parts.on_gpu, parts.work
    if work.empty:
        raise ScalebookError(f"{where}: holds no GPU activity and no operator{_why_nothing(trace)}")
    table = times.get_time(trace)
    whole = table.iloc[-1]
    answer: dict[str, Any] = {
        "file": where,
        "device": "gpu" if gpu else "cpu",
        "devices": _devices(trace, parts.gpu) if gpu else [],
        "events": len(trace.events),
        "total_us": round(float(work["time"].sum()), 3),
        "time": {key: round(float(whole[key]), 3) for key in times.TIMES},
        "idle": {key: round(float(whole[key]), 3) for key in times.IDLE},
        "by_operator": _sums(trace, "family"),
        "by_kernel": _sums(trace, "kernel_family"),
        "by_name_us": round(float(parts.gpu["dur"][parts.gpu["by_name"]].sum()), 3),
        "by_both": _both(parts.gpu),
        "by_phase": _sums(trace, "phase"),
        "by_module": _sums(trace, "module", TOP),
        "top_kernels": _top(work, "name", "by_kernel") if gpu else [],
        "top_operators": _top(work, "operator" if gpu else "name", "by_operator"),
        "steps": records(table[table["step"] >= 0][_STEP_COLUMNS]),
        "launch": records(launches.get_launch_summary(trace)) if gpu else [],
        "memory": records(memory.get_memory_peak(trace)),
        **_speed(trace, peak),
        "ranks": [{"rank": ranks.rank_of(trace, Path(where).name), "world_size": trace.world_size}],
        "dropped": trace.dropped,
        "not_read": trace.not_read,
        "notices": launches.get_notices(trace),
        "profiler": None,
    }
    answer["bound"] = verdict.bound(answer)
    answer["verdict"] = verdict.verdict(answer)
    return answer


_STEP_COLUMNS = [
    "step", "start_us", "dur_us", "busy_us", "span_us", "compute_us", "communication_us",
    "exposed_us", "idle_us", "warm_up",
]  # fmt: skip


def summaries(paths: Sequence[Path | str], peak: Peak | None = None) -> dict[str, Any]:
    """Sum up several traces, and the job they are the ranks of.

    Returns
    -------
    dict
        ``files``: the answer of `summary` for each, with this peak. ``job``: None where they are
        not ranks of one job, as ``job_problem`` says; else ``ranks`` (see `get_ranks`),
        ``collectives`` (see `get_collective_summary`), ``load_balance`` (mean compute over the
        longest) and ``verdict``.
    """
    found = [Path(path) for path in paths]
    traces = [reading.read(path) for path in found]
    answer: dict[str, Any] = {
        "files": [_of_run(path, trace, peak) for trace, path in zip(traces, found)],
        "job": None,
        "job_problem": None,
    }
    try:
        answer["job"] = job(
            ranks.as_job([(path.name, trace) for path, trace in zip(found, traces)])
        )
    except ScalebookError as error:
        answer["job_problem"] = str(error)
    return answer


def write_tables(paths: Sequence[Path | str], folder: Path) -> list[str]:
    """Write the tables behind a summary as CSV: those of each trace, and of the job they are.

    Returns
    -------
    list of str
        Names of the files, ``<trace>_<table>.csv`` and ``job_<table>.csv``. Names in them are
        untrusted text.

    Raises
    ------
    ScalebookError
        If a trace cannot be read, or a file not be written.
    """
    found = [Path(path) for path in paths]
    traces = [reading.read(path) for path in found]
    tables: dict[str, pd.DataFrame] = {}
    for path, trace in zip(found, traces):
        peak = get_run_peak(path)
        stem = path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".pt.trace")
        tables |= {
            f"{stem}_time": times.get_time(trace),
            **{
                f"{stem}_by_{grouping}": breakdown.get_breakdown(trace, grouping)
                for grouping in breakdown.GROUPS
            },
            f"{stem}_roofline": speed.get_speed(trace, peak),
            f"{stem}_launches": launches.get_launches(trace),
            f"{stem}_queue": launches.get_queue(trace),
            f"{stem}_memory": memory.get_memory(trace),
        }
    if len(found) > 1:
        members = ranks.as_job([(path.name, trace) for path, trace in zip(found, traces)])
        tables["job_ranks"] = ranks.get_ranks(members)
        tables["job_collectives"] = ranks.get_collectives(members)
    try:
        for name, table in tables.items():
            contract.write_whole(folder / f"{name}.csv", table.to_csv(index=False))
    except OSError as error:
        raise ScalebookError(f"{folder.name}: cannot be written ({error.strerror})") from None
    return [f"{name}.csv" for name in tables]


def job(members: dict[int, Trace]) -> dict[str, Any]:
    """Sum up the ranks of one job; see ``job`` of `summaries`."""
    table = ranks.get_ranks(members)
    answer = {
        "ranks": records(table),
        "collectives": records(ranks.get_collective_summary(members)),
        "load_balance": round(
            float(table["compute_us"].mean() / max(table["compute_us"].max(), 1e-9)), 6
        ),
    }
    answer["verdict"] = verdict.job_verdict(answer)
    return answer


def diff(before: Path | str, after: Path | str, by: str = "operator") -> dict[str, Any]:
    """What changed from one trace to another, per step.

    Returns
    -------
    dict
        ``before``, ``after`` (names of the files), ``by``, ``times`` (rows of
        `get_diff_times`) and ``changes`` (rows of `get_diff`).
    """
    first, second = reading.read(Path(before)), reading.read(Path(after))
    return {
        "before": Path(before).name,
        "after": Path(after).name,
        "by": by,
        "times": records(breakdown.get_diff_times(first, second)),
        "changes": records(breakdown.get_diff(first, second, by)),
    }


# --------------------------------------------------------------------------- parts


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table for JSON: plain values to six digits, None for what is not known."""
    return [
        {name: _plain(value) for name, value in zip(table.columns, row)}
        for row in table.itertuples(index=False, name=None)
    ]


def _plain(value: Any) -> Any:
    value = getattr(value, "item", lambda: value)()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(value, 3) if abs(value) >= 1 else float(f"{value:.6g}")
    return value


def _why_nothing(trace: Trace) -> str:
    """Why a trace has nothing to sum up, to end the sentence that says so."""
    known = {f"of category {name!r}"[:80]: count for name, count in trace.not_read.items()}
    left = [f"{count:,} {reason}" for reason, count in (trace.dropped | known).items()]
    if not left:
        return "; was the profiler started?"
    return f"; left out: {'; '.join(left[:5])}. Is it a trace of torch.profiler?"


def _speed(trace: Trace, peak: Peak | None) -> dict[str, Any]:
    """Speed of light, where shapes were recorded."""
    peak = peak or speed.get_peak(trace)
    table = speed.get_speed(trace, peak)
    known = table[table["flops"].notna()]
    if known.empty:
        return {"speed": None, "roofline": [], "peak": None}
    best = known["best_us"].sum()
    limited = known["best_us"][known["bound"] == "memory"].sum()
    row = records(speed.summed(trace, peak, table))[0]
    row["efficiency"] = _plain(float(best / known["time_us"].sum())) if best > 0 else None
    row["memory_bound_share"] = _plain(float(limited / best)) if best > 0 else None
    ability = dataclasses.asdict(peak) if peak else None
    return {"speed": row, "roofline": records(known.head(TOP)), "peak": ability}


def _sums(trace: Trace, by: str, most: int | None = None) -> dict[str, float]:
    """Summed duration by group, longest first."""
    table = breakdown.get_breakdown(trace, by)
    rows = zip(table["group"][:most], table["total_us"][:most])
    return {str(name): round(float(value), 3) for name, value in rows}


def _both(gpu: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Summed duration by family of the operator, and within it by that of the kernel's name."""
    answer: dict[str, dict[str, float]] = {}
    sums = gpu["dur"].groupby([gpu["by_operator"], gpu["by_kernel"]]).sum()
    for (operator, kernel), value in sums.sort_values(ascending=False, kind="stable").items():
        answer.setdefault(str(operator), {})[str(kernel)] = round(float(value), 3)
    return answer


def _top(frame: pd.DataFrame, name: str, family: str) -> list[dict[str, Any]]:
    """Names with the longest summed duration; share is of all in `frame`."""
    keys = [frame[name].astype(object).to_numpy(), frame[family].to_numpy()]
    groups = frame["time"].groupby(keys, sort=True).agg(["sum", "count"])
    groups = groups.sort_values("sum", ascending=False, kind="stable").head(TOP)
    total = float(frame["time"].sum()) or 1.0
    return [
        {
            "name": str(key[0]),
            "family": str(key[1]),
            "calls": int(row["count"]),
            "total_us": round(float(row["sum"]), 3),
            "mean_us": round(float(row["sum"] / row["count"]), 3),
            "share": round(float(row["sum"] / total), 6),
        }
        for key, row in groups.iterrows()
    ]


def _devices(trace: Trace, gpu: pd.DataFrame) -> list[str]:
    """Names of the GPUs that did something; one name where the trace does not tell which."""
    used = sorted(int(device) for device in gpu["device"].unique())
    known = {device["id"]: device["name"] for device in trace.devices}
    names = [known[number] for number in used if number in known]
    return names or list(known.values())[:1]
