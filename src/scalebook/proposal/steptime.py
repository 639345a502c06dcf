"""Seconds of a step on a machine nobody has measured: an interval, not a prediction.

With b images on each GPU, n GPUs, and of the reference GPU t the reported step at B images
(B / rate) and f its FP16 step, which bounds the part F of a step that no batch makes shorter:

=========  ==========================================  ==========================================
case       computation                                 exchange of the gradients
=========  ==========================================  ==========================================
high       F + b (t − F) / B, the worse of F = 0, f    ring model: α at the top of its interval,
                                                       every DDP bucket pays it; a GPU's share of
                                                       the link at the pessimistic efficiency
middle     f / 2 + b (t − f / 2) / B / s               ring model: fitted α, one message; a GPU's
                                                       share of the link at the measured efficiency
low        F + b (t − F) / B / S, the better of        ring model: no latency; all links of a node
           F = 0, f                                    together at the best measured efficiency
=========  ==========================================  ==========================================

s and S are the smaller and the larger of two ratios of the target's GPU over the reference:
peak arithmetic in FP32 and memory bandwidth, at least 1, and 1 where one is not known. In the high
and middle case nothing of the exchange hides behind the backward pass: the step is the sum. In
the low case all of it does: the step is the longer of the two. All of this is modelled, not yet
validated; see `linkmodel` for the ring model, and `linkcheck` for how far the sum is off between
two nodes that were measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scalebook import results
from scalebook.analysis import linkmodel
from scalebook.analysis.declared import declared_plan, machine_facts
from scalebook.contract import ScalebookError
from scalebook.study import Facts, Plan


@dataclass(frozen=True)
class Range:
    """A number with its low and high case."""

    low: float
    mid: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.mid * factor, self.high * factor)

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.mid, self.high))

    def columns(self, name: str, scale: float = 1.0) -> dict[str, float]:
        """As columns ``name``, ``name_low`` and ``name_high``."""
        return {name: scale * self.mid, f"{name}_low": scale * self.low,
                f"{name}_high": scale * self.high}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """What the step time of one machine is made from.

    Attributes
    ----------
    step, fixed : float
        t and f in s.
    batch : int
        B, images.
    speed : Range
        How many times faster a GPU is than the reference; 1 in the high case.
    alpha : Range
        Latency of a hop in s.
    bandwidth : Range
        Of the link in bytes/s; low is the slowest, hence of the high case.
    """

    plan: Plan
    facts: Facts
    step: float
    fixed: float
    batch: int
    speed: Range
    alpha: Range
    bandwidth: Range

    def compute(self, batch: float) -> Range:
        """Seconds of computation with `batch` images on each GPU."""

        def one(fixed: float, speed: float) -> float:
            return fixed + batch * (self.step - fixed) / self.batch / speed

        ends = (0.0, self.fixed)
        return Range(
            low=min(one(fixed, self.speed.high) for fixed in ends),
            mid=one(self.fixed / 2, self.speed.mid),
            high=max(one(fixed, self.speed.low) for fixed in ends),
        )

    def exchange(self, gpus: int) -> Range:
        """Seconds to sum the gradients of `gpus` GPUs up."""
        size, messages = self.plan.workload.gradients, self.plan.workload.messages
        if gpus == 1:
            return Range(0.0, 0.0, 0.0)
        return Range(
            low=linkmodel.ring_seconds(gpus, size, self.alpha.low, self.bandwidth.high),
            mid=linkmodel.ring_seconds(gpus, size, self.alpha.mid, self.bandwidth.mid),
            high=linkmodel.ring_seconds(gpus, size, messages * self.alpha.high, self.bandwidth.low),
        )

    def seconds(self, gpus: int, batch: float) -> Range:
        """Seconds of a step."""
        compute, exchange = self.compute(batch), self.exchange(gpus)
        whole = compute + exchange
        return Range(max(compute.low, exchange.low), whole.mid, whole.high)


def the_plan() -> Plan:
    """The study's plan.

    Raises
    ------
    ScalebookError
        If the study has none.
    """
    document = declared_plan()
    if document is None:
        raise ScalebookError("data/plan.yaml: no such file; it says what a proposal would run")
    return Plan.model_validate(document)


def facts_of(machine: str) -> Facts:
    """Facts about a target, complete enough to compute with.

    Raises
    ------
    ScalebookError
        One line that names what is missing.
    """
    document = machine_facts(machine)
    where = f"data/systems/{machine}.yaml"
    if document is None:
        raise ScalebookError(f"{where}: no such file; {machine} is a machine of data/plan.yaml")
    facts = Facts.model_validate(document)
    missing = [
        name
        for name, value in (
            ("gpus_per_node", facts.gpus_per_node),
            ("link_gbit_s", facts.link_gbit_s),
            ("accounting", facts.accounting),
        )
        if not value
    ]
    if missing:
        raise ScalebookError(f"{where}: {missing[0]} is missing; the request is computed from it")
    return facts


def model_of(machine: str) -> Model:
    """Everything the step time on `machine` is made from.

    Raises
    ------
    ScalebookError
        One line, if the plan, a fact, a reported rate or a curve is missing.
    """
    plan, facts = the_plan(), facts_of(machine)
    source = plan.step_time
    step = source.batch / _reported(source.rate.job, source.rate.metric)
    fixed = source.batch / _reported(source.fixed.job, source.fixed.metric) if source.fixed else 0
    alpha, best, usual = _exchange_of(source.alpha_systems)
    share = facts.link_gbit_s_per_gpu or facts.link_gbit_s / facts.gpus_per_node
    per_gbit = 1e9 / 8
    return Model(
        plan=plan,
        facts=facts,
        step=step,
        # More than the whole step cannot be fixed.
        fixed=min(fixed, step),
        batch=source.batch,
        speed=_speed(facts, source.reference_system),
        alpha=alpha,
        bandwidth=Range(
            low=share * per_gbit * min(source.pessimistic_efficiency, usual),
            mid=share * per_gbit * usual,
            high=facts.link_gbit_s * per_gbit * best,
        ),
    )


def _reported(job: str, metric: str) -> float:
    table = results.reported()
    found = table[(table["job_id"].astype(str) == job) & (table["metric"] == metric)]["value"]
    if found.empty or not found.iloc[0] > 0:
        raise ScalebookError(
            f"data/plan.yaml: step_time: no file of data/reported tells {metric} of {job}"
        )
    return float(found.iloc[0])


def _speed(facts: Facts, reference: str) -> Range:
    """Ratios of the target's GPU over the reference's, at least 1."""
    document = machine_facts(reference)
    other = Facts.model_validate(document).gpu if document else None
    ratios = []
    if facts.gpu and other:
        pairs = (
            (facts.gpu.peak_tflops.get("fp32"), other.peak_tflops.get("fp32")),
            (facts.gpu.bandwidth_gb_s, other.bandwidth_gb_s),
        )
        ratios = [max(1.0, ours / theirs) for ours, theirs in pairs if ours and theirs]
    if len(ratios) < 2:
        # With one of the two unknown, the unknown one may be what limits.
        ratios.append(1.0)
    return Range(1.0, min(ratios), max(ratios))


def _exchange_of(systems: list[str]) -> tuple[Range, float, float]:
    """Latency over the systems; best and usual efficiency of the largest message."""
    fits = linkmodel.fits()
    found = [fits[name] for name in systems if name in fits]
    shares = []
    for system, curve in results.allreduce(local=False).groupby("system"):
        largest = curve.loc[curve["bytes"].idxmax()]
        if system in systems and largest["link_gbit_s"] == largest["link_gbit_s"]:
            shares.append(min(1.0, 8 * largest["busbw_gb_s"] / largest["link_gbit_s"]))
    if not found or not shares:
        raise ScalebookError(
            f"data/plan.yaml: step_time: no all-reduce curve with a known link of "
            f"{' or '.join(systems)}; measure one with: sbatch slurm/test_allreduce.sbatch"
        )
    alpha = Range(
        0.0, float(np.median([one.alpha for one in found])), max(one.alpha_high for one in found)
    )
    return alpha, max(shares), float(np.median(shares))
