"""Tables of the study as DataFrames, whose cells are text or numbers of the ledger.

`scalebook.publish.tables` names them. A number as a cell (`Shown`, or a bare `Value`) keeps
its origin on the page; text does not, so whatever is measured, reported or modelled is a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from scalebook import results, study
from scalebook.analysis import configurations, documented, scaling_table
from scalebook.contract import ScalebookError
from scalebook.publish.values import NOTHING, Shown, cell
from scalebook.values import check

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

#: Heading, end of the key, format, and whether the interval is shown.
SCALING_COLUMNS = (
    ("Global batch", "global_batch", ",.0f", False),
    ("Step, mean (ms)", "step_time_mean_ms.median", ",.0f", False),
    ("Step, median (ms)", "step_time_p50_ms.median", ",.0f", True),
    ("Speed-up", "speedup.median", ".2f", True),
    ("Efficiency, %", "efficiency.median", ".0f", True),
    ("n", "throughput.n", ".0f", False),
)

CLAIM_COLUMNS = {
    "job_id": "Job",
    "statement": "Statement",
    "verdict": "Verdict",
    "computation": "Computation",
    "decided_by": "Would be decided by",
}


def run_table() -> pd.DataFrame:
    """Reported runs beside the measured ones that are evidence, one a row."""
    found = results.runs()
    has_result = found[["throughput", "epoch_time_s", "final_val_acc"]].notna().any(axis=1)
    taken = found[has_result & ((found["kind"] == "reported") | found["evidence"].eq(True))]
    taken = taken.sort_values(["kind", "system", "experiment", "world_size", "job_id"])
    rows = []
    for run in taken.to_dict("records"):
        reported = run["kind"] == "reported"
        prefix = f"reported.{run['job_id']}" if reported else f"run.{run['stem']}"
        rows.append(
            {
                heading: cell(f"{prefix}.{column}", spec, otherwise=text(run[column], spec))
                if spec
                else text(run[column])
                for heading, column, spec in RUN_COLUMNS
            }
        )
    return pd.DataFrame(rows, columns=[heading for heading, _, _ in RUN_COLUMNS])


def result_table() -> pd.DataFrame:
    """The reported runs beside the measured configurations, with intervals."""
    rows = []
    for one in configurations(documented()):
        reported = one.kind == "reported"
        job = text(one.runs["job_id"].iloc[0])
        prefix = f"reported.{job}" if reported else f"{one['experiment']}.{one['system']}"
        stat = "" if reported else ".median"
        cells = {
            heading: cell(
                f"{prefix}.{metric}{stat}", AS_REPORTED if reported else spec, interval=True
            )
            for heading, metric, spec in RESULT_COLUMNS
        }
        if all(one == NOTHING for one in cells.values()):
            continue
        rows.append(
            {
                "Kind": f"reported, job {job}" if reported else "measured",
                "Experiment": one["experiment"],
                "System": text(one["system"]),
                "Ranks": text(one["world_size"]),
                **cells,
                "n": NOTHING if reported else cell(f"{prefix}.throughput.n", ".0f"),
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
    if kind not in ("strong", "weak"):
        raise ScalebookError(f"scaling {kind!r}: there are strong and weak")
    table = scaling_table()
    table = table[(table["kind"] == "measured") & (table["scaling"] == kind)]
    pairs = [
        (row["system"], name)
        for row in table.to_dict("records")
        for name in (row["reference"], row["experiment"])
    ]
    if not pairs:
        return pd.DataFrame({"System": [f"no {kind} scaling has been measured yet"]})
    measured = {
        (one["system"], one["experiment"]): one
        for one in configurations(documented())
        if one.kind == "measured"
    }
    rows = []
    for system, name in dict.fromkeys(pairs):
        one, prefix = measured[system, name], f"{name}.{system}"
        ranks, nodes = text(one["world_size"]), text(one["nodes"])
        rows.append(
            {
                "System": system,
                "Experiment": name,
                "Ranks": cell(f"{prefix}.world_size", ".0f", otherwise=ranks),
                "Nodes": cell(f"{prefix}.nodes", ".0f", otherwise=nodes),
                **{
                    heading: cell(f"{prefix}.{key}", spec, interval=interval)
                    for heading, key, spec, interval in SCALING_COLUMNS
                },
            }
        )
    return pd.DataFrame(rows)


# --------------------------------------------------------------------------- claims, machines


def claims(only_open: bool = False) -> pd.DataFrame:
    """Reported statements held against the numbers; only those that do not hold, or cannot."""
    found = check()
    if only_open:
        found = found[found["verdict"] != "holds"]
    return found[list(CLAIM_COLUMNS)].rename(columns=CLAIM_COLUMNS).map(text)


def system(name: str) -> pd.DataFrame:
    """Facts about a machine, from ``data/systems``."""
    try:
        facts = study.load().facts(name)
    except ScalebookError:
        facts = None
    if facts is None:
        raise ScalebookError(f"system {name}: no facts in data/systems/{name}.yaml")
    rows: list[tuple[str, Shown | str]] = []
    for keys, fact in _leaves(facts.model_dump()):
        if keys != ("name",):
            key = ".".join(("cited", name, *keys))
            rows.append(
                (" ".join(keys).replace("_", " "), cell(key, "g", otherwise=fact, unit=True))
            )
    return pd.DataFrame(rows, columns=["Fact", "Value"])


def _leaves(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Leaves of nested facts, with the keys that lead to them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*keys, str(key)))
    elif value not in (None, ""):
        yield keys, str(value)


def text(value: Any, spec: str = "") -> str:  # whatever a DataFrame holds
    """A cell that is no number of the ledger; a dash where there is nothing."""
    if value is None or pd.isna(value) or value == "":
        return NOTHING
    if spec:
        return format(float(value), spec)
    return f"{value:g}" if isinstance(value, float) else str(value)
