"""The plan of a proposal: machines, runs, assumptions, milestones and risks of ``data/plan.yaml``.

A study need not have one. What the runs cost stands nowhere in it: `scalebook.proposal.request`
computes that from this plan, the measured curves and the facts about the machines.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from scalebook.study.document import Frozen, Name, Positive

FILE = "data/plan.yaml"

Text = Annotated[str, Field(min_length=1)]
Scale = Annotated[int, Field(ge=1, le=5)]


class Workload(Frozen):
    """What a step does.

    Attributes
    ----------
    strong_global_batch : int
        Images a step on every rung of a strong ladder.
    weak_batch_per_gpu : int
        Images a step on every GPU of a weak ladder.
    bucket_mib, first_bucket_mib : float
        Sizes of the pieces the gradients travel in, in MiB.
    """

    training_images: int = Field(ge=1)
    parameters: int = Field(ge=1)
    gradient_bytes: Positive = 4
    strong_global_batch: Positive
    weak_batch_per_gpu: Positive
    bucket_mib: float = Field(25.0, gt=0)
    first_bucket_mib: float = Field(1.0, gt=0)

    def gradients(self, parameters: int) -> int:
        """Bytes of the gradients of so many parameters."""
        return parameters * self.gradient_bytes

    def messages(self, parameters: int) -> int:
        """How many messages these gradients are sent in."""
        rest = self.gradients(parameters) - self.first_bucket_mib * 2**20
        return 1 + max(0, math.ceil(rest / (self.bucket_mib * 2**20)))

    def batch_per_gpu(self, scaling: str, gpus: int) -> float:
        """Images of one GPU in a step."""
        if scaling == "weak":
            return self.weak_batch_per_gpu
        return self.strong_global_batch / gpus


class Relative(Frozen):
    """How many times as long as something else it takes: low, middle and high case."""

    low: float = Field(gt=0)
    mid: float = Field(gt=0)
    high: float = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Relative:
        if not self.low <= self.mid <= self.high:
            raise ValueError("low, mid and high must not decrease")
        return self


class Network(Frozen):
    """A network other than the workload's, relative to it.

    Attributes
    ----------
    compute : Relative
        Time of the computation, of which the workload's network takes 1.
    """

    name: Name
    parameters: int = Field(ge=1)
    compute: Relative
    reason: Text


class ReportedNumber(Frozen):
    """A number of ``data/reported``: job or entry, and metric."""

    job: str
    metric: str


class HopLatency(Frozen):
    """Latency of a hop between the target's nodes, in µs, as published."""

    low_us: float = Field(ge=0)
    mid_us: float = Field(ge=0)
    high_us: float = Field(ge=0)
    source: Text
    date: Text

    @model_validator(mode="after")
    def _in_order(self) -> HopLatency:
        if not self.low_us <= self.mid_us <= self.high_us:
            raise ValueError("low_us, mid_us and high_us must not decrease")
        return self


class StepTime(Frozen):
    """Where the seconds of a step come from until they are measured on a target.

    Attributes
    ----------
    rate : ReportedNumber
        Images a second of one GPU.
    fixed : ReportedNumber or None
        Rate whose step bounds the part of a step that does not shrink with the batch.
    batch : int
        Images a step behind both.
    reference_system : str
        System whose GPU gave the rates.
    hop_latency : HopLatency
        Of the target's communication library.
    link_systems : list of str
        Systems whose all-reduce curves give the efficiency of the exchange.
    pessimistic_efficiency : float
        Share of the link's rate in the high case.
    """

    rate: ReportedNumber
    fixed: ReportedNumber | None = None
    batch: Positive
    reference_system: Name
    hop_latency: HopLatency
    link_systems: list[Name] = Field(min_length=1)
    pessimistic_efficiency: float = Field(0.5, gt=0, le=1)


class Measurement(Frozen):
    """Runs of one kind in a phase, on every rung of `gpus` (the plan's ladder where None).

    They take as few nodes as hold their GPUs, or `nodes` where that is more.

    Attributes
    ----------
    network : str or None
        One of the plan's networks; the workload's own where None.
    runs_per_job : int
        Runs that one job makes one after another.
    job_minutes, run_minutes : float
        Minutes that pass outside the steps: once in a job, and once more in each of its runs.
    """

    what: Text
    network: Name | None = None
    scaling: Literal["strong", "weak"]
    gpus: list[Positive] | None = Field(None, min_length=1)
    nodes: Positive | None = None
    variants: Positive = 1
    repetitions: Positive
    steps: Positive | None = None
    epochs: Positive | None = None
    runs_per_job: Positive = 1
    job_minutes: float = Field(ge=0)
    run_minutes: float = Field(0, ge=0)

    @property
    def runs(self) -> int:
        """Runs on one rung."""
        return self.variants * self.repetitions

    @property
    def jobs(self) -> int:
        """Jobs on one rung."""
        return math.ceil(self.runs / self.runs_per_job)

    @model_validator(mode="after")
    def _one_length(self) -> Measurement:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of the two")
        return self


class Phase(Frozen):
    """What is run on the way to one milestone: of the core, or what the rest of the hours buys."""

    name: Name
    title: Text
    part: Literal["core", "rest"] = "core"
    milestone: str | None = None
    measurements: list[Measurement] = Field(min_length=1)


class Assumption(Frozen):
    """What is taken for granted, and why."""

    id: Name
    text: Text
    reason: Text


class Objective(Frozen):
    """What the project is for, and which results show that it was reached."""

    id: str = Field(pattern=r"^O[0-9]{1,2}$")
    text: Text
    reached: Text


class Milestone(Frozen):
    """A milestone; `start` and `end` are months from 1, `effort` is in person-months."""

    id: str = Field(pattern=r"^M[0-9]{1,2}$")
    title: Text
    start: Positive
    end: Positive
    effort: float = Field(gt=0)
    deliverable: Text
    shown_by: Text

    @model_validator(mode="after")
    def _forward(self) -> Milestone:
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self


class Risk(Frozen):
    """A risk; likelihood and impact from 1 (low) to 5 (high)."""

    id: str = Field(pattern=r"^R[0-9]{1,2}$")
    text: Text
    likelihood: Scale
    impact: Scale
    mitigation: Text
    owner: Text


class Plan(Frozen):
    """A validated ``data/plan.yaml``.

    Attributes
    ----------
    months : int
        Length of the project.
    applicant : dict of str to str
        What a form asks of the applicant, and the answer; empty where only the owner knows it.
    machines : list of str
        Targets, each with facts in ``data/systems``; the first is the one applied for.
    ladder : list of int
        GPUs of the rungs, as Slurm counts them.
    contingency : float
        Share added to the sum of the phases.
    """

    name: Name
    title: str = ""
    months: Positive
    applicant: dict[Text, str] = Field({})
    machines: list[Name] = Field(min_length=1)
    ladder: list[Positive] = Field(min_length=1)
    workload: Workload
    networks: list[Network] = Field([])
    step_time: StepTime
    phases: list[Phase] = Field(min_length=1)
    contingency: float = Field(ge=0, le=1)
    assumptions: list[Assumption] = Field([])
    objectives: list[Objective] = Field([])
    milestones: list[Milestone] = Field([])
    risks: list[Risk] = Field([])

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if any(after <= before for before, after in zip(self.ladder, self.ladder[1:])):
            raise ValueError("ladder: must increase from rung to rung")
        lists = {
            "machines": self.machines,
            "networks": [network.name for network in self.networks],
            "phases": [phase.name for phase in self.phases],
            "assumptions": [assumption.id for assumption in self.assumptions],
            "objectives": [objective.id for objective in self.objectives],
            "milestones": [milestone.id for milestone in self.milestones],
            "risks": [risk.id for risk in self.risks],
        }
        for what, names in lists.items():
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(f"{what}: {twice!r} is there twice")
        for name in ("contingency", "core", "total"):
            if name in lists["phases"]:
                raise ValueError(f"phases: {name!r} is taken, name the phase otherwise")
        for phase in self.phases:
            if phase.milestone and phase.milestone not in lists["milestones"]:
                raise ValueError(f"phases.{phase.name}: no milestone {phase.milestone!r}")
            for measurement in phase.measurements:
                if measurement.network and measurement.network not in lists["networks"]:
                    raise ValueError(f"phases.{phase.name}: no network {measurement.network!r}")
        for milestone in self.milestones:
            if milestone.end > self.months:
                raise ValueError(
                    f"milestones.{milestone.id}: ends in month {milestone.end} of {self.months}"
                )
        return self

    def gpus(self, measurement: Measurement) -> list[int]:
        """Rungs a measurement is made on."""
        return measurement.gpus or self.ladder

    def network(self, measurement: Measurement) -> Network | None:
        """The network that a measurement trains; None where it is the workload's."""
        return next(
            (network for network in self.networks if network.name == measurement.network), None
        )

    @property
    def effort(self) -> float:
        """Person-months of all milestones."""
        return sum(milestone.effort for milestone in self.milestones)
