"""What the run that a trace is of said of it: what recording cost, and its CPU's peak."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.traces import peaks
from scalebook.traces.peaks import Peak

KEYS = (
    "recorded_steps", "recorded_step_time_s", "other_steps", "other_step_time_s", "ratio",
)  # fmt: skip
PEAK_KEYS = ("fp32_tflops", "memory_gb_s", "threads")


def get_overhead(path: Path) -> dict[str, Any] | None:
    """Compare steps with and without the profiler, from the manifest beside a trace of ours.

    Parameters
    ----------
    path : Path
        ``results/**/profiling/<stem>_rank<n>.pt.trace.json.gz``.

    Returns
    -------
    dict or None
        ``recorded_step_time_s`` and ``other_step_time_s``: median times of a step that was
        recorded and of one without the profiler, of how many steps, and their ``ratio``. None
        where the manifest is not there or does not say.
    """
    for attempt in _attempts(path):
        said = attempt.get("profiler")
        if isinstance(said, dict) and all(_usable(said.get(key)) for key in KEYS):
            return {key: said[key] for key in KEYS}
    return None


def get_run_peak(path: Path) -> Peak | None:
    """Peak of the CPU that a trace of ours was recorded on, as the run measured it.

    Parameters
    ----------
    path : Path
        As of `get_overhead`.

    Returns
    -------
    Peak or None
        Of the cores that one rank computed on; None where the manifest is not there or does not
        say.
    """
    for attempt in _attempts(path):
        said = attempt.get("cpu_peak")
        if isinstance(said, dict) and all(_usable(said.get(key)) for key in PEAK_KEYS):
            day = str(attempt.get("start"))[:10]
            return peaks.cpu(said, "the run's CPU", "measured by the run", day)
    return None


def _attempts(path: Path) -> list[dict[str, Any]]:
    """Attempts of the run that left a trace, the last first; empty where it has no manifest."""
    stem, mark, _ = path.name.rpartition("_rank")
    if not mark or path.parent.name != "profiling":
        return []
    try:
        document = contract.read_json(path.parent.parent / "manifests" / f"{stem}.json")
    except ScalebookError:
        return []
    attempts = document.get("attempts")
    attempts = attempts if isinstance(attempts, list) else []
    return [one for one in reversed(attempts) if isinstance(one, dict)]


def _usable(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
