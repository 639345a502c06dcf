"""Tables of a proposal as DataFrames: its plan, its machines, the computed request.

Numbers are looked up in the ledger, so that each keeps its origin on the page.
"""

from __future__ import annotations

import pandas as pd

from scalebook import contract, study
from scalebook.contract import ScalebookError
from scalebook.publish import values
from scalebook.publish.frames import NOTHING
from scalebook.publish.values import Shown
from scalebook.study import Facts, Plan
from scalebook.study.document import read
from scalebook.study.plan import FILE

#: What a proposal compares machines by: heading, fact, format.
FACTS = (
    ("Nodes", "nodes", ",.0f"),
    ("GPUs of a node, for Slurm", "gpus_per_node", ".0f"),
    ("Memory of a GPU, GB", "gpu.memory_gb", ".0f"),
    ("Its peak in FP32, TFLOP/s", "gpu.peak_tflops.fp32", ".1f"),
    ("Its peak in FP16, TFLOP/s", "gpu.peak_tflops.fp16", ".1f"),
    ("Link of a node, Gbit/s", "link_gbit_s", ",.0f"),
)


def _plan() -> Plan:
    plan = study.load().plan
    if plan is None:
        raise ScalebookError(f"there is no {FILE}")
    return plan


def _facts(machine: str) -> Facts:
    relative = f"data/systems/{machine}.yaml"
    path = contract.find_root() / relative
    if not path.is_file():
        raise ScalebookError(f"machine {machine}: no facts in {relative}")
    return read(Facts, path, relative)


def number(key: str, spec: str, unit: bool = False, interval: bool = False) -> Shown | str:
    """A number of the ledger as a cell; a dash where it has none of that name."""
    value = values.numbers().get(key)
    return NOTHING if value is None else Shown(value, spec, unit, interval)


def _title(machine: str) -> str:
    """Name of a machine in prose: what stands before the comma of its title."""
    return _facts(machine).title.partition(",")[0] or machine


# --------------------------------------------------------------------------- the plan


def objectives() -> pd.DataFrame:
    """Objectives, and what tells that each was reached."""
    rows = [(one.id, one.text, one.reached) for one in _plan().objectives]
    return pd.DataFrame(rows, columns=["ID", "Objective", "Reached when"])


def assumptions() -> pd.DataFrame:
    """What the computed request takes for given, and why."""
    rows = [(one.text, one.reason) for one in _plan().assumptions]
    return pd.DataFrame(rows, columns=["Assumption", "Reason"])


def milestones() -> pd.DataFrame:
    """Milestones with months, effort and deliverables."""
    rows = [
        (one.id, one.title, f"{one.start}–{one.end}", f"{one.effort:.1f}", one.deliverable)
        for one in _plan().milestones
    ]
    columns = ["ID", "Milestone", "Months", "Effort", "Deliverable"]
    return pd.DataFrame(rows, columns=columns)


def risks() -> pd.DataFrame:
    """Risks, the largest product of likelihood and impact first."""
    ordered = sorted(_plan().risks, key=lambda one: -one.likelihood * one.impact)
    rows = [
        (one.id, one.text, f"{one.likelihood} × {one.impact}", one.mitigation, one.owner)
        for one in ordered
    ]
    return pd.DataFrame(rows, columns=["ID", "Risk", "L × I", "What is done about it", "Owner"])


# --------------------------------------------------------------------------- machines and hours


def machines() -> pd.DataFrame:
    """Facts about the machines of the plan, a column each."""
    plan = _plan()
    facts = {machine: _facts(machine) for machine in plan.machines}
    rows = [["GPU", *(one.gpu.name if one.gpu else NOTHING for one in facts.values())]]
    for heading, key, spec in FACTS:
        rows.append([heading, *(number(f"cited.{machine}.{key}", spec) for machine in facts)])
    rows.append(["Network", *(one.network.partition(",")[0] or NOTHING for one in facts.values())])
    last = f"Nodes of {plan.ladder[-1]} GPUs"
    rows.append([last, *(number(f"plan.{machine}.nodes", ".0f") for machine in facts)])
    rows.append(["Billed in", *(one.accounting.unit for one in facts.values())])
    unit = "Units of a node-hour"
    key = "accounting.units_per_node_hour"
    rows.append([unit, *(number(f"cited.{machine}.{key}", "g") for machine in facts)])
    granted = "Node-hours of a Development grant"
    key = "cited.access.development.{}.node_hours"
    rows.append([granted, *(number(key.format(machine), ",.0f") for machine in facts)])
    return pd.DataFrame(rows, columns=["Fact", *(_title(machine) for machine in facts)])


def request(machine: str) -> pd.DataFrame:
    """The computed request for a machine, phase by phase, and what is asked for."""
    plan, unit = _plan(), _facts(machine).accounting.unit
    phases = [(one.milestone or NOTHING, one.title, one.name) for one in plan.phases]
    phases += [("", "Contingency", "contingency"), ("", "Total", "total")]
    rows: list[list[Shown | str]] = []
    for milestone, title, name in phases:
        prefix = f"modelled.request.{machine}.{name}"
        hours = [number(f"{prefix}.{metric}", ",.0f", interval=True)
                 for metric in ("gpu_hours", "node_hours", "billed")]  # fmt: skip
        rows.append([milestone, title, number(f"{prefix}.runs", ".0f"), *hours])
    asked = [number(f"modelled.request.{machine}.asked.{metric}", ",.0f")
             for metric in ("node_hours", "billed")]  # fmt: skip
    rows.append(["", "Asked for: high case, rounded up", "", "", *asked])
    columns = ["For", "Phase", "Runs", "GPUs × hours", "Node-hours", f"Billed, {unit}"]
    return pd.DataFrame(rows, columns=columns)


def compared() -> pd.DataFrame:
    """The reported request, the same by its own formula, and the computed one a machine."""
    reported = "modelled.request.reported"
    rows: list[list[Shown | str]] = []
    if _plan().reported_request:
        rows = [
            ["Earlier estimate, as added up", number(f"{reported}.hours", ",.0f"),
             NOTHING, "no factor for GPUs"],
            ["The same by its own formula", NOTHING,
             number(f"{reported}.ladder_gpu_hours", ",.0f"), "with the GPUs of every rung"],
        ]  # fmt: skip
    for machine in _plan().machines:
        prefix = f"modelled.request.{machine}"
        rows.append(
            [
                f"Computed for {_title(machine)}",
                number(f"{prefix}.total.node_hours", ",.0f", interval=True),
                number(f"{prefix}.total.gpu_hours", ",.0f", interval=True),
                number(f"{prefix}.asked.billed", ",.0f", unit=True),
            ]
        )
    return pd.DataFrame(rows, columns=["Request", "Node-hours", "GPUs × hours", "Asked for"])


def ladder(machine: str, kind: str) -> pd.DataFrame:
    """Modelled scaling on a machine, a row a rung."""
    if kind not in ("strong", "weak"):
        raise ScalebookError(f"ladder {kind!r}: there are strong and weak")
    work, per_node = _plan().workload, _facts(machine).gpus_per_node or 1
    rows = []
    for gpus in _plan().ladder:
        prefix = f"modelled.ladder.{machine}.{kind}.{gpus}"
        shown = [number(f"{prefix}.{metric}", spec, interval=True)
                 for metric, spec in (("step_ms", ",.0f"), ("speedup", ".1f"),
                                      ("efficiency", ".0f"))]  # fmt: skip
        batch = f"{gpus * work.batch_per_gpu(kind, gpus):,.0f}"
        rows.append([str(gpus), str(-(-gpus // per_node)), batch, *shown])
    columns = ["GPUs", "Nodes", "Global batch", "Step, ms", "Speed-up", "Efficiency, %"]
    return pd.DataFrame(rows, columns=columns)
