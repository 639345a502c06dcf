"""Questions that notebooks ask about the traces of the study."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.results import files
from scalebook.results.queries import query
from scalebook.traces import (
    breakdown,
    launches,
    memory,
    ranks,
    reading,
    speed,
    timeline,
    times,
)
from scalebook.traces.of_run import get_overhead, get_run_peak
from scalebook.traces.peaks import Peak
from scalebook.traces.summary import document, job
from scalebook.traces.trace import Trace

#: Analyses of one trace by name, for `trace_analysis`.
ANALYSES: dict[str, Callable[[Trace], pd.DataFrame]] = {
    "attribution": breakdown.get_attribution,
    "time": times.get_time,
    "launches": launches.get_launches,
    "launch_summary": launches.get_launch_summary,
    "memory": memory.get_memory,
    "memory_peak": memory.get_memory_peak,
    "timeline": timeline.get_timeline,
}
#: Those that hold a trace against what its device can do.
AGAINST_PEAK: dict[str, Callable[[Trace, Peak | None], pd.DataFrame]] = {
    "speed": speed.get_speed,
    "speed_summary": speed.get_speed_summary,
}


@query
def trace_files() -> list[str]:
    """Traces in the results, local trials last, as paths relative to the study's root."""
    root = contract.find_root()
    found = []
    for name in (contract.EVIDENCE, contract.TRIALS):
        folder = root / name / "profiling"
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
    whole = _inside(path)
    answer = copy.deepcopy(
        files.unchanged(whole, _summed, Path(path).as_posix(), get_run_peak(whole))
    )
    answer["profiler"] = get_overhead(whole)
    return answer


@query
def trace_analysis(path: str, analysis: str) -> pd.DataFrame:
    """One of `ANALYSES` or `AGAINST_PEAK` of a trace below the study's root.

    Raises
    ------
    UsageError
        If the path leads out of the study, or there is no such analysis.
    ScalebookError
        As `summary`.
    """
    if analysis not in ANALYSES | AGAINST_PEAK:
        known = ", ".join(ANALYSES | AGAINST_PEAK)
        raise UsageError(f"analysis {analysis}: choose one of {known}")
    whole = _inside(path)
    trace = reading.read(whole, Path(path).as_posix())
    if analysis in AGAINST_PEAK:
        return AGAINST_PEAK[analysis](trace, get_run_peak(whole))
    return ANALYSES[analysis](trace)


@query
def trace_job(paths: list[str]) -> dict[str, Any]:
    """Sum up the ranks of one job, as ``job`` of `summaries`; traces below the study's root.

    Raises
    ------
    UsageError
        If a path leads out of the study.
    ScalebookError
        If one cannot be read, or they are not ranks of one job.
    """
    return job(
        ranks.as_job([(Path(path).name, reading.read(_inside(path), path)) for path in paths])
    )


def _inside(path: str) -> Path:
    root = contract.find_root()
    whole = root / path
    if not whole.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path}: lies outside the study; give a path below its folder")
    if not whole.is_file():
        raise ScalebookError(f"{path}: no such file")
    return whole


def _summed(path: Path, where: str, peak: Peak | None) -> dict[str, Any]:
    return document(reading.read(path, where), where, peak)
