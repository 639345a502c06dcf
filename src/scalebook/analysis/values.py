"""Every number a document may quote, by key, with where it came from.

===========================================  ===============================================
key                                          value
===========================================  ===============================================
``<experiment>.<system>.<metric>.<stat>``    over the repetitions that are evidence
``allreduce.<system>.<metric>.<stat>``       over the message sizes of an all-reduce curve
``reported.<job>.<metric>``                  as a file in ``data/reported`` says it
``modelled.<job>.<metric>``                  computed from reported ones, formula named
``modelled.<experiment>.<system>.<metric>``  computed from facts of the system, formula named
===========================================  ===============================================

Metrics of a run are those of `comparable.METRICS`, the step times of
`statistics.STEP_METRICS`, and for an experiment with a reference ``speedup``,
``efficiency``, ``speedup_by_epoch_time`` and ``efficiency_by_epoch_time``. An experiment on
several nodes has ``compute_ms``, ``parallel_ms``, ``network_ms`` and ``overhead_ms`` of a step,
see `step_parts`, and the modelled ``transfer_ms``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from scalebook import results, study
from scalebook.analysis.comparable import (
    METRICS,
    Configuration,
    configurations,
    differences,
    documented,
    plain,
)
from scalebook.analysis.reported import modelled
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.statistics import Summary, summarise
from scalebook.analysis.step_parts import PARTS, overheads
from scalebook.analysis.throughput import step_table
from scalebook.analysis.value import Value
from scalebook.contract import ScalebookError

STATS = ("median", "low", "high", "n", "min", "max", "mean")

#: Step metrics that documents quote, with their units.
STEP_UNITS = {
    "step_time_p50_ms": "ms",
    "step_time_p95_ms": "ms",
    "step_time_p99_ms": "ms",
    "stall_ratio": "",
    "data_wait_share": "",
}

#: Metrics of `scaling_table`, by basis.
RATIOS = {"throughput": "", "time per epoch": "_by_epoch_time"}


def lookup(key: str) -> Value:
    """Find the number behind a key.

    Raises
    ------
    ScalebookError
        If there is no such key, or the runs behind it are not repetitions of
        one configuration; the message names near matches, or what differs.
    """
    known = ledger()
    if key in known:
        return known[key]
    for prefix, reason in ambiguous().items():
        if key.startswith(f"{prefix}."):
            raise ScalebookError(f"{key}: ambiguous, {reason}")
    experiment, system, *rest = [*key.split("."), "", ""]
    declared = study.load()
    if experiment in declared.experiments and system in declared.systems and rest[0] and not any(
        name.startswith(f"{experiment}.{system}.") for name in known
    ):  # fmt: skip
        raise ScalebookError(
            f"no number {key!r}: no run of {experiment} on {system} is evidence yet; "
            f"start one with: scalebook run {experiment} --system {system}"
        )
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    hint = f"near matches: {', '.join(near)}" if near else f"{len(known)} keys are known"
    raise ScalebookError(f"no number {key!r}; {hint}")


def ledger() -> dict[str, Value]:
    """All numbers there are, by key."""
    values: dict[str, Value] = {}
    for one in _measured().values():
        if len(one) == 1:
            values.update((value.key, value) for value in _of_configuration(one[0]))
    values.update((value.key, value) for value in _of_scaling(values))
    values.update((value.key, value) for value in _of_overheads(values))
    values.update((value.key, value) for value in _of_allreduce())
    values.update((value.key, value) for value in _reported())
    values.update((value.key, value) for value in _modelled())
    return values


def ambiguous() -> dict[str, str]:
    """``<experiment>.<system>`` whose evidence is not one configuration, and why."""
    found = {}
    for prefix, group in _measured().items():
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


def _measured() -> dict[str, list[Configuration]]:
    groups: dict[str, list[Configuration]] = {}
    for one in configurations(documented()):
        if one.kind == "measured":
            groups.setdefault(f"{one['experiment']}.{one['system']}", []).append(one)
    return groups


def _of_configuration(one: Configuration) -> Iterator[Value]:
    prefix = f"{one['experiment']}.{one['system']}"
    for metric, (_, unit) in METRICS.items():
        yield from _stats(f"{prefix}.{metric}", one.summary(metric), unit, one)
    steps = step_table(one.runs)
    for metric, unit in STEP_UNITS.items():
        yield from _stats(f"{prefix}.{metric}", summarise(steps[metric]), unit, one)


def _stats(prefix: str, summary: Summary, unit: str, one: Configuration) -> Iterator[Value]:
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
        )


def _of_scaling(known: dict[str, Value]) -> Iterator[Value]:
    table = scaling_table()
    for row in table[table["kind"] == "measured"].to_dict("records"):
        prefix = f"{row['experiment']}.{row['system']}"
        reference = f"{row['reference']}.{row['system']}"
        # Only where neither side is ambiguous.
        if f"{prefix}.throughput.n" not in known or f"{reference}.throughput.n" not in known:
            continue
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
                    runs=(*row["stems"], *row["reference_stems"]),
                )


def _of_overheads(known: dict[str, Value]) -> Iterator[Value]:
    for row in overheads().to_dict("records"):
        prefix = f"{row['experiment']}.{row['system']}"
        names = [row["experiment"], row["reference"], row["control"]]
        if any(f"{name}.{row['system']}.throughput.n" not in known for name in names if name):
            continue
        runs = tuple(row["stems"])
        against = f"{row['experiment']} against {' and '.join(filter(None, names[1:]))}"
        source = f"median step of {against} on {row['system']}, n = {row['n']}, paired by seed"
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
                )
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
                runs=runs,
            )


def _of_allreduce() -> Iterator[Value]:
    for system, curve in results.allreduce(local=False).groupby("system"):
        runs = tuple(curve["stem"].unique())
        source = f"all-reduce by {curve['backend'].iloc[0]} on {system}, medians by message size"
        for metric, unit in (("busbw_gb_s", "GB/s"), ("latency_us", "µs")):
            for stat in ("min", "max"):
                yield Value(
                    key=f"allreduce.{system}.{metric}.{stat}",
                    value=float(getattr(curve[metric], stat)()),
                    unit=unit,
                    kind="measured",
                    source=source,
                    n=len(runs),
                    runs=runs,
                )


def _reported() -> Iterator[Value]:
    for row in results.reported().to_dict("records"):
        value = plain(row["value"])
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        said = ", ".join(str(plain(part)) for part in (row["source"], row["date"]) if plain(part))
        about = f"for job {row['job_id']}" if plain(row["experiment"]) else f"in {row['job_id']}"
        yield Value(
            key=f"reported.{row['job_id']}.{row['metric']}",
            value=float(value),
            unit=str(plain(row["unit"]) or ""),
            kind="reported",
            source=f"reported {about}: {said or row['source_file']}",
            runs=(str(row["job_id"]),),
        )


def _modelled() -> Iterator[Value]:
    for row in modelled().to_dict("records"):
        yield Value(
            key=f"modelled.{row['job_id']}.{row['metric']}",
            value=float(row["value"]),
            unit=row["unit"],
            kind="modelled",
            source=f"modelled for job {row['job_id']}: {row['formula']}",
            runs=(str(row["job_id"]),),
        )
