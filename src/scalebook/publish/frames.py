"""Tables of the study as DataFrames, whose cells are text or numbers of the ledger.

`scalebook.publish.tables` names them. A number as a cell (`Shown`, or a bare `Value`) keeps
its origin on the page; text does not, so whatever is measured, reported or modelled is a number.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from scalebook.contract import ScalebookError
from scalebook.publish import values
from scalebook.publish.values import Shown
from scalebook.values import check

NOTHING = "–"


# --------------------------------------------------------------------------- runs and results

#: Heading, column of the catalogue, format. Rates in images/s, times in s, accuracy in percent.
RUN_COLUMNS = (
    ("Kind", "kind", ""),
    ("Experiment", "experiment", ""),
    ("System", "system", ""),
    ("Ranks", "world_size", ""),
    ("Precision", "precision", ""),
    ("Images/s", "throughput", ",.0f"),
    ("s/epoch", "epoch_time_s", ".1f"),
    ("Accuracy, %", "final_val_acc", ".2f"),
    ("Job", "job_id", ""),
)


#: Heading, metric of the ledger, format of a measured one; a reported number keeps its digits.
RESULT_COLUMNS = (
    ("Images/s", "throughput", ",.0f"),
    ("s/epoch", "epoch_time_s", ",.1f"),
    ("Accuracy, %", "final_val_acc", ".1f"),
    ("Speed-up", "speedup", ".2f"),
    ("Efficiency, %", "efficiency", ".0f"),
)
AS_REPORTED = ",.6g"


def runs() -> pd.DataFrame:
    """Reported runs beside the measured ones that are evidence, one a row."""
    from scalebook import results

    found = results.runs()
    said = found[["throughput", "epoch_time_s", "final_val_acc"]].notna().any(axis=1)
    taken = found[said & ((found["kind"] == "reported") | found["evidence"].eq(True))]
    taken = taken.sort_values(["kind", "system", "experiment", "world_size", "job_id"])
    rows = []
    for run in taken.to_dict("records"):
        reported = run["kind"] == "reported"
        prefix = f"reported.{run['job_id']}" if reported else f"run.{run['stem']}"
        rows.append(
            {
                heading: number(f"{prefix}.{column}", spec, otherwise=text(run[column], spec))
                if spec
                else text(run[column])
                for heading, column, spec in RUN_COLUMNS
            }
        )
    return pd.DataFrame(rows, columns=[heading for heading, _, _ in RUN_COLUMNS])


def results() -> pd.DataFrame:
    """The reported runs beside the measured configurations, with intervals."""
    from scalebook.analysis import configurations, documented

    rows = []
    for one in configurations(documented()):
        reported = one.kind == "reported"
        job = text(one.runs["job_id"].iloc[0])
        prefix = f"reported.{job}" if reported else f"{one['experiment']}.{one['system']}"
        stat = "" if reported else ".median"
        cells = {
            heading: number(f"{prefix}.{metric}{stat}", AS_REPORTED if reported else spec,
                            interval=True)
            for heading, metric, spec in RESULT_COLUMNS
        }  # fmt: skip
        if all(cell == NOTHING for cell in cells.values()):
            continue
        repeated = NOTHING if reported else number(f"{prefix}.throughput.n", ".0f")
        rows.append(
            {
                "Kind": f"reported, job {job}" if reported else "measured",
                "Experiment": one["experiment"],
                "System": text(one["system"]),
                "Ranks": text(one["world_size"]),
                **cells,
                "n": repeated,
            }
        )
    rows.sort(key=lambda row: row["Kind"] == "measured")  # what was reported comes first
    return pd.DataFrame(rows) if rows else pd.DataFrame({"Kind": ["no run is documented yet"]})


def scaling(kind: str) -> pd.DataFrame:
    """Measured strong or weak scaling: each system's reference, and what is compared with it.

    Parameters
    ----------
    kind : {"strong", "weak"}
    """
    from scalebook.analysis import configurations, documented, scaling_table

    if kind not in ("strong", "weak"):
        raise ScalebookError(f"scaling {kind!r}: there are strong and weak")
    table = scaling_table()
    table = table[(table["kind"] == "measured") & (table["scaling"] == kind)]
    shown: list[tuple[str, str]] = []
    for row in table.to_dict("records"):
        for name in (row["reference"], row["experiment"]):
            if (row["system"], name) not in shown:
                shown.append((row["system"], name))
    known = {(one["system"], one["experiment"]): one for one in configurations(documented())
             if one.kind == "measured"}  # fmt: skip
    rows = []
    for system, name in shown:
        one, prefix = known[system, name], f"{name}.{system}"
        rows.append(
            {
                "System": system,
                "Experiment": name,
                "Ranks": number(f"{prefix}.world_size", ".0f", otherwise=text(one["world_size"])),
                "Nodes": number(f"{prefix}.nodes", ".0f", otherwise=text(one["nodes"])),
                "Global batch": number(f"{prefix}.global_batch", ",.0f"),
                "Step, mean (ms)": number(f"{prefix}.step_time_mean_ms.median", ",.0f"),
                "Step, median (ms)": number(
                    f"{prefix}.step_time_p50_ms.median", ",.0f", interval=True
                ),
                "Speed-up": number(f"{prefix}.speedup.median", ".2f", interval=True),
                "Efficiency, %": number(f"{prefix}.efficiency.median", ".0f", interval=True),
                "n": number(f"{prefix}.throughput.n", ".0f"),
            }
        )
    if not rows:
        return pd.DataFrame({"System": [f"no {kind} scaling has been measured yet"]})
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------- claims, machines


def claims(only_open: bool = False) -> pd.DataFrame:
    """Reported statements held against the numbers; only those that do not hold, or cannot."""
    found = check()
    if only_open:
        found = found[found["verdict"] != "holds"]
    headings = {"job_id": "Job", "statement": "Statement", "verdict": "Verdict",
                "computation": "Computation", "decided_by": "Would be decided by"}  # fmt: skip
    return found[list(headings)].rename(columns=headings).map(text)


def system(name: str) -> pd.DataFrame:
    """Facts about a machine, from ``data/systems``."""
    from scalebook import study

    try:
        facts = study.load().facts(name)
    except ScalebookError:
        facts = None
    if facts is None:
        raise ScalebookError(f"system {name}: no facts in data/systems/{name}.yaml")
    rows = [
        (" ".join(keys).replace("_", " "), number(".".join(("cited", name, *keys)), "g",
         otherwise=text, unit=True))
        for keys, text in _facts(facts.model_dump())
        if keys != ("name",)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["Fact", "Value"])


def _facts(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Leaves of nested facts, with the keys that lead to them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _facts(inner, (*keys, str(key)))
    elif value not in (None, ""):
        yield keys, str(value)


# --------------------------------------------------------------------------- made elsewhere


def asked(module: str, function: str) -> Callable[..., pd.DataFrame]:
    """A function of `scalebook.analysis` or `scalebook.study`, imported when a page asks for it."""

    def call(*arguments: str) -> pd.DataFrame:
        try:
            found = getattr(importlib.import_module(f"scalebook.{module}"), function, None)
        except ModuleNotFoundError as error:
            if error.name != f"scalebook.{module}":
                raise
            found = None
        if found is None:
            raise ScalebookError(f"scalebook.{module}.{function} is not there")
        return found(*arguments)

    return call


# --------------------------------------------------------------------------- cells


def number(
    key: str, spec: str, otherwise: str = NOTHING, unit: bool = False, interval: bool = False
) -> Shown | str:
    """A number of the ledger, or `otherwise` where it has none of that name."""
    value = values.numbers().get(key)
    return otherwise if value is None else Shown(value, spec, unit, interval)


def text(value: Any, spec: str = "") -> str:
    """A cell that is no number of the ledger; a dash where there is nothing."""
    if value is None or pd.isna(value) or value == "":
        return NOTHING
    if spec:
        return format(float(value), spec)
    return f"{value:g}" if isinstance(value, float) else str(value)
