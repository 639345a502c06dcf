"""The request of a proposal, computed: runs × (steps × seconds per step + overhead) × GPUs.

For each run of ``data/plan.yaml`` on n GPUs, with g GPUs on a node:

- GPU-hours = n × hours, what the run uses;
- node-hours = ⌈n / g⌉ × hours, what it occupies: every run takes whole nodes;
- billed = node-hours × the machine's units per node-hour, in its own unit.

The seconds of a step are those of `steptime`, in three cases; so is everything after them. The
request is made from the high case with contingency and rounded up. Modelled, not yet validated.
"""

from __future__ import annotations

import math

import pandas as pd

from scalebook.analysis.scaling import efficiency, speedup
from scalebook.contract import ScalebookError
from scalebook.proposal.steptime import Model, Range, model_of
from scalebook.study.plan import Measurement

METRICS = ("gpu_hours", "node_hours", "billed")
#: Node-hours that pass outside the steps, in every case.
OUTSIDE = "overhead_node_hours"
ENDS = ("", "_low", "_high")

#: Hours a request is rounded up to.
ROUND = 10

#: Columns of `request_table` for a reader; ``billed`` is in the machine's ``unit``.
REQUEST_HEADERS = {
    "title": "phase",
    "milestone": "milestone",
    "runs": "runs",
    "gpu_hours": "GPU-hours",
    "gpu_hours_low": "low",
    "gpu_hours_high": "high",
    "node_hours": "node-hours",
    "node_hours_low": "low",
    "node_hours_high": "high",
    "billed": "billed",
    "billed_low": "low",
    "billed_high": "high",
    "unit": "unit",
}

#: Columns of `ladder_table` for a reader, with units.
LADDER_HEADERS = {
    "gpus": "GPUs",
    "nodes": "nodes",
    "batch_per_gpu": "images of a GPU",
    "global_batch": "global batch",
    "step_ms": "step (ms)",
    "step_ms_low": "low (ms)",
    "step_ms_high": "high (ms)",
    "compute_ms": "computation (ms)",
    "exchange_ms": "exchange (ms)",
    "speedup": "speed-up (×)",
    "speedup_low": "low (×)",
    "speedup_high": "high (×)",
    "efficiency": "efficiency (%)",
    "efficiency_low": "low (%)",
    "efficiency_high": "high (%)",
}


def request_table(machine: str) -> pd.DataFrame:
    """What each phase costs on a machine, then contingency, then the total.

    Returns
    -------
    DataFrame
        Columns ``phase``, then those of `REQUEST_HEADERS`, then `OUTSIDE`; hours in the middle
        case, with the low and high one. The share of contingency belongs to each case.

    Raises
    ------
    ScalebookError
        One line, if something it is computed from is missing.
    """
    model = model_of(machine)
    unit = model.facts.accounting.unit
    rows, totals = [], dict.fromkeys(METRICS, Range(0, 0, 0))
    for phase in model.plan.phases:
        costs = [_cost(model, one) for one in phase.measurements]
        row = {"phase": phase.name, "title": phase.title, "milestone": phase.milestone or "",
               "unit": unit}  # fmt: skip
        for count in ("runs", OUTSIDE):
            row[count] = sum(cost[count] for cost in costs)
        for metric in METRICS:
            total = sum((cost[metric] for cost in costs), Range(0, 0, 0))
            row |= total.columns(metric)
            totals[metric] += total
        rows.append(row)
    outside = sum(row[OUTSIDE] for row in rows)
    runs = sum(row["runs"] for row in rows)
    share = model.plan.contingency
    for name, title, factor in (
        ("contingency", f"Contingency, {100 * share:g} %", share),
        ("total", "Total", 1 + share),
    ):
        row = {"phase": name, "title": title, "milestone": "", "unit": unit}
        row |= {"runs": runs if name == "total" else None, OUTSIDE: outside * factor}
        for metric in METRICS:
            row |= (totals[metric] * factor).columns(metric)
        rows.append(row)
    return pd.DataFrame(rows, columns=["phase", *REQUEST_HEADERS, OUTSIDE])


def _cost(model: Model, one: Measurement) -> dict:
    """Hours of all runs of a measurement."""
    work, facts = model.plan.workload, model.facts
    cost: dict = {"runs": 0, OUTSIDE: 0.0, **dict.fromkeys(METRICS, Range(0, 0, 0))}
    for gpus in model.plan.gpus(one):
        batch = work.batch_per_gpu(one.scaling, gpus)
        steps = one.steps or one.epochs * math.ceil(work.training_images / (batch * gpus))
        overhead = 60 * one.overhead_minutes
        seconds = model.seconds(gpus, batch) * steps + Range(overhead, overhead, overhead)
        runs = one.variants * one.repetitions
        hours = seconds * (runs / 3600)
        nodes = max(one.nodes or 1, math.ceil(gpus / facts.gpus_per_node))
        cost["runs"] += runs
        cost[OUTSIDE] += nodes * runs * overhead / 3600
        cost["gpu_hours"] += hours * gpus
        cost["node_hours"] += hours * nodes
        cost["billed"] += hours * (nodes * facts.accounting.units_per_node_hour)
    return cost


def ladder_table(machine: str, kind: str) -> pd.DataFrame:
    """Modelled scaling on a machine: one row a rung of the plan's ladder.

    Parameters
    ----------
    machine : str
        With facts in ``data/systems``.
    kind : {"strong", "weak"}
        Whether the global batch or the batch of a GPU stays the same.

    Returns
    -------
    DataFrame
        Columns of `LADDER_HEADERS`. Low and high of a speed-up are the smallest and largest of
        the three cases, each case divided by its own first rung.

    Raises
    ------
    ScalebookError
        One line, if something it is computed from is missing.
    """
    if kind not in ("strong", "weak"):
        raise ScalebookError(f"ladder {kind!r}: choose strong or weak")
    model = model_of(machine)
    rows, first = [], None
    for gpus in model.plan.ladder:
        batch = model.plan.workload.batch_per_gpu(kind, gpus)
        step = model.seconds(gpus, batch)
        first = first or (gpus, batch * gpus, step)
        # Time per image, so that one formula serves both kinds.
        ratios = [
            speedup(now / (batch * gpus), before / first[1], more_is_better=False)
            for now, before in zip(step, first[2])
        ]
        ratio = Range(min(ratios), ratios[1], max(ratios))
        share = Range(*(efficiency(one, gpus, first[0]) for one in ratio))
        rows.append(
            {
                "gpus": gpus,
                "nodes": math.ceil(gpus / model.facts.gpus_per_node),
                "batch_per_gpu": batch,
                "global_batch": batch * gpus,
                **step.columns("step_ms", 1e3),
                "compute_ms": 1e3 * model.compute(batch).mid,
                "exchange_ms": 1e3 * model.exchange(gpus).mid,
                **ratio.columns("speedup"),
                **share.columns("efficiency"),
            }
        )
    return pd.DataFrame(rows, columns=list(LADDER_HEADERS))


def asked(machine: str) -> dict[str, float]:
    """What to ask for: the high case with contingency, rounded up to `ROUND`.

    Returns
    -------
    dict of str to float
        ``node_hours``, and ``billed`` in the machine's unit for so many node-hours.
    """
    total = request_table(machine).set_index("phase").loc["total"]
    nodes = ROUND * math.ceil(total["node_hours_high"] / ROUND)
    return {
        "node_hours": nodes,
        "billed": nodes * model_of(machine).facts.accounting.units_per_node_hour,
    }
