"""Seconds of a step on a machine nobody has measured: an interval, not a prediction.

With b images on each GPU, n GPUs, and of the reference GPU t the reported step at B images
(B / rate) and f its FP16 step, which bounds the part F of a step that no batch makes shorter:

=========  ==========================================  ==========================================
case       computation                                 exchange of the gradients
=========  ==========================================  ==========================================
high       F + b (t − F) / B, the worse of F = 0, f    ring model: highest α, every DDP bucket pays
                                                       it; a GPU's share of the link at the
                                                       pessimistic efficiency
middle     f / 2 + b (t − f / 2) / B / s               ring model: middle α, one message; a GPU's
                                                       share of the link at the measured efficiency
low        F + b (t − F) / B / S, the better of        ring model: lowest α; all links of a node
           F = 0, f                                    together at the best measured efficiency
=========  ==========================================  ==========================================

s and S are the smaller and the larger of two ratios of the target's GPU over the reference:
peak arithmetic in FP32 and memory bandwidth, at least 1, and 1 where one is not known. α is cited:
it belongs to the target's communication library, and another one was measured. In the high
and middle case nothing of the exchange hides behind the backward pass: the step is the sum. In
the low case all of it does: the step is the longer of the two. All of this is modelled, not yet
validated; see `analysis.link_model` for the ring model, and for how far the sum is off between two
nodes that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from scalebook import results
from scalebook.analysis import study_queries
from scalebook.analysis.link_model import ring_seconds
from scalebook.contract import ScalebookError
from scalebook.study import Accounting, Facts, Plan
from scalebook.study.plan import Network


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
        return {
            name: scale * self.mid,
            f"{name}_low": scale * self.low,
            f"{name}_high": scale * self.high,
        }


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
    gpus_per_node: int
    accounting: Accounting
    step: float
    fixed: float
    batch: int
    speed: Range
    alpha: Range
    bandwidth: Range

    def compute(self, batch: float) -> Range:
        """Seconds of computation with `batch` images on each GPU."""

        def seconds(fixed: float, speed: float) -> float:
            return fixed + batch * (self.step - fixed) / self.batch / speed

        ends = (0.0, self.fixed)
        return Range(
            low=min(seconds(fixed, self.speed.high) for fixed in ends),
            mid=seconds(self.fixed / 2, self.speed.mid),
            high=max(seconds(fixed, self.speed.low) for fixed in ends),
        )

    def nodes(self, gpus: int) -> int:
        """Nodes that hold so many GPUs."""
        return math.ceil(gpus / self.gpus_per_node)

    def exchange(self, gpus: int, parameters: int | None = None) -> Range:
        """Seconds to sum the gradients of `gpus` GPUs up, of the workload's network or another."""
        work = self.plan.workload
        parameters = parameters or work.parameters
        size, messages = work.gradients(parameters), work.messages(parameters)
        if gpus == 1:
            return Range(0.0, 0.0, 0.0)
        return Range(
            low=ring_seconds(gpus, size, self.alpha.low, self.bandwidth.high),
            mid=ring_seconds(gpus, size, self.alpha.mid, self.bandwidth.mid),
            high=ring_seconds(gpus, size, messages * self.alpha.high, self.bandwidth.low),
        )

    def seconds(self, gpus: int, batch: float, network: Network | None = None) -> Range:
        """Seconds of a step, of the workload's network or another."""
        compute, exchange = self.compute(batch), self.exchange(gpus)
        if network:
            ratio = network.compute
            compute = Range(
                compute.low * ratio.low, compute.mid * ratio.mid, compute.high * ratio.high
            )
            exchange = self.exchange(gpus, network.parameters)
        whole = compute + exchange
        return Range(max(compute.low, exchange.low), whole.mid, whole.high)


def the_plan() -> Plan:
    """The study's plan.

    Raises
    ------
    ScalebookError
        If the study has none.
    """
    plan = study_queries.plan()
    if plan is None:
        raise ScalebookError("data/plan.yaml: no such file; it says what a proposal would run")
    return plan


def model_of(machine: str) -> Model:
    """Everything the step time on `machine` is made from.

    Parameters
    ----------
    machine : str
        With facts in ``data/systems``.

    Raises
    ------
    ScalebookError
        One line, if the plan, a fact, a reported rate or a curve is missing.
    """
    plan, facts = the_plan(), study_queries.facts(machine)
    where = f"data/systems/{machine}.yaml"
    if not facts.name:
        raise ScalebookError(f"{where}: no such file; {machine} is a machine of data/plan.yaml")
    per_node, link, accounting = facts.gpus_per_node, facts.link_gbit_s, facts.accounting
    if not per_node or not link or not accounting:
        needed = ("gpus_per_node", "link_gbit_s", "accounting")
        missing = next(name for name in needed if not getattr(facts, name))
        raise ScalebookError(f"{where}: {missing} is missing; the request is computed from it")
    source = plan.step_time
    step = source.batch / _reported(source.rate.job, source.rate.metric)
    fixed = source.batch / _reported(source.fixed.job, source.fixed.metric) if source.fixed else 0
    best, usual = _efficiencies(source.link_systems)
    latency = source.hop_latency
    per_gbit = 1e9 / 8
    share = facts.link_gbit_s_per_gpu or link / per_node
    return Model(
        plan=plan,
        gpus_per_node=per_node,
        accounting=accounting,
        step=step,
        # More than the whole step cannot be fixed.
        fixed=min(fixed, step),
        batch=source.batch,
        speed=_speed(facts, source.reference_system),
        alpha=Range(latency.low_us, latency.mid_us, latency.high_us) * 1e-6,
        bandwidth=Range(
            low=share * per_gbit * min(source.pessimistic_efficiency, usual),
            mid=share * per_gbit * usual,
            high=link * per_gbit * best,
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
    reference_gpu = study_queries.facts(reference).gpu
    ratios = []
    if facts.gpu and reference_gpu:
        pairs = (
            (facts.gpu.peak_tflops.get("fp32"), reference_gpu.peak_tflops.get("fp32")),
            (facts.gpu.bandwidth_gb_s, reference_gpu.bandwidth_gb_s),
        )
        ratios = [max(1.0, ours / theirs) for ours, theirs in pairs if ours and theirs]
    if len(ratios) < 2:
        # With one of the two unknown, the unknown one may be what limits.
        ratios.append(1.0)
    return Range(1.0, min(ratios), max(ratios))


def _efficiencies(systems: Sequence[str]) -> tuple[float, float]:
    """Best and usual share of a link's rate that the largest message reaches on these systems."""
    shares = []
    for (system, _), curve in results.allreduce(local=False).groupby(["system", "stem"]):
        largest = curve.loc[curve["bytes"].idxmax()]
        if system in systems and largest["link_gbit_s"] == largest["link_gbit_s"]:
            shares.append(min(1.0, 8 * largest["busbw_gb_s"] / largest["link_gbit_s"]))
    if not shares:
        raise ScalebookError(
            f"data/plan.yaml: step_time: no all-reduce curve with a known link of "
            f"{' or '.join(systems)}; measure one with: sbatch slurm/test_allreduce.sbatch"
        )
    return max(shares), median(shares)
