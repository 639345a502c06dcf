"""What the runs of a plan would leave on disk, from the sizes of what runs have left so far."""

import math
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from scalebook import contract, results
from scalebook.contract import RunFiles
from scalebook.proposal.request import steps_of
from scalebook.study import Plan
from scalebook.study.plan import Measurement

#: Bytes a parameter: FP32 weights and momentum.
CHECKPOINT_BYTES = 8


class Sizes(NamedTuple):
    """Median sizes of what runs have left so far, in bytes."""

    runs: int
    step_row: float
    other: float
    trace: float


class Volume(NamedTuple):
    """One kind of what is left, with its formula."""

    metric: str
    value: float
    unit: str
    formula: str


def runs_of(plan: Plan, one: Measurement) -> int:
    """Runs of a measurement on all its rungs."""
    return one.variants * one.repetitions * len(plan.gpus(one))


def volumes(plan: Plan) -> Iterator[Volume]:
    """Checkpoint of the model; results of all runs, and traces, where any run has left some."""
    parameters = plan.workload.parameters
    formula = f"{parameters:,} parameters × {CHECKPOINT_BYTES} bytes"
    yield Volume("checkpoint_mb", parameters * CHECKPOINT_BYTES / 1e6, "MB", formula)
    sizes = measured_sizes()
    if sizes is None:
        return
    runs = rows = traced = 0
    for phase in plan.phases:
        for one in phase.measurements:
            each, gpus = one.variants * one.repetitions, plan.gpus(one)
            runs += runs_of(plan, one)
            rows += each * sum(steps_of(plan, one, n) * n for n in gpus)
            if one.what.startswith("profile"):
                traced += each * sum(gpus)
    formula = (
        f"{runs:,} runs × {sizes.other / 1e3:.1f} kB and {rows:,} rows of step times × "
        f"{sizes.step_row:.1f} bytes, medians over {sizes.runs} runs so far"
    )
    total = runs * sizes.other + rows * sizes.step_row
    yield Volume("results_mb", total / 1e6, "MB", formula)
    if sizes.trace:
        formula = f"{traced:,} traces × {sizes.trace / 1e6:.2f} MB, the median of the traces so far"
        yield Volume("traces_gb", traced * sizes.trace / 1e9, "GB", formula)


def measured_sizes() -> Sizes | None:
    """Sizes of the files behind the runs that are evidence; None where there are none."""
    runs = results.runs(kind="measured", evidence=True)
    rows, others, traces = [], [], []
    for stem in runs["stem"].tolist():
        files = RunFiles(contract.find_root() / contract.EVIDENCE, stem)
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
