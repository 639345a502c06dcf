"""Tables of the study as DataFrames, whose cells are text or numbers of the ledger.

`scalebook.publish.tables` names them. A number as a cell (`Shown`) keeps its origin on the
page; text does not, so whatever is measured, reported or modelled is a number.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from scalebook import results, study
from scalebook.analysis import benchmarking_rules, configurations, documented, scaling_table
from scalebook.analysis.study_queries import labelled
from scalebook.contract import ScalebookError
from scalebook.publish.runs.links import key
from scalebook.publish.values import NOTHING, Shown, ShownRun, cell
from scalebook.study.document import beside
from scalebook.values import check
from scalebook.values.measured import named, prefixes

# --------------------------------------------------------------------------- runs and results

_COLUMNS = beside(__file__)
AS_REPORTED = ",.6g"


def run_table() -> pd.DataFrame:
    """Reported runs beside the measured ones that are evidence, one a row."""
    found = results.runs()
    has_result = found[list(results.METRICS)].notna().any(axis=1)
    taken = found[has_result & ((found["kind"] == "reported") | found["evidence"].eq(True))]
    taken = taken.sort_values(["kind", "system", "experiment", "world_size", "job_id"])
    rows = []
    for run in labelled(taken).to_dict("records"):
        reported = run["kind"] == "reported"
        prefix = f"reported.{run['job_id']}" if reported else f"run.{run['stem']}"
        cells: dict[str, Shown | ShownRun | str] = {
            heading: cell(f"{prefix}.{column}", spec, otherwise=text(run[column], spec))
            if spec
            else text(run[column])
            for heading, column, spec in _COLUMNS["runs"]
        }
        rows.append({**cells, "Job": ShownRun(key(run), text(run["job_id"]))})
    return pd.DataFrame(rows, columns=[heading for heading, _, _ in _COLUMNS["runs"]])


def result_table() -> pd.DataFrame:
    """The reported runs beside the measured configurations, with intervals."""
    rows, found = [], configurations(documented())
    names = prefixes(configuration for configuration in found if configuration.kind != "reported")
    for configuration in found:
        reported = configuration.kind == "reported"
        job = text(configuration.runs["job_id"].iloc[0])
        prefix = f"reported.{job}" if reported else names.get(named(configuration), "")
        stat = "" if reported else ".median"
        cells = {
            heading: cell(
                f"{prefix}.{metric}{stat}", AS_REPORTED if reported else spec, interval=True
            )
            for heading, metric, spec in _COLUMNS["results"]
        }
        if all(value == NOTHING for value in cells.values()):
            continue
        rows.append(
            {
                "Kind": configuration.kind,
                "Experiment": configuration.title,
                "System": text(configuration.machine),
                "Ranks": text(configuration["world_size"]),
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
    if table.empty:
        return pd.DataFrame({"System": [f"no {kind} scaling has been measured yet"]})
    found = [
        configuration
        for configuration in configurations(documented())
        if configuration.kind == "measured"
    ]
    names = prefixes(found)
    pairs = [
        (row["system"], name)
        for row in table.to_dict("records")
        for name in (row["reference"], row["experiment"])
    ]
    sides = [
        configuration
        for system, name in dict.fromkeys(pairs)
        for configuration in found
        if (configuration["system"], configuration["experiment"]) == (system, name)
    ]
    rows = []
    for configuration in sides:
        prefix = names.get(named(configuration), "")
        ranks, nodes = text(configuration["world_size"]), text(configuration["nodes"])
        rows.append(
            {
                "System": configuration.machine,
                "Experiment": configuration.title,
                "Ranks": cell(f"{prefix}.world_size", ".0f", otherwise=ranks),
                "Nodes": cell(f"{prefix}.nodes", ".0f", otherwise=nodes),
                **{
                    heading: cell(f"{prefix}.{key}", spec, interval=interval)
                    for heading, key, spec, interval in _COLUMNS["scaling"]
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
    columns = _COLUMNS["claims"]
    return found[list(columns)].rename(columns=columns).map(text)


def rules(reasons: bool = False) -> pd.DataFrame:
    """The twelve rules of benchmarking, with the verdicts on what is reported and measured.

    Parameters
    ----------
    reasons : bool
        Say behind each verdict why.
    """
    columns, table = _COLUMNS["rules"], benchmarking_rules.rules_table()
    if reasons:
        for side in benchmarking_rules.SIDES:
            table[side] += ": " + table[f"{side}_where"]
    return table[list(columns)].rename(columns=columns).map(text)


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
