"""Measured numbers for the ledger: of configurations, of single runs, ratios, parts of a step.

Each names the files it was computed from, the column, and the function that did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import (
    METRICS,
    Configuration,
    configurations,
    differences,
    documented,
    plain,
)
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.statistics import Summary, summarise
from scalebook.analysis.step_parts import PARTS, overheads
from scalebook.analysis.throughput import step_table
from scalebook.values.value import Value, result_files

STATS = ("median", "low", "high", "n", "min", "max", "mean")

#: Step metrics that documents quote, with their units.
STEP_UNITS = {
    "step_time_p50_ms": "ms",
    "step_time_p95_ms": "ms",
    "step_time_p99_ms": "ms",
    "step_time_mean_ms": "ms",
    "stall_ratio": "",
    "data_wait_share": "",
    "load_balance": "",
}

#: What was set for every run of a configuration, with units.
SETTING_UNITS = {
    "world_size": "ranks",
    "nodes": "nodes",
    "global_batch": "images",
    "train_images": "images",
    "epochs": "epochs",
}

#: Metrics of `scaling_table`, by basis; and the column of the CSV that it stands on.
RATIOS = {"throughput": "", "time per epoch": "_by_epoch_time"}
BASIS_COLUMN = {"throughput": "throughput", "time per epoch": "epoch_time_s"}

#: Where the metrics of a run stand in its CSV.
COLUMNS = {
    "throughput": "column throughput, median over the epochs",
    "epoch_time_s": "column epoch_time_s, median over the epochs",
    "final_val_acc": "column val_acc, last row",
    "best_val_acc": "column val_acc, largest",
}


def measured() -> Iterator[Value]:
    """Every measured number; those of ambiguous configurations are left out."""
    known: set[str] = set()
    for group in groups().values():
        if len(group) == 1:
            for value in _of_configuration(group[0]):
                known.add(value.key)
                yield value
    yield from _of_runs()
    yield from _of_scaling(known)
    yield from _of_overheads(known)
    yield from _of_allreduce()


def groups() -> dict[str, list[Configuration]]:
    """Measured configurations by ``<experiment>.<system>``; more than one is ambiguous."""
    found: dict[str, list[Configuration]] = {}
    for one in configurations(documented()):
        if one.kind == "measured":
            found.setdefault(f"{one['experiment']}.{one['system']}", []).append(one)
    return found


def ambiguous() -> dict[str, str]:
    """``<experiment>.<system>`` whose evidence is not one configuration, and why."""
    found = {}
    for prefix, group in groups().items():
        if len(group) > 1:
            parts = differences(group[0].settings, group[1].settings) or [
                f"{name} ({group[0][name]} and {group[1][name]})"
                for name in ("precision", "global_batch", "world_size", "nodes")
                if group[0][name] != group[1][name]
            ]
            stems = ", ".join(one.stems[0] for one in group)
            found[prefix] = (
                f"its evidence runs differ in {'; '.join(parts)}: keep one kind of them in "
                f"results/ (such as {stems})"
            )
    return found


def _csv(stems: Iterable[str]) -> tuple[str, ...]:
    return result_files("csv", stems, ".csv")


def _steps(stems: Iterable[str]) -> tuple[str, ...]:
    return result_files("steps", stems, ".csv.gz")


# --------------------------------------------------------------------------- configurations


def _of_configuration(one: Configuration) -> Iterator[Value]:
    prefix = f"{one['experiment']}.{one['system']}"
    csv = {"files": _csv(one.stems), "code": "scalebook.analysis.configuration_table"}
    for metric, (_, unit) in METRICS.items():
        about = {**csv, "where": f"{COLUMNS[metric]}; over runs"}
        yield from _stats(f"{prefix}.{metric}", one.summary(metric), unit, one, about)
    steps = step_table(one.runs)
    taken = [stem for stem in one.stems if stem in set(steps["stem"])]
    for metric, unit in STEP_UNITS.items():
        column = "data_wait_s" if metric == "data_wait_share" else "step_time_s"
        about = {
            "files": _steps(taken),
            "where": f"column {column} of timed steps; over runs",
            "code": "scalebook.analysis.step_table",
        }
        yield from _stats(f"{prefix}.{metric}", summarise(steps[metric]), unit, one, about)
    for name, unit in SETTING_UNITS.items():
        if isinstance(one[name], int) and not isinstance(one[name], bool):
            yield Value(
                key=f"{prefix}.{name}",
                value=float(one[name]),
                unit=unit,
                kind="measured",
                source=f"setting that all of these share: {one.source}",
                n=len(one.runs),
                runs=tuple(one.stems),
                files=_configured_in(one),
                where=name,
                code="scalebook.analysis.configurations",
            )


def _configured_in(one: Configuration) -> tuple[str, ...]:
    """Files that tell the settings: manifests; of an imported run, the report of its job."""
    imported = one.runs["kind"] == "imported"
    own = one.runs[~imported]
    if not imported.any():
        return result_files("manifests", own["stem"], ".json")
    table = results.reported()
    jobs = one.runs.loc[imported, "job_id"].astype(str)
    told = table.loc[table["job_id"].astype(str).isin(jobs), "source_file"].unique()
    return (*result_files("manifests", own["stem"], ".json"), *map(str, told))


def _stats(
    prefix: str, summary: Summary, unit: str, one: Configuration, about: dict
) -> Iterator[Value]:
    if summary.n == 0:
        return
    for stat in STATS:
        interval = stat == "median" and summary.n > 1
        yield Value(
            key=f"{prefix}.{stat}",
            value=float(getattr(summary, stat)),
            unit="" if stat == "n" else unit,
            kind="measured",
            source=f"{one.source}; {summary.interval}" if interval else one.source,
            n=summary.n,
            low=summary.low if interval else None,
            high=summary.high if interval else None,
            runs=tuple(one.stems),
            **about,
        )


def _of_runs() -> Iterator[Value]:
    """Each measured run by itself, for tables that list them."""
    runs = documented()
    for row in runs[runs["kind"] != "reported"].to_dict("records"):
        stem = plain(row["stem"])
        for metric, (title, unit) in METRICS.items():
            if stem is None or plain(row[metric]) is None:
                continue
            yield Value(
                key=f"run.{stem}.{metric}",
                value=float(row[metric]),
                unit=unit,
                kind="measured",
                source=f"{title} of one run of {row['experiment']} on {row['system']}",
                runs=(stem,),
                files=_csv([stem]),
                where=COLUMNS[metric],
                code="scalebook.results.runs",
            )


# --------------------------------------------------------------------------- ratios and parts


def _of_scaling(known: set[str]) -> Iterator[Value]:
    table = scaling_table()
    for row in table[table["kind"] == "measured"].to_dict("records"):
        prefix = f"{row['experiment']}.{row['system']}"
        reference = f"{row['reference']}.{row['system']}"
        # Only where neither side is ambiguous.
        if f"{prefix}.throughput.n" not in known or f"{reference}.throughput.n" not in known:
            continue
        stems = (*row["stems"], *row["reference_stems"])
        source = (
            f"{row['experiment']} against {row['reference']} on {row['system']} by {row['basis']}, "
            f"n = {row['n']}, paired {row['pairing']}, {row['dataset']}"
        )
        for metric, unit in (("speedup", ""), ("efficiency", "%")):
            if plain(row[metric]) is None:
                continue
            low, high = float(row[f"{metric}_low"]), float(row[f"{metric}_high"])
            for stat, value in (("median", row[metric]), ("low", low), ("high", high),
                                ("n", row["n"])):  # fmt: skip
                yield Value(
                    key=f"{prefix}.{metric}{RATIOS[row['basis']]}.{stat}",
                    value=float(value),
                    unit="" if stat == "n" else unit,
                    kind="measured",
                    source=source,
                    n=int(row["n"]),
                    low=low if stat == "median" and row["n"] > 1 else None,
                    high=high if stat == "median" and row["n"] > 1 else None,
                    runs=stems,
                    files=_csv(stems),
                    where=f"column {BASIS_COLUMN[row['basis']]}",
                    code="scalebook.analysis.scaling_table",
                )


def _of_overheads(known: set[str]) -> Iterator[Value]:
    for row in overheads().to_dict("records"):
        prefix = f"{row['experiment']}.{row['system']}"
        names = [row["experiment"], row["reference"], row["control"]]
        if any(f"{name}.{row['system']}.throughput.n" not in known for name in names if name):
            continue
        yield from _parts(row, prefix, " and ".join(filter(None, names[1:])))
        if plain(row["transfer_ms"]) is not None:
            yield Value(
                key=f"modelled.{prefix}.transfer_ms",
                value=float(row["transfer_ms"]),
                unit="ms",
                kind="modelled",
                source=(
                    f"modelled for {row['system']}: bytes of the gradients × 2 (n - 1) / n at "
                    f"{row['link_gbit_s']:g} Gbit/s, n = {row['world_size']} ranks"
                ),
                runs=tuple(row["stems"]),
                files=(
                    f"data/systems/{row['system']}.yaml",
                    *result_files("manifests", row["stems"][:1], ".json"),
                ),
                where="link_gbit_s; model.parameters",
                code="scalebook.analysis.step_parts.transfer_ms",
            )


def _parts(row: dict, prefix: str, others: str) -> Iterator[Value]:
    runs = tuple(row["stems"])
    source = (
        f"median step of {row['experiment']} against {others} on {row['system']}, "
        f"n = {row['n']}, paired by seed"
    )
    for part in PARTS[1:]:
        low, high = row[f"{part}_ms_low"], row[f"{part}_ms_high"]
        if plain(row[f"{part}_ms"]) is None:
            continue
        for stat, value in (("median", row[f"{part}_ms"]), ("low", low), ("high", high)):
            spread = stat == "median" and row["n"] > 1
            yield Value(
                key=f"{prefix}.{part}_ms.{stat}",
                value=float(value),
                unit="ms",
                kind="measured",
                source=source,
                n=int(row["n"]),
                low=float(low) if spread else None,
                high=float(high) if spread else None,
                runs=runs,
                files=_steps(runs),
                where="column step_time_s, median of timed steps",
                code="scalebook.analysis.overheads",
            )


# --------------------------------------------------------------------------- all-reduce


def _of_allreduce() -> Iterator[Value]:
    for system, curve in results.allreduce(local=False).groupby("system"):
        runs = tuple(curve["stem"].unique())
        backend = curve["backend"].iloc[0]
        about = {
            "kind": "measured",
            "source": f"all-reduce by {backend} on {system}, medians by message size",
            "n": len(runs),
            "runs": runs,
            "files": result_files("allreduce", runs, ".csv"),
            "code": "scalebook.results.allreduce",
        }
        for metric, unit in (("busbw_gb_s", "GB/s"), ("latency_us", "µs")):
            yield from _extremes(f"allreduce.{system}.{metric}", curve[metric], unit, about)


def _extremes(prefix: str, column: pd.Series, unit: str, about: dict) -> Iterator[Value]:
    for stat, word in (("min", "smallest"), ("max", "largest")):
        yield Value(
            key=f"{prefix}.{stat}",
            value=float(getattr(column, stat)()),
            unit=unit,
            where=f"column {column.name}, {word}",
            **about,
        )
