"""Reported jobs, and the numbers that follow from what was reported of them.

A job of several ranks that is compared with one of fewer has a *gap*, the time it loses an image
beyond the reference's time shared out. Whether the network could explain it follows from summary
numbers alone, with X the reported throughput, p the ranks, index 1 for the reference, m the bytes
of the gradients and r the rate of a link in bytes/s:

===============================  =========================================================
gap                              1 / X_p − 1 / (p X_1)
exchange, shortest time a step   m · 2 (p − 1) / p / r, a ring that sends at the link's rate
matching batch                   exchange / gap
===============================  =========================================================

A step of B images loses B times the gap. At the matching batch, an exchange at the full rate of
the link, none of it hidden, is exactly that loss. A larger batch needs a link that delivers less
than its rate, or another cause; a smaller one needs an exchange that hides in part behind the
backward pass. This takes the reported throughput at its word. Where that and the reported time per
epoch count p times the training set, the time may be the true one: see `readings`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from scalebook import results
from scalebook.analysis import scaling, study_queries
from scalebook.analysis.comparable import to_python
from scalebook.analysis.models import DATASETS, training_gflop
from scalebook.analysis.step_parts import BYTES_PER_PARAMETER, recorded_model, transfer_ms
from scalebook.contract import EVIDENCE, RunFiles

#: Stems a model may have had where none was reported.
STEMS = ("imagenet", "cifar")

#: Rates of Ethernet links that are common, in Gbit/s.
LINKS = (1, 10, 25)


#: Two numbers agree if they differ by less than this: reported values are rounded
#: (11 s is 10.5 to 11.5 s), and a throughput leaves out warm-up and validation.
TOLERANCE = 0.10


@dataclass(frozen=True)
class Job:
    """One reported job, or an entry of a report that belongs to none.

    Attributes
    ----------
    file : str
        The report, relative to the study's root.
    values, units : mapping
        Reported numbers and their units, by metric.
    row : mapping
        The job in the catalogue, as it was reported; empty for an entry.
    measured : mapping
        The run in the catalogue whose files are here; empty where there is none.
    """

    id: str
    file: str
    values: Mapping[str, float]
    units: Mapping[str, str]
    row: Mapping[str, Any]
    measured: Mapping[str, Any]

    def setting(self, name: str) -> Any:
        """Setting that the job was run with; None where it was not reported."""
        return to_python(self.row.get(name))

    def written(self, metric: str) -> str:
        """A reported number with its unit."""
        return f"{self.values[metric]:,.6g} {self.units[metric]}".strip()

    @property
    def ranks(self) -> int:
        """Number of ranks; 1 where it was not reported."""
        return int(self.setting("world_size") or 1)

    @property
    def csv(self) -> str:
        """The file the job should have left, relative to the root; empty where it is not known."""
        stem = self.setting("stem")
        return RunFiles(Path(EVIDENCE), stem).csv.as_posix() if stem else ""

    @property
    def dataset(self) -> tuple[int | None, int | None, int | None]:
        """Training images, image size and classes; None where unknown."""
        images, size, classes = DATASETS.get(self.setting("dataset"), (None, None, None))
        return self.setting("train_images") or images, size, classes

    @property
    def peak(self) -> float | None:
        """Arithmetic peak of one device at the job's precision, in TFLOP/s."""
        gpu = study_queries.facts(self.setting("system")).gpu
        if gpu is None or self.setting("device") == "cpu":
            return None
        return gpu.peak_tflops.get(self.setting("precision"))

    def arithmetic(self) -> Iterator[tuple[str, float | None]]:
        """GFLOP to train on one image, by the stem the model may have had; None if not counted."""
        _, size, classes = self.dataset
        reported = self.setting("model_stem")
        for stem in (reported,) if reported else STEMS:
            if size is None or classes is None:
                yield stem, None
            else:
                yield stem, training_gflop(self.setting("model"), stem, size, classes)


class Derived(NamedTuple):
    """A number that follows from reported ones, with its formula."""

    job_id: str
    metric: str
    value: float
    unit: str
    formula: str


def reported_jobs() -> dict[str, Job]:
    """Every reported job by its id; entries that belong to no job are among them."""
    numbers = results.reported()
    if numbers.empty:
        return {}
    ids = numbers["job_id"].astype(str)
    # A measured run may carry the id of a reported job as well.
    there = results.runs(kind="measured", job_id=ids.unique().tolist())
    reported: dict[str, dict[str, Any]] = {}
    measured: dict[str, dict[str, Any]] = {}
    runs = pd.concat([results.runs(kind=["reported", "imported"]), there])
    for row in runs.to_dict("records"):
        if row["kind"] == "reported":
            reported.setdefault(str(row["job_id"]), row)
        elif row["status"] == "finished":
            measured.setdefault(str(row["job_id"]), row)
    return {
        name: Job(
            id=name,
            file=str(own["source_file"].iloc[0]),
            values=dict(zip(own["metric"], own["value"])),
            units={row.metric: to_python(row.unit) or "" for row in own.itertuples()},
            row=reported.get(name, {}),
            measured=measured.get(name, {}),
        )
        for name, own in numbers.groupby(ids, sort=False)
    }


def reference_of(job: Job, jobs: Mapping[str, Job]) -> Job | None:
    """The reported job that `job` is compared with: same file, same system."""
    name = job.setting("reference")
    for other in jobs.values():
        same = other.file == job.file and other.setting("experiment") == name
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


def agree(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are the same within a share of the second."""
    return abs(one - other) <= tolerance * abs(other)


# --------------------------------------------------------------------------- what follows


def derived(jobs: Mapping[str, Job]) -> Iterator[Derived]:
    """Form what follows from the numbers of each job."""
    for job in jobs.values():
        for number in _derived(job, jobs):
            yield Derived(job.id, *number)


def _derived(job: Job, jobs: Mapping[str, Job]) -> Iterator[tuple[str, float, str, str]]:
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    images = job.dataset[0]
    if rate and epoch:
        formula = f"{rate:,.6g} images/s × {epoch:g} s"
        yield "images_by_throughput", rate * epoch, "images", formula
    if images and epoch:
        formula = f"{images:,} images / {epoch:g} s"
        yield "throughput_by_epoch_time", images / epoch, "images/s", formula
    reference = reference_of(job, jobs)
    if reference:
        ranks, before = job.setting("world_size"), reference.setting("world_size")
        for basis in scaling.BASES.values():
            ratio = ratio_of(job, reference, basis.metric, basis.more_is_better)
            if not ratio:
                continue
            value, formula = ratio
            yield f"speedup_by_{basis.key}", value, "", formula
            if ranks and before and ranks != before:
                share = scaling.efficiency(value, ranks, before)
                yield f"efficiency_by_{basis.key}", share, "%", f"{formula}, / {ranks / before:g}"
    for stem, work in job.arithmetic():
        if work is None or not rate:
            continue
        yield f"gflop_per_image_{stem}", work, "GFLOP", f"6 × multiply-adds, {stem} stem"
        formula = f"{rate:,.6g} images/s × {work:.3g} GFLOP ({stem} stem)"
        yield f"tflops_{stem}", rate * work / 1e3, "TFLOP/s", formula
        if job.peak:
            share = 100 * rate * work / 1e3 / job.peak / job.ranks
            yield f"peak_share_{stem}", share, "%", f"{formula}, / {job.peak:g} TFLOP/s a device"


#: Two readings of a rate and a time per epoch of p ranks that count p times the training set.
UNSHARDED, SHARDED = "unsharded", "sharded"
#: How the names of numbers begin that hold by a reading.
PREFIXES = {UNSHARDED: "", SHARDED: "sharded_"}


def readings(job: Job) -> dict[str, float]:
    """Images/s of all ranks under each reading of the report; one where they do not differ.

    Unsharded, each rank trained on all images, and both reported numbers hold. Sharded, the ranks
    shared the images: then the time per epoch gives the rate, and the reported one is wrong.
    """
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    rates = {UNSHARDED: rate} if rate else {}
    images = job.dataset[0]
    if rate and epoch and images and job.ranks > 1 and agree(rate * epoch, job.ranks * images):
        rates[SHARDED] = images / epoch
    return rates


def network_bounds(jobs: Mapping[str, Job]) -> Iterator[Derived]:
    """How much of each job's gap to a reference with fewer ranks the network could explain.

    Yields
    ------
    Derived
        ``gradient_mb``, ``gap_us_per_image``, ``exchange_ms_<rate>gbit`` and
        ``matching_batch_<rate>gbit``; where the sharded reading is there too,
        ``sharded_gap_us_per_image``, ``sharded_matching_batch_<rate>gbit`` and
        ``sharded_epoch_s_<rate>gbit``, which is predicted for the job's batch, or for that of the
        reference in ``study.yaml`` where none was reported.
    """
    for job in jobs.values():
        reference = reference_of(job, jobs)
        if reference is not None:
            for bound in _network_bounds(job, reference):
                yield Derived(job.id, *bound)


def _network_bounds(job: Job, reference: Job) -> Iterator[tuple[str, float, str, str]]:
    ranks, before = job.setting("world_size") or 0, reference.setting("world_size") or 0
    rates, rate_1 = readings(job), reference.values.get("throughput")
    if not (rates and rate_1 and before and ranks > before):
        return
    stem, parameters = _parameters(job.setting("model"))
    if not parameters:
        return
    megabytes = parameters * BYTES_PER_PARAMETER / 1e6
    counted = f"{parameters:,} parameters, as counted in {stem}"
    yield "gradient_mb", megabytes, "MB", f"4 bytes × {counted}"
    exchanges = {link: transfer_ms(parameters, ranks, link) for link in LINKS}
    ring = f"ring all-reduce of {megabytes:.1f} MB among {ranks} ranks at"
    for link, exchange in exchanges.items():
        yield f"exchange_ms_{link}gbit", exchange, "ms", f"{ring} {link} Gbit/s"
    for reading, rate in rates.items():
        prefix = PREFIXES[reading]
        gap = 1e6 * (1 / rate - before / ranks / rate_1)
        formula = f"1 / {rate:,.6g} images/s - {before} / ({ranks} × {rate_1:,.6g} images/s)"
        yield f"{prefix}gap_us_per_image", gap, "µs", formula
        for link, exchange in exchanges.items() if gap > 0 else ():
            formula = f"{exchange:.3g} ms / {gap:.3g} µs an image; {ring} {link} Gbit/s"
            batch = 1e3 * exchange / gap
            yield f"{prefix}matching_batch_{link}gbit", batch, "images", f"{formula}, none hidden"
    images, asked = job.dataset[0], job.setting("global_batch")
    size = asked or study_queries.global_batch(reference.setting("experiment"))
    if not (images and size and SHARDED in rates):
        return
    for link, exchange in exchanges.items():
        step = size * before / ranks / rate_1 + exchange / 1e3
        formula = (
            f"{images:,} images / {size} a step × ({size} × {before} / ({ranks} × {rate_1:,.6g} "
            f"images/s) + {exchange:.3g} ms); {ring} {link} Gbit/s, none hidden"
        )
        yield f"{PREFIXES[SHARDED]}epoch_s_{link}gbit", images / size * step, "s", formula


def _parameters(model: str | None) -> tuple[str, int]:
    """A measured run of the model with the stem of ImageNet, and how many parameters it counted."""
    runs = results.runs(kind="measured")
    for stem in runs["stem"].tolist() if model else []:
        about = recorded_model(stem)
        if about.get("name") == model and about.get("stem") == "imagenet":
            count = to_python(about.get("parameters"))
            if count:
                return str(stem), int(count)
    return "", 0
