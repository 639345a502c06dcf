"""Numbers that somebody reported without the files behind them: ``data/reported/*.yaml``.

They are kept apart from what is measured. A file of theirs that turns up later
joins its job here, by name or job id, and takes its configuration from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from scalebook.results.metrics import METRICS

FOLDER = "data/reported"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value


#: Written as a number or as text.
JobId = Annotated[str, BeforeValidator(_as_text)]


class ReportedValue(_Strict):
    """One number, with its unit and, where it was rounded or ranged, its wording."""

    value: float = Field(allow_inf_nan=False)
    unit: str
    as_written: str | None = None


class Configuration(_Strict):
    """How a job was run, as far as it was reported; each field is a column of the catalogue."""

    world_size: int = Field(1, ge=1)
    nodes: int | None = Field(None, ge=1)
    device: Literal["gpu", "cpu"] = "gpu"
    device_name: str | None = None
    precision: Literal["fp32", "tf32", "fp16", "bf16"] | None = None
    model: str | None = None
    model_stem: str | None = None
    dataset: str | None = None
    subset: bool | None = None
    train_images: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    global_batch: int | None = Field(None, ge=1)
    batch_per_rank: int | None = Field(None, ge=1)
    seed: int | None = None
    scaling: Literal["strong", "weak"] | None = None
    reference: str | None = None
    torch: str | None = None


class Job(_Strict):
    """One job: its configuration, its values, the files it should have left."""

    job_id: JobId
    experiment: str
    files: list[str] = []
    configuration: Configuration = Configuration()
    values: dict[str, ReportedValue] = {}
    note: str = ""

    @property
    def stem(self) -> str | None:
        """Name its CSV should have, without the suffix."""
        return next((Path(name).stem for name in self.files if name.endswith(".csv")), None)


class Entry(_Strict):
    """Values that belong to no job, as the hours of a proposal."""

    id: str
    values: dict[str, ReportedValue]
    note: str = ""


class Claim(_Strict):
    """A statement of the source that can be checked, in its words where `text` is quoted.

    ``ratio`` and ``efficiency`` compare `metric` of `job` with `reference_job`;
    ``bottleneck`` names a `subject`; ``sum`` and ``formula`` derive `value` from an `expression`;
    ``convergence`` says that the final accuracies of `jobs` are similar, within `tolerance` points
    where it tells so; ``sufficiency`` that `value` hours are enough, GPU-hours where `unit` says
    that, else node-hours.
    """

    id: str
    type: Literal[
        "ratio", "efficiency", "bottleneck", "sum", "formula", "convergence", "sufficiency"
    ]
    text: str
    job: JobId | None = None
    jobs: list[JobId] | None = Field(None, min_length=2)
    reference_job: JobId | None = None
    metric: str | None = None
    subject: str | None = None
    value: float | None = Field(None, allow_inf_nan=False)
    unit: str | None = None
    tolerance: float | None = Field(None, gt=0)
    expression: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        needed = {
            "ratio": ("job", "reference_job", "metric", "value"),
            "efficiency": ("job", "reference_job", "metric", "value"),
            "bottleneck": ("job", "subject"),
            "sum": ("expression", "value"),
            "formula": ("expression",),
            "convergence": ("jobs",),
            "sufficiency": ("job", "value"),
        }[self.type]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a claim of type {self.type} needs {', '.join(missing)}")
        return self


class Report(_Strict):
    """One file of ``data/reported``."""

    source: str
    date: str
    system: str
    jobs: list[Job] = []
    entries: list[Entry] = []
    claims: list[Claim] = []

    @property
    def owners(self) -> list[str]:
        """Ids of jobs and entries, which own the values."""
        return [job.job_id for job in self.jobs] + [entry.id for entry in self.entries]

    @model_validator(mode="after")
    def _unique(self) -> Report:
        names = self.owners
        for what, ids in (("job or entry", names), ("claim", [c.id for c in self.claims])):
            twice = sorted({name for name in ids if ids.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there twice")
        for claim in self.claims:
            for name in (claim.job, claim.reference_job, *(claim.jobs or ())):
                if name is not None and name not in names:
                    raise ValueError(f"claim {claim.id!r} names job {name!r}, which is not listed")
        return self


def value_rows(file: str, report: Report) -> list[dict[str, Any]]:
    """Each reported value of a file as one flat row."""
    owners: list[tuple[str, str | None, dict[str, ReportedValue]]] = [
        (job.job_id, job.experiment, job.values) for job in report.jobs
    ]
    owners += [(entry.id, None, entry.values) for entry in report.entries]
    return [
        {
            "source_file": file,
            "job_id": owner,
            "experiment": experiment,
            "metric": metric,
            "value": value.value,
            "unit": value.unit,
            "source": report.source,
            "date": report.date,
            "as_written": value.as_written,
            "system": report.system,
        }
        for owner, experiment, values in owners
        for metric, value in values.items()
    ]


def claim_rows(file: str, report: Report) -> list[dict[str, Any]]:
    """Each claim of a file as one flat row."""
    source = {"source": report.source, "date": report.date}
    return [{"source_file": file, **claim.model_dump(), **source} for claim in report.claims]


def configuration_row(report: Report, job: Job) -> dict[str, Any]:
    """Columns of the catalogue that the reported configuration can fill."""
    return {
        **job.configuration.model_dump(),
        "experiment": job.experiment,
        "system": report.system,
        "job_id": job.job_id,
    }


def run_row(report: Report, job: Job) -> dict[str, Any]:
    """A reported job as a row of the catalogue: values as claimed, no curve behind them."""
    value = {metric: reported.value for metric, reported in job.values.items()}
    return {
        **configuration_row(report, job),
        "stem": job.stem,
        "kind": "reported",
        "status": "reported",
        "evidence": False,
        "local": False,
        **{metric: value.get(metric) for metric in METRICS},
        "note": " ".join(f"reported by {report.source}, {report.date}. {job.note}".split()),
    }
