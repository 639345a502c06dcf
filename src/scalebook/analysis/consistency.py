"""Reported numbers held against each other, against the machine, and against files.

Nothing here says what happened: a check says whether two statements can both be
true, shows the computation, and names the file that would decide.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import plain
from scalebook.analysis.expressions import evaluate
from scalebook.analysis.flops import training_gflop
from scalebook.analysis.reported import (
    BASES,
    Job,
    peak_of,
    ratio_of,
    reference_of,
    reported_jobs,
    stems_of,
)

#: Two numbers agree if they differ by less than this: reported values are rounded
#: (11 s is 10.5 to 11.5 s), and a throughput leaves out warm-up and validation.
TOLERANCE = 0.10

HOLDS, CONTRADICTED, UNDETERMINED = "holds", "contradicted", "undetermined"

COLUMNS = ("job_id", "statement", "verdict", "computation", "decided_by", "source_file")

#: Columns of `check` for a reader.
CHECK_HEADERS = {
    "job_id": "job",
    "statement": "statement",
    "verdict": "verdict",
    "computation": "computation",
    "decided_by": "decided by",
}


def check() -> pd.DataFrame:
    """Check all reported numbers and claims.

    Returns
    -------
    DataFrame
        One row a check, columns `COLUMNS`; ``verdict`` is ``"holds"``, ``"contradicted"`` or
        ``"undetermined"``.
    """
    jobs = reported_jobs()
    rows: list[dict[str, Any]] = []
    for job in jobs.values():
        rows += _epoch_images(job)
        rows += _ratios(job, jobs)
        rows += _flop_rate(job)
        rows += _shares(job)
        rows += _against_file(job)
    rows += [row for claim in results.claims().to_dict("records") for row in _claim(claim, jobs)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


# --------------------------------------------------------------------------- checks


def _row(job: Job, statement: str, verdict: str, computation: str, decided_by: str = "") -> dict:
    return {
        "job_id": job.id,
        "statement": statement,
        "verdict": verdict,
        "computation": computation,
        "decided_by": decided_by,
        "source_file": job.file,
    }


def _agree(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    return abs(one - other) <= tolerance * abs(other)


def _epoch_images(job: Job) -> list[dict]:
    """Throughput times epoch time is the number of images an epoch processed."""
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    if not rate or not epoch:
        return []
    images = job.dataset[0]
    statement = f"{job.written['throughput']} and {job.written['epoch_time_s']} an epoch"
    computation = f"{rate:,.6g} images/s × {epoch:g} s = {rate * epoch:,.6g} images"
    if not images:
        return [_row(job, statement, UNDETERMINED, f"{computation}; training set size unknown",
                     job.csv)]  # fmt: skip
    factor = rate * epoch / images
    computation += f", {factor:.2f} × the {images:,} of the training set"
    if _agree(factor, 1.0):
        return [_row(job, statement, HOLDS, computation)]
    computation += f"; {images:,} / {epoch:g} s would be {images / epoch:,.6g} images/s"
    ranks = job.known("world_size") or 1
    if ranks > 1 and _agree(factor, ranks):
        computation += (
            f". Both could hold if each of {ranks} ranks trained on all images, if a rate was "
            f"multiplied by {ranks}, or if part of the epoch was not timed"
        )
    decided = f"{job.csv}: columns images, train_time_s, epoch_time_s" if job.csv else ""
    return [_row(job, statement, CONTRADICTED, computation, decided)]


def _ratios(job: Job, jobs: dict[str, Job]) -> list[dict]:
    """Reported speed-up and efficiency against both ways to form them."""
    reference = reference_of(job, jobs)
    if reference is None:
        return []
    return [
        row
        for metric in ("speedup", "efficiency")
        if job.values.get(metric)
        for row in _both_ways(job, reference, metric, job.values[metric], job.written[metric])
    ]


def _both_ways(job: Job, reference: Job, kind: str, claimed: float, written: str) -> list[dict]:
    rows = []
    title = "speed-up" if kind == "speedup" else "efficiency"
    for metric, more, name in BASES:
        ratio = ratio_of(job, reference, metric, more)
        statement = f"{title} {written} over job {reference.id}, by {name.replace('_', ' ')}"
        if ratio is None:
            rows.append(_row(job, statement, UNDETERMINED, f"{metric} is not reported", job.csv))
            continue
        value, formula = ratio
        said = f"{formula} = {value:.3g} ×"
        if kind == "efficiency":
            ranks = (job.known("world_size") or 1) / (reference.known("world_size") or 1)
            value = 100 * value / ranks
            said = f"{formula} / {ranks:g} = {value:.3g} %"
        verdict = HOLDS if _agree(claimed, value) else CONTRADICTED
        rows.append(_row(job, statement, verdict, said, "" if verdict == HOLDS else job.csv))
    return rows


def _flop_rate(job: Job) -> list[dict]:
    """Arithmetic the throughput implies, against what the devices can do."""
    rate, size, classes = job.values.get("throughput"), *job.dataset[1:]
    model, ranks = job.known("model"), job.known("world_size") or 1
    if not rate or not model:
        return []
    rows = []
    for stem in stems_of(job):
        statement = f"{job.written['throughput']} of {model} with the {stem} stem"
        work = training_gflop(model, stem, size, classes) if size else None
        peak = peak_of(job)
        if work is None or not peak:
            missing, decides = "the model's operations are not counted", ""
            if work is not None:
                missing, decides = "no peak known", f"data/systems/{job.known('system')}.yaml"
            rows.append(_row(job, statement, UNDETERMINED, missing, decides))
            continue
        need = rate * work / 1e3
        share = 100 * need / (peak * ranks)
        computation = (
            f"{rate:,.6g} images/s × {work:.3g} GFLOP = {need:.3g} TFLOP/s, {share:.3g} % of "
            f"{ranks * peak:g} TFLOP/s {job.known('precision')} peak"
        )
        possible = share <= 100
        if possible:
            computation += ": possible"
            computation += ", not limited by arithmetic" if share < 30 else ""
        rows.append(
            _row(job, statement, HOLDS if possible else CONTRADICTED, computation,
                 "" if possible else "the training script: which stem it used")
        )  # fmt: skip
    return rows


def _shares(job: Job) -> list[dict]:
    shares = {name: value for name, value in job.values.items() if name.startswith("share.")}
    if not shares:
        return []
    total = sum(shares.values())
    computation = f"{' + '.join(f'{value:g}' for value in shares.values())} = {total:g} %"
    verdict = HOLDS if _agree(total, 100.0, 0.01) else CONTRADICTED
    return [_row(job, "shares of GPU time add up to 100 %", verdict, computation)]


def _against_file(job: Job) -> list[dict]:
    """What was claimed against what the job's own file holds, once it is there."""
    rows = []
    for metric in ("throughput", "epoch_time_s", "final_val_acc"):
        claimed, found = job.values.get(metric), plain(job.measured.get(metric))
        if claimed is None or found is None:
            continue
        # An accuracy is quoted to its last digit; a rate depends on what was timed.
        tolerance = 0.005 if metric == "final_val_acc" else TOLERANCE
        verdict = HOLDS if _agree(claimed, found, tolerance) else CONTRADICTED
        said = f"the file holds {found:,.6g} {job.units[metric]}"
        rows.append(_row(job, f"{metric} {job.written[metric]}", verdict, said,
                         f"results/csv/{job.measured['stem']}.csv"))  # fmt: skip
    return rows


# --------------------------------------------------------------------------- claims


def _claim(claim: dict[str, Any], jobs: dict[str, Job]) -> list[dict]:
    claim = {name: plain(value) for name, value in claim.items()}
    job = jobs.get(claim["job"])
    kind, text = claim["type"], f"“{claim['text']}”"
    if job is None:
        return []
    if kind in ("ratio", "efficiency"):
        reference = jobs.get(claim["reference_job"])
        metric = "speedup" if kind == "ratio" else "efficiency"
        covered = job.values.get(metric) == claim["value"] and reference_of(job, jobs) is reference
        if covered or reference is None:
            # `_ratios` has checked the same number both ways.
            return []
        written = f"{claim['value']:g} {claim['unit'] or ''}".strip()
        return _both_ways(job, reference, metric, claim["value"], written)
    if kind == "bottleneck":
        return [_bottleneck(job, claim["subject"], text)]
    return [_expression(job, claim, text)]


def _bottleneck(job: Job, subject: str, text: str) -> dict:
    shares = {
        name.removeprefix("share."): value
        for name, value in job.values.items()
        if name.startswith("share.")
    }
    said = "no measurement of what the devices waited for was reported"
    if subject in shares:
        named = {name: value for name, value in shares.items() if name != "other"}
        rank = sorted(named, key=named.get, reverse=True).index(subject) + 1
        said = (
            f"{subject.replace('_', ' ')} has {shares[subject]:g} % of GPU time, rank {rank} of "
            f"{len(named)} named groups"
        )
        if "other" in shares:
            said += f", while {shares['other']:g} % is in no named group"
        said += "; by kernel name, parts of a convolution count as other groups"
    decided = f"profiler trace of job {job.id} (results/profiling/*.pt.trace.json)"
    return _row(job, text, UNDETERMINED, said, decided)


def _expression(job: Job, claim: dict[str, Any], text: str) -> dict:
    expression = claim["expression"]
    try:
        value = evaluate(expression, job.values)
    except KeyError as error:
        return _row(job, text, UNDETERMINED, f"{expression}: {error.args[0]} is not reported", "")
    except (ValueError, ZeroDivisionError):
        return _row(job, text, UNDETERMINED, f"{expression}: cannot be computed", job.file)
    claimed = claim["value"]
    if claimed is None:
        claimed = job.values.get(claim["metric"])
    said = f"{expression} = {value:,.6g} {claim['unit'] or ''}".strip()
    if claimed is None:
        return _row(job, text, UNDETERMINED, said)
    verdict = HOLDS if _agree(claimed, value, 0.01) else CONTRADICTED
    return _row(job, text, verdict, f"{said}, reported {claimed:,.6g}")
