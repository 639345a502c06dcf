"""Where the time of one trace went, as one JSON-ready document."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.results import files
from scalebook.results.queries import query
from scalebook.traces import attribution, intervals, reading
from scalebook.traces.attribution import Attribution
from scalebook.traces.reading import Trace

#: Rows of ``top_kernels`` and ``top_operators``.
TOP = 15

_FOLDERS = ("results/profiling", "results/local/profiling")
_STEP = re.compile(r"ProfilerStep#(\d{1,9})")
_RANK = re.compile(r"_rank(\d{1,6})\b")


def summary(path: Path | str) -> dict[str, Any]:
    """Sum up one trace.

    Parameters
    ----------
    path : Path or str
        A trace of torch.profiler, ``.json`` or ``.json.gz``.

    Returns
    -------
    dict
        Durations in µs. Names are untrusted text: escape them where they are shown.

        ``file``, ``device`` ("gpu" or "cpu"), ``devices`` (names), ``events`` (number read),
        ``total_us``: summed duration of all GPU activities, or of all operators themselves.
        ``time``: ``span_us`` from the first to the last activity; ``busy_us``, ``compute_us``,
        ``communication_us``, ``memory_us`` as unions of intervals, ``overlap_us`` where compute
        hides communication, ``idle_us`` = span - busy. Several GPUs are added up.
        ``by_operator``: summed duration by the family of the launching operator (on a CPU: the
        operators' own time). ``by_kernel``: by the family of the kernel's name; empty on a CPU.
        ``top_kernels``, ``top_operators``: lists of name, family, calls, total_us, mean_us, share.
        ``steps``: list of step, start_us, dur_us, busy_us. ``ranks``: list of rank, world_size.
        ``dropped``: what was left out of the file, and how often. ``verdict``: one sentence or two.

    Raises
    ------
    ScalebookError
        If the file is missing, damaged, or holds nothing to sum up.
    """
    return _summed(Path(path), Path(path).name)


def _summed(path: Path, where: str) -> dict[str, Any]:
    trace = reading.read(path, where)
    parts = attribution.attribute(trace)
    gpu = not parts.gpu.empty
    if not gpu and parts.cpu.empty:
        raise ScalebookError(
            f"{where}: holds no GPU activity and no operator; was the profiler started?"
        )
    rank = trace.rank
    if rank is None:
        named = _RANK.search(path.name)
        rank = int(named[1]) if named else None
    document: dict[str, Any] = {
        "file": where,
        "device": "gpu" if gpu else "cpu",
        "devices": _devices(trace, parts) if gpu else [],
        "events": len(trace.events),
        **(_gpu(parts.gpu) if gpu else _cpu(parts.cpu)),
        "steps": _steps(trace, parts),
        "ranks": [{"rank": rank, "world_size": trace.world_size}],
        "dropped": trace.dropped,
    }
    document["verdict"] = _verdict(document)
    return document


@query
def trace_files() -> list[str]:
    """Traces in the results, local trials last, as paths relative to the study's root."""
    root = contract.find_root()
    found = []
    for name in _FOLDERS:
        folder = root / name
        here = [*folder.glob("*.json"), *folder.glob("*.json.gz")] if folder.is_dir() else []
        found += sorted(
            files.relative(path, root)
            for path in here
            if path.is_file() and not path.name.startswith(".")
        )
    return found


@query
def trace_summary(path: str) -> dict[str, Any]:
    """Sum up a trace below the study's root, as `summary` does; read once while unchanged.

    Raises
    ------
    UsageError
        If the path leads out of the study.
    ScalebookError
        As `summary`.
    """
    root = contract.find_root()
    whole = root / path
    if not whole.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path}: lies outside the study; give a path below its folder")
    if not whole.is_file():
        raise ScalebookError(f"{path}: no such file")
    return copy.deepcopy(files.unchanged(whole, _summed, Path(path).as_posix()))


# --------------------------------------------------------------------------- parts


def _gpu(gpu: pd.DataFrame) -> dict[str, Any]:
    copies = gpu["kind"].isin(["copy", "set"]).to_numpy()
    collective = (gpu["by_kernel"] == "communication").to_numpy() & ~copies
    time = dict.fromkeys(_TIMES, 0.0)
    for device in sorted(gpu["device"].unique()):
        here = (gpu["device"] == device).to_numpy()
        for key, value in _times(gpu, here, here & collective, here & copies).items():
            time[key] += value
    return {
        "total_us": round(float(gpu["dur"].sum()), 3),
        "time": _rounded(time),
        "by_operator": _sums(gpu["by_operator"], gpu["dur"]),
        "by_kernel": _sums(gpu["by_kernel"], gpu["dur"]),
        "top_kernels": _top(gpu, "name", "by_kernel", "dur"),
        "top_operators": _top(gpu, "operator", "by_operator", "dur"),
    }


def _cpu(cpu: pd.DataFrame) -> dict[str, Any]:
    outermost = cpu[cpu["outermost"]]
    collective = (outermost["family"] == "communication").to_numpy()
    copies = (outermost["family"] == "memory").to_numpy()
    everything = np.ones(len(outermost), dtype=bool)
    return {
        "total_us": round(float(cpu["self_us"].sum()), 3),
        "time": _rounded(_times(outermost, everything, collective, copies)),
        "by_operator": _sums(cpu["family"], cpu["self_us"]),
        "by_kernel": {},
        "top_kernels": [],
        "top_operators": _top(cpu, "name", "family", "self_us"),
    }


_TIMES = (
    "span_us", "busy_us", "compute_us", "communication_us", "memory_us", "overlap_us", "idle_us",
)  # fmt: skip


def _times(
    frame: pd.DataFrame, here: np.ndarray, collective: np.ndarray, copies: np.ndarray
) -> dict[str, float]:
    """Unions of intervals of the activities `here`; masks over the rows of `frame`."""
    start = frame["start"].to_numpy()
    end = start + frame["dur"].to_numpy()

    def covered(mask: np.ndarray) -> intervals.Intervals:
        return intervals.union(start[mask], end[mask])

    busy, communication = covered(here), covered(collective)
    compute = covered(here & ~collective & ~copies)
    span = float(busy[1][-1] - busy[0][0])
    values = (
        span, intervals.length(busy), intervals.length(compute), intervals.length(communication),
        intervals.length(covered(copies)), intervals.intersection(compute, communication),
        span - intervals.length(busy),
    )  # fmt: skip
    return dict(zip(_TIMES, values))


def _rounded(time: dict[str, float]) -> dict[str, float]:
    """To the nanosecond, the finest a trace records."""
    return {key: round(max(0.0, value), 3) for key, value in time.items()}


def _sums(group: pd.Series, duration: pd.Series) -> dict[str, float]:
    """Summed duration by group, longest first."""
    sums = duration.groupby(group.to_numpy()).sum()
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return {str(name): round(float(value), 3) for name, value in ordered}


def _top(frame: pd.DataFrame, name: str, family: str, duration: str) -> list[dict[str, Any]]:
    """Names with the longest summed duration; share is of all in `frame`."""
    groups = frame.groupby([name, family], sort=True)[duration].agg(["sum", "count"])
    groups = groups.sort_values("sum", ascending=False, kind="stable").head(TOP)
    total = float(frame[duration].sum()) or 1.0
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


def _steps(trace: Trace, parts: Attribution) -> list[dict[str, Any]]:
    """Steps the profiler marked, with the time something ran meanwhile."""
    marks = trace.of("annotation")
    marks = marks[marks["name"].str.startswith("ProfilerStep#")].sort_values("start")
    active = parts.cpu[parts.cpu["outermost"]] if parts.gpu.empty else parts.gpu
    start = active["start"].to_numpy()
    busy = intervals.union(start, start + active["dur"].to_numpy())
    steps = []
    for mark in marks.itertuples():
        number = _STEP.fullmatch(mark.name)
        if number:
            inside = intervals.clipped(busy, mark.start, mark.start + mark.dur)
            steps.append(
                {
                    "step": int(number[1]),
                    "start_us": round(float(mark.start), 3),
                    "dur_us": round(float(mark.dur), 3),
                    "busy_us": round(inside, 3),
                }
            )
    return steps


def _devices(trace: Trace, parts: Attribution) -> list[str]:
    """Names of the GPUs that did something; one name where the trace does not tell which."""
    used = sorted(int(device) for device in parts.gpu["device"].unique())
    names = [trace.devices[number] for number in used if 0 <= number < len(trace.devices)]
    return names or list(trace.devices[:1])


def _verdict(document: dict[str, Any]) -> str:
    """What the figures say, in a sentence or two; a start, not a diagnosis."""
    time, total = document["time"], document["total_us"] or 1.0
    span = time["span_us"] or 1.0
    what = "GPU" if document["device"] == "gpu" else "CPU"
    said = [f"{what} busy {100 * time['busy_us'] / span:.1f} % of {span / 1e6:.3f} s"]
    exposed = time["communication_us"] - time["overlap_us"]
    if exposed > 0.005 * span:
        said.append(f"waiting for communication alone {100 * exposed / span:.1f} %")
    leader, duration = next(iter(document["by_operator"].items()))
    share = 100 * duration / total
    sentence = (
        f"{', '.join(said)}. By launching operator {_plain(leader)} takes most: {share:.1f} %"
    )
    if document["by_kernel"]:
        named = 100 * document["by_kernel"].get(leader, 0.0) / total
        other, longest = next(iter(document["by_kernel"].items()))
        sentence += f" of GPU time ({named:.1f} % by kernel name"
        if other != leader:
            sentence += f", where {_plain(other)} leads with {100 * longest / total:.1f} %"
        sentence += ")"
    return sentence + "."


def _plain(family: str) -> str:
    return {"gemm": "matrix multiplication", "other": "what is in no family"}.get(
        family, family.replace("_", " ")
    )
