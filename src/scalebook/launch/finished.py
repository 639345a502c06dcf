"""Runs of a study that finished, and what decided their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scalebook import results
from scalebook.contract import RunFiles, ScalebookError, attempts_of, read_json
from scalebook.launch import registry


@dataclass(frozen=True)
class Finished:
    """A finished run, and what decided its numbers.

    Attributes
    ----------
    row
        Of `results.runs`.
    identity, overrides : dict
        All its settings, see `registry.identity`, and those that were asked for.
    generated : bool
        Whether its images stood in for others: then it is not the run that was planned.
    seconds : float or None
        How long it took, all attempts together.
    """

    row: Any
    identity: dict[str, Any]
    overrides: dict[str, Any]
    generated: bool
    seconds: float | None


def finished_on(system: str) -> list[Finished]:
    """Measured runs on a system that finished, the newest first."""
    rows = reversed(_with_settings(system))
    return [Finished(row, **settings) for row, settings in rows if settings]


def without_settings(system: str) -> list[str]:
    """Evidence on a system of which nobody can say whether it is the run that is planned."""
    return [row.stem for row, own in _with_settings(system) if row.evidence and not own]


def _with_settings(system: str) -> list[tuple[Any, dict[str, Any] | None]]:
    table = results.runs(status="finished", kind="measured", system=system)
    settings = results.of_each(_settings, table["stem"].tolist(), "manifest")
    return [(row, settings.get(row.stem)) for row in table.itertuples()]


def _settings(now: results.Snapshot, run: RunFiles) -> dict[str, Any] | None:
    """Settings of a run as its manifest keeps them; None where it keeps none."""
    try:
        manifest = read_json(now.root / run.manifest)
        resolved = manifest["resolved"]
        return {
            "identity": registry.identity(resolved, now.root),
            "overrides": resolved.get("overrides") or {},
            "generated": bool(resolved["dataset"].get("generated")),
            "seconds": _took(manifest),
        }
    except (ScalebookError, KeyError, TypeError, AttributeError):  # written by hand, or damaged
        return None


def of_evidence(experiment: str, finished: list[Finished]) -> list[dict[str, Any]]:
    """Each different set of settings that the evidence of an experiment was asked for with."""
    settings: list[dict[str, Any]] = []
    for run in reversed(finished):
        if run.row.experiment == experiment and run.row.evidence and run.overrides not in settings:
            settings.append(run.overrides)
    return settings or [{}]


def _took(manifest: dict[str, Any]) -> float | None:
    """Seconds of all attempts; None where their times cannot be read."""
    try:
        times = [
            [datetime.fromisoformat(attempt[end]) for end in ("start", "end")]
            for attempt in attempts_of(manifest)
        ]
        return sum((end - start).total_seconds() for start, end in times)
    except (KeyError, TypeError, ValueError):
        return None
