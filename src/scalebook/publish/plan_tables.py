"""Tables of a proposal as DataFrames: its plan, its machines, the computed request.

Numbers are looked up in the ledger, so that each keeps its origin on the page.
"""

import pandas as pd

from scalebook import study
from scalebook.contract import ScalebookError
from scalebook.proposal.request import request_of
from scalebook.publish.values import NOTHING, Shown, cell
from scalebook.study import Facts, Plan
from scalebook.study.document import beside
from scalebook.study.plan import FILE

_COLUMNS = beside(__file__)


def _plan() -> Plan:
    plan = study.load().plan
    if plan is None:
        raise ScalebookError(f"there is no {FILE}")
    return plan


def _facts(machine: str) -> Facts:
    facts = study.load().facts(machine)
    if facts is None:
        raise ScalebookError(f"machine {machine}: no facts in data/systems/{machine}.yaml")
    return facts


def _unit(facts: Facts) -> str:
    """What a machine bills in."""
    return facts.accounting.unit if facts.accounting else NOTHING


def _title(machine: str) -> str:
    """Name of a machine in prose: what stands before the comma of its title."""
    return _facts(machine).title.partition(",")[0] or machine


# --------------------------------------------------------------------------- the plan


def entries(part: str) -> pd.DataFrame:
    """Objectives, assumptions, milestones or risks, a row each; the largest risk first."""
    found = list(getattr(_plan(), part))
    if part == "risks":
        found.sort(key=lambda risk: -risk.likelihood * risk.impact)
    columns: dict[str, str] = _COLUMNS[part]
    rows = [[text.format(**dict(entry)) for text in columns.values()] for entry in found]
    return pd.DataFrame(rows, columns=list(columns))


def applicant() -> pd.DataFrame:
    """What a form asks of the applicant, and what the owner of the study has entered."""
    rows = [[field, answer or "to be entered"] for field, answer in _plan().applicant.items()]
    return pd.DataFrame(rows, columns=["Asked by the form", "Answer"])


# --------------------------------------------------------------------------- machines and hours


def machines() -> pd.DataFrame:
    """Facts about the machines of the plan, a column each."""
    plan = _plan()
    facts = {machine: _facts(machine) for machine in plan.machines}

    def numbers(heading: str, key: str, spec: str) -> list[Shown | str]:
        return [heading, *(cell(key.format(machine), spec) for machine in facts)]

    rows = [
        ["GPU", *(system.gpu.name if system.gpu else NOTHING for system in facts.values())],
        *(
            numbers(heading, f"cited.{{}}.{key}", spec)
            for heading, key, spec in _COLUMNS["machines"]
        ),
        ["Network", *(system.network.partition(",")[0] or NOTHING for system in facts.values())],
        numbers(f"Nodes of {plan.ladder[-1]} GPUs", "plan.{}.nodes", ".0f"),
        ["Billed in", *map(_unit, facts.values())],
        numbers("Units of a node-hour", "cited.{}.accounting.units_per_node_hour", "g"),
        numbers(
            "Node-hours of a Development grant", "cited.access.development.{}.node_hours", ",.0f"
        ),
    ]
    return pd.DataFrame(rows, columns=["Fact", *(_title(machine) for machine in facts)])


def request(machine: str) -> pd.DataFrame:
    """The computed request for a machine, phase by phase, and what is asked for."""
    plan, unit = _plan(), _unit(_facts(machine))
    request = f"modelled.request.{machine}"
    phases = [(phase.milestone or NOTHING, phase.title, phase.name) for phase in plan.phases]
    phases += [("", "Contingency", "contingency"), ("", "Total", "total")]
    if any(phase.part != "core" for phase in plan.phases):
        phases.append(("", "Of it the core, with contingency", "core"))
    rows: list[list[Shown | str]] = []
    for milestone, title, name in phases:
        hours = [
            cell(f"{request}.{name}.{metric}", ",.0f", interval=True)
            for metric in ("gpu_hours", "node_hours", "billed")
        ]
        counts = (cell(f"{request}.{name}.{metric}", ".0f") for metric in ("runs", "jobs"))
        rows.append([milestone, title, *counts, *hours])
    asked = [cell(f"{request}.asked.{metric}", ",.0f") for metric in ("node_hours", "billed")]
    rows.append(["", "Asked for: high case, rounded up", "", "", "", *asked])
    columns = ["For", "Phase", "Runs", "Jobs", "GPUs × hours", "Node-hours", f"Billed, {unit}"]
    return pd.DataFrame(rows, columns=columns)


def measurements(machine: str) -> pd.DataFrame:
    """What stands behind the request for a machine: runs, steps and the time of a step."""
    milestones = {phase.name: phase.milestone or NOTHING for phase in _plan().phases}
    rows: list[list[Shown | str]] = []
    for row in request_of(machine).measurements().to_dict("records"):
        prefix = f"modelled.request.{machine}.{row['phase']}.{row['number']}"
        first, most = row["first"], row["most"]
        rows.append(
            [
                milestones[row["phase"]],
                row["what"][:1].upper() + row["what"][1:],
                str(most) if first == most else f"{first}–{most}",
                str(row["jobs"]),
                str(row["runs"]),
                f"{row['steps']:,}",
                cell(f"{prefix}.step_ms", ",.0f", interval=True),
                cell(f"{prefix}.node_hours", ",.1f", interval=True),
            ]
        )
    columns = ["For", "Measurement", "GPUs", "Jobs", "Runs", "Steps", "ms a step", "Node-hours"]
    return pd.DataFrame(rows, columns=columns)


def ladder(machine: str, kind: str) -> pd.DataFrame:
    """Modelled scaling on a machine, a row a rung."""
    if kind not in ("strong", "weak"):
        raise ScalebookError(f"ladder {kind!r}: there are strong and weak")
    work, per_node = _plan().workload, _facts(machine).gpus_per_node or 1
    rows = []
    for gpus in _plan().ladder:
        prefix = f"modelled.ladder.{machine}.{kind}.{gpus}"
        batch = f"{gpus * work.batch_per_gpu(kind, gpus):,.0f}"
        rows.append(
            [
                str(gpus),
                str(-(-gpus // per_node)),
                batch,
                cell(f"{prefix}.step_ms", ",.0f", interval=True),
                cell(f"{prefix}.speedup", ".1f", interval=True),
                cell(f"{prefix}.efficiency", ".0f", interval=True),
            ]
        )
    columns = ["GPUs", "Nodes", "Global batch", "Step, ms", "Speed-up", "Efficiency, %"]
    return pd.DataFrame(rows, columns=columns)
