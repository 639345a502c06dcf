"""The request of a proposal, computed: what jobs of some runs each take on the plan's GPUs.

The hours of a measurement are those of its jobs, each with the minutes that pass outside its steps,
and of its runs, each with its own and with steps × seconds of a step. On n GPUs, with g on a node:

- GPU-hours = n × hours, what the runs use;
- node-hours = ⌈n / g⌉ × hours, what they occupy: every job takes whole nodes;
- billed = node-hours × the machine's units per node-hour, in its own unit.

The seconds of a step are those of `steptime`, in three cases; so is everything after them. The
request is made from the high case with contingency and rounded up. Modelled, not yet validated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from scalebook.analysis.scaling import efficiency, speedup
from scalebook.contract import ScalebookError
from scalebook.proposal.steptime import Model, Range, model_of
from scalebook.study import Plan
from scalebook.study.plan import Measurement

#: Hours a request is rounded up to.
ROUND = 10

NOTHING = Range(0, 0, 0)
#: What a share of contingency adds none of.
COUNTS = ("runs", "jobs")


@dataclass(frozen=True)
class Cost:
    """What some runs take on a machine.

    Attributes
    ----------
    runs, jobs : int
        How many there are.
    gpu_hours, node_hours : Range
        Hours used, and hours occupied.
    billed : Range
        In the machine's own unit.
    overhead_node_hours : float
        Node-hours that pass outside the steps, in every case.
    """

    runs: int = 0
    jobs: int = 0
    gpu_hours: Range = NOTHING
    node_hours: Range = NOTHING
    billed: Range = NOTHING
    overhead_node_hours: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        mine, others = vars(self), vars(other)
        return Cost(**{name: mine[name] + others[name] for name in mine})

    def __mul__(self, factor: float) -> Cost:
        scaled = {name: value * factor for name, value in vars(self).items() if name not in COUNTS}
        return replace(self, **scaled)


def steps_of(plan: Plan, measurement: Measurement, gpus: int) -> int:
    """Steps of one run of a measurement."""
    if measurement.steps:
        return measurement.steps
    batch = gpus * plan.workload.batch_per_gpu(measurement.scaling, gpus)
    return (measurement.epochs or 0) * math.ceil(plan.workload.training_images / batch)


class Asked(NamedTuple):
    """Hours that are asked for: of nodes, and what they cost in the machine's unit."""

    node_hours: int
    billed: float


class Request:
    """What the runs of the plan cost on one machine.

    Parameters
    ----------
    model : Model
        Seconds of a step there.

    Attributes
    ----------
    costs : dict of str to Cost
        Of each phase by name, then ``contingency``, then ``total``, and of it ``core``: the phases
        of the core with their contingency. The share of contingency belongs to each case.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        phases = {
            phase.name: sum(map(self._cost, phase.measurements), Cost())
            for phase in model.plan.phases
        }
        whole, share = sum(phases.values(), Cost()), model.plan.contingency
        core = [phases[phase.name] for phase in model.plan.phases if phase.part == "core"]
        self.costs = {
            **phases,
            "contingency": whole * share,
            "total": whole * (1 + share),
            "core": sum(core, Cost()) * (1 + share),
        }

    def asked(self) -> Asked:
        """What to ask for: the high case with contingency, rounded up to `ROUND`."""
        nodes = ROUND * math.ceil(self.costs["total"].node_hours.high / ROUND)
        return Asked(nodes, nodes * self.model.accounting.units_per_node_hour)

    def longest(self) -> tuple[float, str]:
        """Minutes of the longest job in the high case, start and stop included, and which it is."""
        plan = self.model.plan
        return max(
            (
                measurement.job_minutes
                + min(measurement.runs_per_job, measurement.runs)
                * (
                    measurement.run_minutes
                    + steps_of(plan, measurement, gpus) * self._step(measurement, gpus).high / 60
                ),
                f"{measurement.what}, {measurement.scaling}, {gpus} GPUs",
            )
            for phase in plan.phases
            for measurement in phase.measurements
            for gpus in plan.gpus(measurement)
        )

    def ladder(self, kind: str) -> pd.DataFrame:
        """Modelled scaling: one row a rung of the plan's ladder.

        Parameters
        ----------
        kind : {"strong", "weak"}
            Whether the global batch or the batch of a GPU stays the same.

        Returns
        -------
        DataFrame
            Times in ms, efficiency in percent. Low and high of a speed-up are the smallest and
            largest of the three cases, each case divided by its own first rung.
        """
        if kind not in ("strong", "weak"):
            raise ScalebookError(f"ladder {kind!r}: choose strong or weak")
        model, work = self.model, self.model.plan.workload
        first, rows = model.plan.ladder[0], []
        batch_1 = work.batch_per_gpu(kind, first)
        step_1 = model.seconds(first, batch_1)
        for gpus in model.plan.ladder:
            batch = work.batch_per_gpu(kind, gpus)
            step = model.seconds(gpus, batch)
            # Time per image, so that one formula serves both kinds.
            ratios = [
                speedup(now / (batch * gpus), before / (batch_1 * first), more_is_better=False)
                for now, before in zip(step, step_1)
            ]
            ratio = Range(min(ratios), ratios[1], max(ratios))
            share = Range(*(efficiency(value, gpus, first) for value in ratio))
            rows.append(
                {
                    "gpus": gpus,
                    "nodes": model.nodes(gpus),
                    "batch_per_gpu": batch,
                    "global_batch": batch * gpus,
                    **step.columns("step_ms", 1e3),
                    "compute_ms": 1e3 * model.compute(batch).mid,
                    "exchange_ms": 1e3 * model.exchange(gpus).mid,
                    **ratio.columns("speedup"),
                    **share.columns("efficiency"),
                }
            )
        return pd.DataFrame(rows)

    def measurements(self) -> pd.DataFrame:
        """What stands behind the hours: one row a measurement of the plan.

        Returns
        -------
        DataFrame
            Columns ``phase``, ``number`` (within the phase), ``what``, ``first`` and ``most``
            (GPUs), ``runs``, ``jobs``, then of a run on the most GPUs ``steps`` and the low, middle
            and high ``step_ms``, and ``node_hours`` of all runs, without contingency.
        """
        rows = []
        for phase in self.model.plan.phases:
            for number, measurement in enumerate(phase.measurements, 1):
                gpus, cost = self.model.plan.gpus(measurement), self._cost(measurement)
                most = max(gpus)
                rows.append(
                    {
                        "phase": phase.name,
                        "number": number,
                        "what": measurement.what,
                        "first": min(gpus),
                        "most": most,
                        "runs": cost.runs,
                        "jobs": cost.jobs,
                        "steps": steps_of(self.model.plan, measurement, most),
                        **self._step(measurement, most).columns("step_ms", 1e3),
                        **cost.node_hours.columns("node_hours"),
                    }
                )
        return pd.DataFrame(rows)

    def _step(self, measurement: Measurement, gpus: int) -> Range:
        batch = self.model.plan.workload.batch_per_gpu(measurement.scaling, gpus)
        return self.model.seconds(gpus, batch, self.model.plan.network(measurement))

    def _cost(self, measurement: Measurement) -> Cost:
        """All runs of a measurement."""
        cost = Cost()
        outside = (
            measurement.jobs * measurement.job_minutes + measurement.runs * measurement.run_minutes
        ) / 60
        for gpus in self.model.plan.gpus(measurement):
            steps = measurement.runs * steps_of(self.model.plan, measurement, gpus)
            hours = self._step(measurement, gpus) * (steps / 3600) + Range(
                outside, outside, outside
            )
            nodes = max(measurement.nodes or 1, self.model.nodes(gpus))
            cost += Cost(
                measurement.runs,
                measurement.jobs,
                gpu_hours=hours * gpus,
                node_hours=hours * nodes,
                billed=hours * nodes * self.model.accounting.units_per_node_hour,
                overhead_node_hours=nodes * outside,
            )
        return cost


def request_of(machine: str) -> Request:
    """The request for a machine of the plan.

    Parameters
    ----------
    machine : str
        With facts in ``data/systems``.

    Raises
    ------
    ScalebookError
        One line, if something it is computed from is missing.
    """
    return Request(model_of(machine))
