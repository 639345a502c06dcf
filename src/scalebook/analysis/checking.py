"""What every check of a reported statement shares: the verdicts, a row, when two numbers agree."""

from __future__ import annotations

from typing import Any

from scalebook.analysis.reported import BASES, Job, ratio_of

#: Two numbers agree if they differ by less than this: reported values are rounded
#: (11 s is 10.5 to 11.5 s), and a throughput leaves out warm-up and validation.
TOLERANCE = 0.10

HOLDS, CONTRADICTED, UNDETERMINED = "holds", "contradicted", "undetermined"

#: ``claim`` is the id of the typed claim a row belongs to, empty for a check of numbers.
COLUMNS = (
    "job_id", "statement", "verdict", "computation", "decided_by", "source_file", "claim"
)  # fmt: skip


def row(
    job: Job,
    statement: str,
    verdict: str,
    computation: str,
    decided_by: str = "",
    claim: str = "",
) -> dict[str, Any]:
    """One row of the table of checks, columns `COLUMNS`."""
    return {
        "job_id": job.id,
        "statement": statement,
        "verdict": verdict,
        "computation": computation,
        "decided_by": decided_by,
        "source_file": job.file,
        "claim": claim,
    }


def agree(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are the same within a share of the second."""
    return abs(one - other) <= tolerance * abs(other)


def both_ways(
    job: Job, reference: Job, kind: str, claimed: float, written: str, claim: str = ""
) -> list[dict[str, Any]]:
    """A claimed speed-up or efficiency against both bases: throughput, time per epoch."""
    rows = []
    title = "speed-up" if kind == "speedup" else "efficiency"
    for metric, more, name in BASES:
        ratio = ratio_of(job, reference, metric, more)
        statement = f"{title} {written} over job {reference.id}, by {name.replace('_', ' ')}"
        if ratio is None:
            said = f"{metric} is not reported"
            rows.append(row(job, statement, UNDETERMINED, said, job.csv, claim))
            continue
        value, formula = ratio
        said = f"{formula} = {value:.3g} ×"
        if kind == "efficiency":
            ranks = (job.known("world_size") or 1) / (reference.known("world_size") or 1)
            value = 100 * value / ranks
            said = f"{formula} / {ranks:g} = {value:.3g} %"
        verdict = HOLDS if agree(claimed, value) else CONTRADICTED
        decided = "" if verdict == HOLDS else job.csv
        rows.append(row(job, statement, verdict, said, decided, claim))
    return rows
