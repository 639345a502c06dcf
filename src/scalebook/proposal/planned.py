"""Numbers of a proposal's plan, and what its runs would leave on disk.

=================================  =========================================================
key                                value
=================================  =========================================================
``plan.<field>``                   as ``data/plan.yaml`` says it, or counted over it
``plan.<machine>.nodes``           nodes of the largest rung on a target
``modelled.volume.results_mb``     results, step times, manifests and logs of all runs
``modelled.volume.traces_gb``      traces of the runs that are profiled, one a rank
``modelled.volume.checkpoint_mb``  weights and momentum of the model
``modelled.energy.<machine>.kwh``  of the GPUs in the hours asked for, at their highest power
``modelled.job.<machine>.minutes``  of the longest run, high case
=================================  =========================================================

Volumes follow from the sizes of the files that runs have left so far: for each row of the step
times, for each run, and for each trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from scalebook import contract, results, study
from scalebook.contract import RunFiles, ScalebookError
from scalebook.proposal.request import asked
from scalebook.proposal.steptime import model_of
from scalebook.study import Plan
from scalebook.study.plan import FILE, Measurement
from scalebook.values import references
from scalebook.values.value import Value

#: FP32 weights and momentum.
CHECKPOINT_BYTES = 8


class Sizes(NamedTuple):
    """Median sizes of what runs have left so far, in bytes."""

    runs: int
    step_row: float
    other: float
    trace: float


def values() -> Iterator[Value]:
    """Numbers of the plan; none where the study has no plan."""
    root = contract.find_root()
    plan = study.load(root).plan
    if plan is None:
        return
    yield from _declared(plan, root)
    checkpoint = plan.workload.parameters * CHECKPOINT_BYTES / 1e6
    said = f"{plan.workload.parameters:,} parameters × {CHECKPOINT_BYTES} bytes"
    yield _modelled("checkpoint_mb", checkpoint, "MB", said)
    sizes = measured_sizes(root)
    if sizes:
        yield from _volumes(plan, sizes)
    yield from _energy(plan)
    yield from _longest(plan)


# --------------------------------------------------------------------------- the plan itself


def _declared(plan: Plan, root: Path) -> Iterator[Value]:
    work = plan.workload
    counted = {
        "months": (plan.months, "months", "length of the project", "months"),
        "effort": (plan.effort, "person-months", "effort of all milestones", "milestones"),
        "gpus.first": (plan.ladder[0], "GPUs", "smallest rung", "ladder"),
        "gpus.last": (plan.ladder[-1], "GPUs", "largest rung", "ladder"),
        "rungs": (len(plan.ladder), "", "rungs of the ladder", "ladder"),
        "strong_global_batch": (work.strong_global_batch, "images", "global batch of the strong "
                                "ladder", "workload.strong_global_batch"),
        "weak_batch_per_gpu": (work.weak_batch_per_gpu, "images", "batch of a GPU on the weak "
                               "ladder", "workload.weak_batch_per_gpu"),
        "contingency": (100 * plan.contingency, "%", "share added for failed jobs", "contingency"),
        "runs": (sum(_runs(plan, one) for one in _measurements(plan)), "runs",
                 "runs of all phases", "phases"),
    }  # fmt: skip
    for field, (number, unit, said, place) in counted.items():
        yield _plan_value(field, number, unit, said, place)
    machines = study.load(root).machines
    for machine in plan.machines:
        facts = machines.get(machine)
        if facts and (per_node := facts.gpus_per_node):
            nodes = math.ceil(plan.ladder[-1] / per_node)
            said = f"nodes of {plan.ladder[-1]} GPUs on {machine}, {per_node} a node"
            yield _plan_value(f"{machine}.nodes", nodes, "nodes", said, "ladder")


def _plan_value(field: str, number: float, unit: str, said: str, place: str) -> Value:
    return Value(
        key=f"plan.{field}",
        value=float(number),
        unit=unit,
        kind="cited",
        source=f"{said}, from {FILE}",
        files=(FILE,),
        where=place,
        code="scalebook.proposal.planned",
    )


def _measurements(plan: Plan) -> Iterator[Measurement]:
    for phase in plan.phases:
        yield from phase.measurements


def _runs(plan: Plan, one: Measurement) -> int:
    return one.variants * one.repetitions * len(plan.gpus(one))


# --------------------------------------------------------------------------- volumes


def measured_sizes(root: Path) -> Sizes | None:
    """Sizes of the files behind the runs that are evidence; None where there are none."""
    runs = results.runs(kind="measured", evidence=True)
    rows, others, traces = [], [], []
    for stem in runs["stem"].tolist():
        files = RunFiles(root / contract.EVIDENCE, stem)
        if not (files.steps.is_file() and files.csv.is_file()):
            continue
        about = results.manifest(stem)
        images = (about.get("dataset") or {}).get("train_images")
        batch, ranks = about.get("global_batch"), about.get("world_size")
        if images and batch and ranks:
            steps = (about.get("epochs") or 1) * math.ceil(images / batch)
            rows.append(files.steps.stat().st_size / (steps * ranks))
        small = (files.csv, files.manifest, files.log, files.sacct)
        others.append(sum(path.stat().st_size for path in small if path.is_file()))
        ranked = (files.trace(rank) for rank in range(ranks or 1))
        traces += [path.stat().st_size for path in ranked if path.is_file()]
    if not rows:
        return None
    return Sizes(len(others), median(rows), median(others), median(traces) if traces else 0.0)


def _volumes(plan: Plan, sizes: Sizes) -> Iterator[Value]:
    runs = rows = traced = 0
    for one in _measurements(plan):
        each = one.variants * one.repetitions
        runs += _runs(plan, one)
        ranks = sum(plan.gpus(one))
        if one.what.startswith("profile"):
            traced += each * ranks
        rows += each * sum(_steps(plan, one, gpus) * gpus for gpus in plan.gpus(one))
    total = runs * sizes.other + rows * sizes.step_row
    said = (
        f"{runs:,} runs × {sizes.other / 1e3:.1f} kB and {rows:,} rows of step times × "
        f"{sizes.step_row:.1f} bytes, medians over {sizes.runs} runs so far"
    )
    yield _modelled("results_mb", total / 1e6, "MB", said)
    if sizes.trace:
        said = f"{traced:,} traces × {sizes.trace / 1e6:.2f} MB, the median of the traces so far"
        yield _modelled("traces_gb", traced * sizes.trace / 1e9, "GB", said)


def _energy(plan: Plan) -> Iterator[Value]:
    """Energy of the hours asked for, where the power of a node is among the cited numbers."""
    cited = references.values()
    power = {one.key: one.value for one in cited if one.key.startswith("cited.power.")}
    for machine in plan.machines:
        watts = power.get(f"cited.power.{machine}.node_w")
        if watts is None:
            continue
        try:
            hours = asked(machine)["node_hours"]
        except ScalebookError:
            continue
        said = f"{hours:,.0f} node-hours asked for × {watts / 1e3:.2f} kW of a node's GPUs"
        yield Value(
            key=f"modelled.energy.{machine}.kwh",
            value=hours * watts / 1e3,
            unit="kWh",
            kind="modelled",
            source=f"modelled for the plan: {said}, an upper bound for the GPUs alone",
            files=(FILE, f"data/systems/{machine}.yaml"),
            code="scalebook.proposal.planned",
        )


def _longest(plan: Plan) -> Iterator[Value]:
    """Length of the longest run in the high case, start and stop included."""
    for machine in plan.machines:
        try:
            model = model_of(machine)
        except ScalebookError:
            continue
        minutes, said = max(
            (
                one.overhead_minutes
                + _steps(plan, one, gpus)
                * model.seconds(gpus, plan.workload.batch_per_gpu(one.scaling, gpus)).high
                / 60,
                f"{one.what}, {one.scaling}, {gpus} GPUs",
            )
            for one in _measurements(plan)
            for gpus in plan.gpus(one)
        )
        yield Value(
            key=f"modelled.job.{machine}.minutes",
            value=minutes,
            unit="minutes",
            kind="modelled",
            source=f"modelled for the plan on {machine}, high case, not yet validated: {said}",
            files=(FILE, f"data/systems/{machine}.yaml"),
            where="phases",
            code="scalebook.proposal.planned",
        )


def _steps(plan: Plan, one: Measurement, gpus: int) -> int:
    """Steps of one run."""
    if one.steps:
        return one.steps
    batch = gpus * plan.workload.batch_per_gpu(one.scaling, gpus)
    return (one.epochs or 0) * math.ceil(plan.workload.training_images / batch)


def _modelled(metric: str, number: float, unit: str, formula: str) -> Value:
    return Value(
        key=f"modelled.volume.{metric}",
        value=number,
        unit=unit,
        kind="modelled",
        source=f"modelled for the plan: {formula}",
        files=(FILE,),
        where="phases",
        code="scalebook.proposal.planned",
    )
