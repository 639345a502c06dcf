"""What recording a trace cost the run it is of, where the run said so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError

KEYS = (
    "recorded_steps", "recorded_step_time_s", "other_steps", "other_step_time_s", "ratio",
)  # fmt: skip


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
    stem, mark, _ = path.name.rpartition("_rank")
    if not mark or path.parent.name != "profiling":
        return None
    try:
        document = contract.read_json(path.parent.parent / "manifests" / f"{stem}.json")
    except ScalebookError:
        return None
    attempts = document.get("attempts")
    for attempt in reversed(attempts if isinstance(attempts, list) else []):
        said = attempt.get("profiler") if isinstance(attempt, dict) else None
        if isinstance(said, dict) and all(_usable(said.get(key)) for key in KEYS):
            return {key: said[key] for key in KEYS}
    return None


def _usable(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
