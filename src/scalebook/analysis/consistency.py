"""Reported numbers held against each other, against the machine, and against files.

Nothing here says what happened: a check says whether two statements can both be
true, shows the computation, and names the file that would decide.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import recorded
from scalebook.analysis.checking import (
    COLUMNS,
    CONTRADICTED,
    HOLDS,
    TOLERANCE,
    UNDETERMINED,
    agree,
    both_ways,
    row,
)
from scalebook.analysis.claims import claim_rows
from scalebook.analysis.comparable import plain
from scalebook.analysis.flops import training_gflop
from scalebook.analysis.reported import Job, peak_of, reference_of, reported_jobs, stems_of
from scalebook.values.value import number

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
    for claim in results.claims().to_dict("records"):
        rows += claim_rows(claim, jobs)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sentences() -> pd.DataFrame:
    """Verdict on each claimed sentence: columns ``claim``, ``text``, ``verdict``."""
    table = check()
    first = table[table["claim"] != ""].drop_duplicates("claim")
    texts = results.claims().set_index("id")["text"].to_dict()
    return pd.DataFrame(
        {"claim": first["claim"], "text": first["claim"].map(texts), "verdict": first["verdict"]}
    ).reset_index(drop=True)


# --------------------------------------------------------------------------- checks


def _epoch_images(job: Job) -> list[dict]:
    """Throughput times epoch time is the number of images an epoch processed."""
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    if not rate or not epoch:
        return []
    images = job.dataset[0]
    statement = f"{job.written['throughput']} and {job.written['epoch_time_s']} an epoch"
    computation = f"{rate:,.6g} images/s × {epoch:g} s = {rate * epoch:,.6g} images"
    if not images:
        return [row(job, statement, UNDETERMINED, f"{computation}; training set size unknown",
                     job.csv)]  # fmt: skip
    factor = rate * epoch / images
    computation += f", {factor:.2f} × the {images:,} of the training set"
    if agree(factor, 1.0):
        return [row(job, statement, HOLDS, computation)]
    computation += f"; {images:,} / {epoch:g} s would be {images / epoch:,.6g} images/s"
    ranks = job.known("world_size") or 1
    if settled := recorded.of_job(job):
        counted, found = settled
        verdict, said = _settled(counted, found, ranks)
        computation += f". The file {counted.text}: {said}"
        return [row(job, statement, verdict, computation, counted.file)]
    if ranks > 1 and agree(factor, ranks):
        computation += (
            f". Both could hold if each of {ranks} ranks trained on all images, if a rate was "
            f"multiplied by {ranks}, or if part of the epoch was not timed"
        )
    decided = f"{job.csv}: columns images, train_time_s, epoch_time_s" if job.csv else ""
    return [row(job, statement, CONTRADICTED, computation, decided)]


def _settled(counted: recorded.Recorded, found: str, ranks: int) -> tuple[str, str]:
    """Verdict on a rate and a time per epoch that do not fit each other, and why."""
    if found == recorded.ALL_IMAGES:
        return HOLDS, f"each of {ranks} ranks trained on all images, so both hold"
    if found == recorded.UNTIMED:
        return HOLDS, "the reported rate is that of a part of each epoch, so both hold"
    times = f"; the reported rate is {ranks} times that" if found == recorded.MULTIPLIED else ""
    return CONTRADICTED, f"{number(counted.rate)} images/s{times}"


def _ratios(job: Job, jobs: dict[str, Job]) -> list[dict]:
    """Reported speed-up and efficiency against both ways to form them."""
    reference = reference_of(job, jobs)
    if reference is None:
        return []
    return [
        one
        for metric in ("speedup", "efficiency")
        if job.values.get(metric)
        for one in both_ways(job, reference, metric, job.values[metric], job.written[metric])
    ]


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
            if not size:
                missing = "the size of the images is not known"
            if work is not None:
                missing, decides = "no peak known", f"data/systems/{job.known('system')}.yaml"
            rows.append(row(job, statement, UNDETERMINED, missing, decides))
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
            row(job, statement, HOLDS if possible else CONTRADICTED, computation,
                 "" if possible else "the training script: which stem it used")
        )  # fmt: skip
    return rows


def _shares(job: Job) -> list[dict]:
    shares = {name: value for name, value in job.values.items() if name.startswith("share.")}
    if not shares:
        return []
    total = sum(shares.values())
    computation = f"{' + '.join(f'{value:g}' for value in shares.values())} = {total:g} %"
    verdict = HOLDS if agree(total, 100.0, 0.01) else CONTRADICTED
    return [row(job, "shares of GPU time add up to 100 %", verdict, computation)]


def _against_file(job: Job) -> list[dict]:
    """What was claimed against what the job's own file holds, once it is there."""
    rows = []
    for metric in ("throughput", "epoch_time_s", "final_val_acc"):
        claimed, found = job.values.get(metric), plain(job.measured.get(metric))
        if claimed is None or found is None:
            continue
        # An accuracy is quoted to its last digit; a rate depends on what was timed.
        tolerance = 0.005 if metric == "final_val_acc" else TOLERANCE
        verdict = HOLDS if agree(claimed, found, tolerance) else CONTRADICTED
        said = f"the file holds {found:,.6g} {job.units[metric]}"
        rows.append(row(job, f"{metric} {job.written[metric]}", verdict, said,
                         f"results/csv/{job.measured['stem']}.csv"))  # fmt: skip
    return rows
