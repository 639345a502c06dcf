"""What the runs of a plan would leave on disk, from the sizes of what runs have left so far."""

import math
from collections.abc import Iterator
from pathlib import Path
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


def runs_of(plan: Plan, measurement: Measurement) -> int:
    """Runs of a measurement on all its rungs."""
    return measurement.runs * len(plan.gpus(measurement))


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
        for measurement in phase.measurements:
            each, gpus = measurement.runs, plan.gpus(measurement)
            runs += runs_of(plan, measurement)
            rows += each * sum(steps_of(plan, measurement, n) * n for n in gpus)
            if measurement.what.startswith("profile"):
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
    evidence = contract.find_root() / contract.EVIDENCE
    rows, others, traces = [], [], []
    for run in results.runs(kind="measured", evidence=True).itertuples():
        files = RunFiles(evidence, run.stem)
        timed, epochs = _size(files.steps), _size(files.csv)
        if not (timed and epochs):
            continue
        if run.train_images and run.global_batch:
            steps = (run.epochs or 1) * math.ceil(run.train_images / run.global_batch)
            rows.append(timed / (steps * run.world_size))
        others.append(epochs + sum(map(_size, (files.manifest, files.log, files.sacct))))
        if run.profiled:
            sizes = [_size(files.trace(rank)) for rank in range(run.world_size)]
            traces += [size for size in sizes if size]
    if not rows:
        return None
    return Sizes(len(others), median(rows), median(others), median(traces) if traces else 0.0)


def _size(path: Path) -> int:
    """Bytes of a file; 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
