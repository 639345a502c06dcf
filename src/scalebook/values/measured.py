"""Measured numbers: of configurations, of single runs, ratios, parts of a step, all-reduce curves.

Each names the files it was computed from, the column, and the function that did it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import pandas as pd

from scalebook import results
from scalebook.analysis import Summary, configurations, scaling, step_parts, summarise, tables
from scalebook.analysis.comparable import METRICS, Configuration, differences, plain
from scalebook.analysis.statistics import STEP_METRICS
from scalebook.values.inputs import Inputs
from scalebook.values.references import SETTING_UNITS
from scalebook.values.value import Value, dotted, result_files, statistics

STATS = ("median", "low", "high", "n", "min", "max", "mean")

#: Settings of a configuration that documents quote.
SETTINGS = ("world_size", "nodes", "global_batch", "train_images", "epochs")


def measured(inputs: Inputs) -> Iterator[Value]:
    """Every measured number; those of ambiguous configurations are left out."""
    clear = {
        prefix: group[0] for prefix, group in _groups(inputs.measured).items() if len(group) == 1
    }
    for prefix, one in clear.items():
        yield from _of_configuration(prefix, one, inputs.steps)
    yield from _of_runs(inputs.runs)
    # Only where no side is ambiguous.
    rated = {prefix for prefix, one in clear.items() if one.summary("throughput").n}
    for ratio in inputs.ratios:
        if ratio.one.kind == "measured" and rated.issuperset(map(_prefix, ratio.sides)):
            yield from _of_ratio(ratio)
    for step in inputs.step_parts:
        if rated.issuperset(map(_prefix, step.sides)):
            yield from _of_step(step)
    yield from _of_allreduce()


def _prefix(one: Configuration) -> str:
    return f"{one['experiment']}.{one['system']}"


def _groups(found: Iterable[Configuration]) -> Mapping[str, list[Configuration]]:
    """Configurations by ``<experiment>.<system>``; more than one is ambiguous."""
    groups: dict[str, list[Configuration]] = {}
    for one in found:
        groups.setdefault(_prefix(one), []).append(one)
    return groups


def ambiguous() -> dict[str, str]:
    """``<experiment>.<system>`` whose evidence is not one configuration, and why."""
    found = {}
    for prefix, group in _groups(Inputs().measured).items():
        if len(group) > 1:
            one, other = group[:2]
            parts = differences(one.settings, other.settings) or [
                f"{name} ({one[name]} and {other[name]})"
                for name in ("precision", "global_batch", "world_size", "nodes")
                if one[name] != other[name]
            ]
            stems = ", ".join(same.stems[0] for same in group)
            found[prefix] = (
                f"its evidence runs differ in {'; '.join(parts)}: keep one kind of them in "
                f"results/ (such as {stems})"
            )
    return found


# --------------------------------------------------------------------------- configurations


def _of_configuration(prefix: str, one: Configuration, steps: pd.DataFrame) -> Iterator[Value]:
    runs = tuple(one.stems)
    value = partial(Value, kind="measured", source=one.source, runs=runs)
    for metric, (_, unit, column) in METRICS.items():
        make = partial(
            value,
            unit=unit,
            files=result_files("csv", runs),
            where=f"column {column}; over runs",
            code=dotted(tables.configuration_table),
        )
        yield from _stats(f"{prefix}.{metric}", one.summary(metric), make)
    own = steps[steps["stem"].isin(runs)]
    files = result_files("steps", [stem for stem in runs if stem in set(own["stem"])])
    for metric in STEP_METRICS:
        column = "data_wait_s" if metric == "data_wait_share" else "step_time_s"
        make = partial(
            value,
            unit="ms" if metric.endswith("_ms") else "",
            files=files,
            where=f"column {column} of timed steps; over runs",
            code=dotted(tables.step_table),
        )
        if metric != "steps":
            yield from _stats(f"{prefix}.{metric}", summarise(own[metric]), make)
    for name in SETTINGS:
        if isinstance(one[name], int) and not isinstance(one[name], bool):
            yield value(
                key=f"{prefix}.{name}",
                value=float(one[name]),
                unit=SETTING_UNITS[name],
                source=f"setting that all of these share: {one.source}",
                n=len(runs),
                files=_configured_in(one),
                where=name,
                code=dotted(configurations),
            )


def _stats(prefix: str, summary: Summary, make: partial[Value]) -> Iterator[Value]:
    for value in statistics(prefix, summary, make, STATS):
        interval = value.low is not None
        yield replace(value, source=f"{value.source}; {summary.interval}") if interval else value


def _configured_in(one: Configuration) -> tuple[str, ...]:
    """Files that hold the settings: manifests; of an imported run, the report of its job."""
    imported = one.runs["kind"] == "imported"
    manifests = result_files("manifest", one.runs[~imported]["stem"])
    if not imported.any():
        return manifests
    table = results.reported()
    jobs = one.runs.loc[imported, "job_id"].astype(str)
    reports = table.loc[table["job_id"].astype(str).isin(jobs), "source_file"].unique()
    return (*manifests, *map(str, reports))


def _of_runs(runs: pd.DataFrame) -> Iterator[Value]:
    """Each measured run by itself, for tables that list them."""
    for row in runs[runs["kind"] != "reported"].to_dict("records"):
        stem = plain(row["stem"])
        for metric, (title, unit, column) in METRICS.items():
            if stem is None or plain(row[metric]) is None:
                continue
            yield Value(
                key=f"run.{stem}.{metric}",
                value=float(row[metric]),
                unit=unit,
                kind="measured",
                source=f"{title} of one run of {row['experiment']} on {row['system']}",
                runs=(stem,),
                files=result_files("csv", [stem]),
                where=f"column {column}",
                code=dotted(results.runs),
            )


# --------------------------------------------------------------------------- ratios and parts


def _of_ratio(ratio: scaling.Ratio) -> Iterator[Value]:
    one, metric = ratio.one, scaling.BASES[ratio.basis][0]
    suffix = "" if metric == "throughput" else "_by_epoch_time"
    n = ratio.speedup.n
    for name, unit, summary in (
        ("speedup", "", ratio.speedup),
        ("efficiency", "%", ratio.efficiency),
    ):
        make = partial(
            Value,
            unit=unit,
            kind="measured",
            source=(
                f"{one['experiment']} against {ratio.reference['experiment']} on {one['system']} "
                f"by {ratio.basis}, n = {n}, paired {ratio.pairing}, {one['dataset']}"
            ),
            runs=tuple(ratio.stems),
            files=result_files("csv", ratio.stems),
            where=f"column {metric}",
            code=dotted(scaling.ratios),
        )
        stats = ("median", "low", "high", "n")
        yield from statistics(f"{_prefix(one)}.{name}{suffix}", summary, make, stats)


def _of_step(step: step_parts.StepParts) -> Iterator[Value]:
    system, stems = step.one["system"], tuple(step.stems)
    others = " and ".join(side["experiment"] for side in step.sides[1:])
    n = step.parts["step"].n
    make = partial(
        Value,
        unit="ms",
        kind="measured",
        source=(
            f"median step of {step.one['experiment']} against {others} on {system}, n = {n}, "
            "paired by seed"
        ),
        runs=stems,
        files=result_files("steps", stems),
        where="column step_time_s, median of timed steps",
        code=dotted(step_parts.step_parts),
    )
    for part in step_parts.PARTS[1:]:
        yield from statistics(f"{_prefix(step.one)}.{part}_ms", step.parts[part], make)
    if step.transfer_ms is not None:
        yield Value(
            key=f"modelled.{_prefix(step.one)}.transfer_ms",
            value=step.transfer_ms,
            unit="ms",
            kind="modelled",
            source=(
                f"modelled for {system}: bytes of the gradients × 2 (n - 1) / n at "
                f"{step.link_gbit_s:g} Gbit/s, n = {step.one['world_size']} ranks"
            ),
            runs=stems,
            files=(
                f"data/systems/{system}.yaml",
                *result_files("manifest", stems[:1]),
            ),
            where="link_gbit_s; model.parameters",
            code=dotted(step_parts.transfer_ms),
        )


# --------------------------------------------------------------------------- all-reduce


def _of_allreduce() -> Iterator[Value]:
    for system, curve in results.allreduce(local=False).groupby("system"):
        runs = tuple(curve["stem"].unique())
        for metric, unit in (("busbw_gb_s", "GB/s"), ("latency_us", "µs")):
            for stat, extreme in (("min", "smallest"), ("max", "largest")):
                yield Value(
                    key=f"allreduce.{system}.{metric}.{stat}",
                    value=float(curve[metric].agg(stat)),
                    unit=unit,
                    kind="measured",
                    source=(
                        f"all-reduce by {curve['backend'].iloc[0]} on {system}, medians by "
                        "message size"
                    ),
                    n=len(runs),
                    runs=runs,
                    files=result_files("allreduce", runs),
                    where=f"column {metric}, {extreme}",
                    code=dotted(results.allreduce),
                )
