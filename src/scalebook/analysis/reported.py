"""Reported jobs, and the numbers that follow from what was reported of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import scaling
from scalebook.analysis.comparable import plain
from scalebook.analysis.declared import device_peak
from scalebook.analysis.flops import DATASETS, training_gflop

#: The two ways to form a ratio: metric, whether more is better, name in keys.
BASES = (("throughput", True, "throughput"), ("epoch_time_s", False, "epoch_time"))

#: Stems a model may have had where none was reported.
STEMS = ("imagenet", "cifar")


class Job:
    """One reported job: its configuration, its values, the files it should have left."""

    def __init__(self, job_id: str, values: pd.DataFrame, runs: pd.DataFrame) -> None:
        self.id = job_id
        self.values = {row.metric: row.value for row in values.itertuples()}
        self.units = {row.metric: plain(row.unit) or "" for row in values.itertuples()}
        self.written = {row.metric: _as_text(row) for row in values.itertuples()}
        self.file = values["source_file"].iloc[0] if len(values) else ""
        same = runs[runs["job_id"].astype(str) == job_id]
        reported = same[same["kind"] == "reported"]
        self.row = reported.iloc[0].to_dict() if len(reported) else {}
        measured = same[(same["kind"] != "reported") & (same["status"] == "finished")]
        self.measured = measured.iloc[0].to_dict() if len(measured) else {}
        stem = plain(self.row.get("stem"))
        self.csv = f"results/csv/{stem}.csv" if stem else ""

    def known(self, name: str) -> Any:
        """Entry of the configuration; None where it was not reported."""
        return plain(self.row.get(name))

    @property
    def dataset(self) -> tuple[int | None, int | None, int | None]:
        """Training images, image size and classes; None where unknown."""
        images, size, classes = DATASETS.get(self.known("dataset"), (None, None, None))
        return self.known("train_images") or images, size, classes


def reported_jobs() -> dict[str, Job]:
    """Every reported job by its id; entries that belong to no job are among them."""
    values, runs = results.reported(), results.runs(kind=["reported", "imported"])
    if not values.empty:
        ids = dict.fromkeys(values["job_id"].astype(str))
        # A measured run may carry the id of a reported job as well.
        runs = pd.concat([runs, results.runs(kind="measured", job_id=list(ids))])
    else:
        ids = {}
    return {name: Job(name, values[values["job_id"].astype(str) == name], runs) for name in ids}


def _as_text(row: Any) -> str:
    return f"{row.value:,.6g} {plain(row.unit) or ''}".strip()


def modelled() -> pd.DataFrame:
    """Numbers that follow from the reported ones, each with its formula.

    Returns
    -------
    DataFrame
        Columns ``job_id``, ``metric``, ``value``, ``unit``, ``formula``.
    """
    jobs = reported_jobs()
    rows = []
    for job in jobs.values():
        for metric, value, unit, formula in _derived(job, jobs):
            rows.append((job.id, metric, value, unit, formula))
    return pd.DataFrame(rows, columns=["job_id", "metric", "value", "unit", "formula"])


def _derived(job: Job, jobs: dict[str, Job]) -> Iterator[tuple[str, float, str, str]]:
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    images, size, classes = job.dataset
    if rate and epoch:
        formula = f"{rate:,.6g} images/s × {epoch:g} s"
        yield "images_by_throughput", rate * epoch, "images", formula
    if images and epoch:
        formula = f"{images:,} images / {epoch:g} s"
        yield "throughput_by_epoch_time", images / epoch, "images/s", formula
    reference = reference_of(job, jobs)
    if reference:
        for metric, more, name in BASES:
            ratio = ratio_of(job, reference, metric, more)
            if ratio:
                value, formula = ratio
                yield f"speedup_by_{name}", value, "", formula
                ranks, before = job.known("world_size"), reference.known("world_size")
                if ranks and before and ranks != before:
                    share = scaling.efficiency(value, ranks, before)
                    yield f"efficiency_by_{name}", share, "%", f"{formula}, / {ranks / before:g}"
    for stem in stems_of(job):
        work = training_gflop(job.known("model"), stem, size, classes) if size else None
        if work is None or not rate:
            continue
        yield f"gflop_per_image_{stem}", work, "GFLOP", f"6 × multiply-adds, {stem} stem"
        formula = f"{rate:,.6g} images/s × {work:.3g} GFLOP ({stem} stem)"
        yield f"tflops_{stem}", rate * work / 1e3, "TFLOP/s", formula
        peak = peak_of(job)
        if peak:
            share = 100 * rate * work / 1e3 / peak / (job.known("world_size") or 1)
            yield f"peak_share_{stem}", share, "%", f"{formula}, / {peak:g} TFLOP/s a device"


def stems_of(job: Job) -> tuple[str, ...]:
    """Stems the model may have had: the reported one, else all."""
    return (job.known("model_stem"),) if job.known("model_stem") else STEMS


def reference_of(job: Job, jobs: dict[str, Job]) -> Job | None:
    """The reported job that `job` is compared with: same file, same system."""
    name = job.known("reference")
    for other in jobs.values():
        same = other.file == job.file and other.known("experiment") == name
        if name and same and other is not job:
            return other
    return None


def ratio_of(job: Job, reference: Job, metric: str, more: bool) -> tuple[float, str] | None:
    """Speed-up of a job by one metric, and its formula; None where a value is missing."""
    value, before = job.values.get(metric), reference.values.get(metric)
    if not value or not before:
        return None
    top, bottom = (value, before) if more else (before, value)
    unit = job.units[metric]
    formula = f"{top:,.6g} {unit} / {bottom:,.6g} {unit}"
    return scaling.speedup(value, before, more), formula


def peak_of(job: Job) -> float | None:
    """Arithmetic peak of one device at the job's precision, in TFLOP/s."""
    system, precision = job.known("system"), job.known("precision")
    if not system or not precision or job.known("device") == "cpu":
        return None
    return device_peak(system, precision)
