"""Reported numbers checked against each other, against the machine, and against files.

Nothing here says what happened: a check says whether two statements can both be
true, shows the computation, and names the file that would decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scalebook.analysis import reported_files
from scalebook.analysis.comparable import to_python
from scalebook.analysis.reported_files import Counts
from scalebook.analysis.reported_jobs import (
    SHARDED,
    TOLERANCE,
    Job,
    agree,
    ratio_of,
    readings,
    reference_of,
)
from scalebook.analysis.scaling import BASES
from scalebook.analysis.text import number
from scalebook.results import METRICS

HOLDS, CONTRADICTED, UNDETERMINED = "holds", "contradicted", "undetermined"


class Check(NamedTuple):
    """A statement of a report, tested.

    Attributes
    ----------
    verdict : {"holds", "contradicted", "undetermined"}
    computation : str
        What the verdict follows from.
    decided_by : str
        What would decide it, or did; empty where nothing else is needed.
    source_file : str
        The report.
    claim : str
        Id of the typed claim it belongs to; empty for a check of numbers.
    """

    job_id: str
    statement: str
    verdict: str
    computation: str
    decided_by: str
    source_file: str
    claim: str = ""

    @classmethod
    def of(
        cls, job: Job, statement: str, verdict: str, computation: str, decided_by: str = ""
    ) -> Check:
        """A check of something that was reported of `job`."""
        return cls(job.id, statement, verdict, computation, decided_by, job.file)


def both_ways(job: Job, reference: Job, kind: str, claimed: float, written: str) -> Iterator[Check]:
    """Test a claimed speed-up or efficiency by both bases: throughput, time per epoch."""
    title = "speed-up" if kind == "speedup" else "efficiency"
    for basis in BASES.values():
        ratio = ratio_of(job, reference, basis.metric, basis.more_is_better)
        statement = f"{title} {written} over job {reference.id}, by {basis.key.replace('_', ' ')}"
        if ratio is None:
            missing = f"{basis.metric} is not reported"
            yield Check.of(job, statement, UNDETERMINED, missing, job.csv)
            continue
        value, formula = ratio
        computation = f"{formula} = {value:.3g} ×"
        if kind == "efficiency":
            ranks = job.ranks / reference.ranks
            value = 100 * value / ranks
            computation = f"{formula} / {ranks:g} = {value:.3g} %"
        holds = agree(claimed, value)
        verdict = HOLDS if holds else CONTRADICTED
        yield Check.of(job, statement, verdict, computation, "" if holds else job.csv)


def number_checks(jobs: Mapping[str, Job]) -> Iterator[Check]:
    """Check the numbers of every job."""
    for job in jobs.values():
        yield from _epoch_images(job)
        yield from _ratios(job, jobs)
        yield from _flop_rate(job)
        yield from _shares(job)
        yield from _against_file(job)


def _epoch_images(job: Job) -> Iterator[Check]:
    """Throughput times epoch time is the number of images an epoch processed."""
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    if not rate or not epoch:
        return
    images = job.dataset[0]
    statement = f"{job.written('throughput')} and {job.written('epoch_time_s')} an epoch"
    computation = f"{rate:,.6g} images/s × {epoch:g} s = {rate * epoch:,.6g} images"
    if not images:
        computation += "; training set size unknown"
        yield Check.of(job, statement, UNDETERMINED, computation, job.csv)
        return
    factor = rate * epoch / images
    computation += f", {factor:.2f} × the {images:,} of the training set"
    if agree(factor, 1.0):
        yield Check.of(job, statement, HOLDS, computation)
        return
    computation += f"; {images:,} / {epoch:g} s would be {images / epoch:,.6g} images/s"
    if settled := reported_files.settled(job):
        counted, finding = settled
        verdict, reason = _by_file(counted, finding, job.ranks)
        computation += f". The file {counted.text}: {reason}"
        yield Check.of(job, statement, verdict, computation, counted.file)
        return
    yield Check.of(job, statement, CONTRADICTED, computation, columns_of(job))
    if SHARDED in readings(job):
        yield from _two_readings(job, images)


def _two_readings(job: Job, images: int) -> Iterator[Check]:
    """What speaks for and against each reading of numbers that count the data set once a rank."""
    ranks, rate, epoch = job.ranks, job.values["throughput"], job.values["epoch_time_s"]
    yield Check.of(
        job,
        f"read as sharded: {ranks} ranks share the {images:,} images",
        UNDETERMINED,
        f"{images:,} / {epoch:g} s = {images / epoch:,.6g} images/s: fits {epoch:g} s an epoch, "
        f"fails {job.written('throughput')}, which would be {rate * epoch / images:.2g} times the "
        "rate, or that of a part of the epoch",
        columns_of(job),
    )
    computation = (
        f"{ranks} × {images:,} / {epoch:g} s = {ranks * images / epoch:,.6g} images/s: fits both, "
        f"and an epoch does {ranks} times the work"
    )
    if job.values.get("speedup"):
        computation += f"; fails speed-up {job.written('speedup')} for an epoch over the images"
    yield Check.of(
        job,
        f"read as unsharded: each of {ranks} ranks trains on all {images:,} images",
        UNDETERMINED,
        computation,
        columns_of(job),
    )


def columns_of(job: Job) -> str:
    """The columns of a job's file that would decide between throughput and time per epoch."""
    return f"{job.csv}: columns images, train_time_s, epoch_time_s" if job.csv else ""


def _by_file(counted: Counts, finding: str, ranks: int) -> tuple[str, str]:
    """Verdict on a rate and a time per epoch that do not fit each other, and why."""
    if finding == reported_files.ALL_IMAGES:
        return HOLDS, f"each of {ranks} ranks trained on all images, so both hold"
    if finding == reported_files.UNTIMED:
        return HOLDS, "the reported rate is that of a part of each epoch, so both hold"
    multiplied = finding == reported_files.MULTIPLIED
    times = f"; the reported rate is {ranks} times that" if multiplied else ""
    return CONTRADICTED, f"{number(counted.rate)} images/s{times}"


def _ratios(job: Job, jobs: Mapping[str, Job]) -> Iterator[Check]:
    """Reported speed-up and efficiency against both ways to form them."""
    reference = reference_of(job, jobs)
    for metric in ("speedup", "efficiency"):
        if reference is not None and job.values.get(metric):
            yield from both_ways(job, reference, metric, job.values[metric], job.written(metric))


def _flop_rate(job: Job) -> Iterator[Check]:
    """Arithmetic the throughput implies, against what the devices can do."""
    rate, model = job.values.get("throughput"), job.setting("model")
    if not rate or not model:
        return
    for stem, work in job.arithmetic():
        statement = f"{job.written('throughput')} of {model} with the {stem} stem"
        if work is None or not job.peak:
            missing, decides = "the model's operations are not counted", ""
            if not job.dataset[1]:
                missing = "the size of the images is not known"
            if work is not None:
                missing, decides = "no peak known", f"data/systems/{job.setting('system')}.yaml"
            yield Check.of(job, statement, UNDETERMINED, missing, decides)
            continue
        need, peak = rate * work / 1e3, job.peak * job.ranks
        share = 100 * need / peak
        computation = (
            f"{rate:,.6g} images/s × {work:.3g} GFLOP = {need:.3g} TFLOP/s, {share:.3g} % of "
            f"{peak:g} TFLOP/s {job.setting('precision')} peak"
        )
        if share > 100:
            decides = "the training script: which stem it used"
            yield Check.of(job, statement, CONTRADICTED, computation, decides)
            continue
        computation += ": possible" + (", not limited by arithmetic" if share < 30 else "")
        yield Check.of(job, statement, HOLDS, computation)


def _shares(job: Job) -> Iterator[Check]:
    shares = [value for name, value in job.values.items() if name.startswith("share.")]
    if shares:
        total = sum(shares)
        computation = f"{' + '.join(f'{value:g}' for value in shares)} = {total:g} %"
        verdict = HOLDS if agree(total, 100.0, 0.01) else CONTRADICTED
        yield Check.of(job, "shares of GPU time add up to 100 %", verdict, computation)


def _against_file(job: Job) -> Iterator[Check]:
    """What was claimed against what the job's own file holds, once it is there."""
    for metric, about in METRICS.items():
        claimed, found = job.values.get(metric), to_python(job.measured.get(metric))
        if claimed is None or found is None:
            continue
        # An accuracy is quoted to its last digit; a rate depends on what was timed.
        tolerance = 0.005 if about.unit == "%" else TOLERANCE
        verdict = HOLDS if agree(claimed, found, tolerance) else CONTRADICTED
        computation = f"the file holds {found:,.6g} {job.units[metric]}"
        file = f"results/csv/{job.measured['stem']}.csv"
        yield Check.of(job, f"{metric} {job.written(metric)}", verdict, computation, file)
