"""The computed request beside the reported one, and both in the ledger.

What the request is computed from is in `request`, the seconds of a step in `steptime`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from scalebook import results
from scalebook.analysis.linkmodel import NOT_VALIDATED
from scalebook.contract import ScalebookError
from scalebook.proposal.request import (
    ENDS,
    LADDER_HEADERS,
    METRICS,
    OUTSIDE,
    REQUEST_HEADERS,
    asked,
    ladder_table,
    request_table,
)
from scalebook.proposal.steptime import model_of, the_plan
from scalebook.values.value import Value

__all__ = [
    "COMPARED_HEADERS",
    "LADDER_HEADERS",
    "REQUEST_HEADERS",
    "asked",
    "compared",
    "ladder_table",
    "reported_hours",
    "request_table",
    "values",
]

#: Columns of `compared` for a reader.
COMPARED_HEADERS = {
    "request": "request",
    "machine": "machine",
    "node_hours": "node-hours",
    "node_hours_low": "low",
    "node_hours_high": "high",
    "gpu_hours": "GPU-hours",
    "gpu_hours_low": "low",
    "gpu_hours_high": "high",
    "billed": "billed",
    "billed_low": "low",
    "billed_high": "high",
    "unit": "unit",
    "note": "note",
}


def compared() -> pd.DataFrame:
    """The reported request, what its own formula would give, and the computed one.

    The rows of the reported request multiply a first factor that is not named by runs and hours.
    Either reading leaves a factor out: if it counts nodes, the GPUs of a node; if it counts
    configurations, the GPUs of each of them, which grow along the ladder.

    Returns
    -------
    DataFrame
        Columns of `COMPARED_HEADERS`; hours that a reading does not tell are missing.
    """
    plan = the_plan()
    rows = _reported_rows() if plan.reported_request else []
    for machine in plan.machines:
        total = request_table(machine).set_index("phase").loc["total"]
        row = {"request": "computed, with contingency", "machine": machine, "unit": total["unit"],
               "note": NOT_VALIDATED}  # fmt: skip
        for metric in METRICS:
            row |= {f"{metric}{end}": total[f"{metric}{end}"] for end in ENDS}
        rows.append(row)
        row = {"request": "asked for", "machine": machine, "unit": total["unit"], **asked(machine),
               "note": "the high case, rounded up"}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COMPARED_HEADERS))


def _reported_rows() -> list[dict]:
    plan = the_plan()
    hours = reported_hours()
    added = sum(hours["parts"].values())
    rows = [
        {
            "request": "as reported, rows added up",
            "node_hours": added,
            "note": f"{' + '.join(f'{value:g}' for value in hours['parts'].values())}; "
            f"written as {hours['written']}",
        }
    ]
    for machine in plan.machines:
        per_node = model_of(machine).facts.gpus_per_node
        rows.append(
            {
                "request": "first factor read as nodes",
                "machine": machine,
                "node_hours": added,
                "gpu_hours": added * per_node,
                "note": f"missing factor: {per_node} GPUs a node",
            }
        )
        nodes = [math.ceil(gpus / per_node) for gpus in plan.ladder]
        rows.append(
            {
                "request": "first factor read as configurations",
                "machine": machine,
                "node_hours": _over_ladder(nodes),
                "gpu_hours": _over_ladder(plan.ladder),
                "note": f"missing factor: the GPUs of each run, {plan.ladder[0]} to "
                f"{plan.ladder[-1]}; nodes × GPUs × hours × runs on every rung, rows without a "
                "first factor on the largest, contingency in its reported share",
            }
        )
    return rows


def _over_ladder(counts: list[int]) -> float:
    """Hours × runs on every rung; contingency as it was reported, by its share."""
    request = the_plan().reported_request
    hours, plain, base = 0.0, 0.0, 0.0
    for row in request.rows:
        if row.runs is None or row.hours is None:
            plain += reported_hours()["parts"][row.phase]
            continue
        base += (row.first_factor or 1) * row.runs * row.hours
        on = sum(counts) if (row.first_factor or 1) > 1 else counts[-1]
        hours += on * row.runs * row.hours
    return hours * (1 + plain / base) if base else hours


def reported_hours() -> dict:
    """The reported request: hours of each row by phase, total, and how the total is written.

    Raises
    ------
    ScalebookError
        If the file of the report does not tell one of them.
    """
    request = the_plan().reported_request
    if request is None:
        raise ScalebookError("data/plan.yaml: reported_request is missing")
    table = results.reported()
    entry = table[table["job_id"].astype(str) == request.entry].set_index("metric")
    missing = [name for name in (request.total, *(row.metric for row in request.rows))
               if name not in entry.index]  # fmt: skip
    if missing:
        raise ScalebookError(
            f"data/plan.yaml: reported_request: no file of data/reported tells {missing[0]} of "
            f"{request.entry}"
        )
    total = entry.loc[request.total]
    return {
        "parts": {row.phase: float(entry.loc[row.metric, "value"]) for row in request.rows},
        "total": float(total["value"]),
        "written": total["as_written"] or f"{total['value']:g} {total['unit']}",
    }


def values() -> Iterator[Value]:
    """Numbers of the computed request; none where the study has no plan, or a part is missing.

    Yields
    ------
    Value
        ``modelled.request.<machine>.<phase>.<metric>`` for every phase, ``contingency`` and
        ``total``: ``runs``, ``gpu_hours``, ``node_hours``, ``billed``,
        ``overhead_node_hours``; ``modelled.request.<machine>.asked.<metric>``; of a ladder
        ``modelled.ladder.<machine>.<kind>.<gpus>.<metric>``; ``modelled.request.reported.…``: the
        reported hours over the ladder.
    """
    try:
        machines = the_plan().machines
    except ScalebookError:
        return
    for machine in machines:
        try:
            yield from _of_machine(machine)
        except ScalebookError:
            # A plan may stand there before its curves and facts do.
            continue
    try:
        yield from _of_reported()
    except ScalebookError:
        return


def _of_machine(machine: str) -> Iterator[Value]:
    model = model_of(machine)
    units = {"gpu_hours": "GPU-hours", "node_hours": "node-hours",
             "billed": model.facts.accounting.unit}  # fmt: skip
    source = f"computed from the plan for {machine}, low to high case; {NOT_VALIDATED}"
    files = ("data/plan.yaml", f"data/systems/{machine}.yaml")
    about = {"kind": "modelled", "source": source, "files": files}
    for row in request_table(machine).to_dict("records"):
        prefix = f"modelled.request.{machine}.{row['phase']}"
        code = {"code": "scalebook.proposal.resources.request_table", **about}
        if row["runs"] == row["runs"]:
            yield Value(f"{prefix}.runs", row["runs"], "", where="phases", **code)
        yield Value(f"{prefix}.{OUTSIDE}", row[OUTSIDE], "node-hours", where="overhead_minutes",
                    **code)  # fmt: skip
        for metric in METRICS:
            yield _ranged(f"{prefix}.{metric}", row, metric, units[metric], code)
    for metric, value in asked(machine).items():
        yield Value(f"modelled.request.{machine}.asked.{metric}", value, units[metric],
                    code="scalebook.proposal.resources.asked", **about)  # fmt: skip
    shown = {"step_ms": "ms", "speedup": "", "efficiency": "%"}
    code = {"code": "scalebook.proposal.resources.ladder_table", **about}
    for kind in ("strong", "weak"):
        for row in ladder_table(machine, kind).to_dict("records"):
            prefix = f"modelled.ladder.{machine}.{kind}.{row['gpus']}"
            for metric, unit in shown.items():
                yield _ranged(f"{prefix}.{metric}", row, metric, unit, code)


def _ranged(key: str, row: dict, metric: str, unit: str, about: dict) -> Value:
    return Value(key, row[metric], unit, low=row[f"{metric}_low"], high=row[f"{metric}_high"],
                 **about)  # fmt: skip


def _of_reported() -> Iterator[Value]:
    plan, hours = the_plan(), reported_hours()
    files = tuple(results.reported().query("job_id == @plan.reported_request.entry")
                  ["source_file"].unique())  # fmt: skip
    about = {"kind": "modelled", "files": (*files, "data/plan.yaml"),
             "code": "scalebook.proposal.resources.compared"}  # fmt: skip
    source = "rows of the reported request added up"
    yield Value("modelled.request.reported.hours", sum(hours["parts"].values()), "h",
                source=source, **about)  # fmt: skip
    source = "the reported request's own formula with the GPUs of every rung of the ladder"
    yield Value("modelled.request.reported.ladder_gpu_hours", _over_ladder(plan.ladder),
                "GPU-hours", source=source, **about)  # fmt: skip
