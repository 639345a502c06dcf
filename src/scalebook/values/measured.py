"""Measured numbers: of configurations, of single runs, ratios, parts of a step, all-reduce curves.

Each names the files it was computed from, the column, and the function that did it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import pandas as pd

from scalebook import results
from scalebook.analysis import (
    Summary,
    configurations,
    controls,
    scaling,
    step_parts,
    summarise,
    tables,
)
from scalebook.analysis.comparable import Configuration, differences, to_python
from scalebook.analysis.statistics import STEP_METRICS
from scalebook.analysis.study_queries import label
from scalebook.analysis.text import listed
from scalebook.results import METRICS
from scalebook.values.inputs import Inputs
from scalebook.values.references import SETTING_UNITS
from scalebook.values.value import Value, origin, result_files, statistics

STATS = ("median", "low", "high", "n", "min", "max", "mean")

#: Settings of a configuration that documents quote.
SETTINGS = ("world_size", "nodes", "global_batch", "train_images", "epochs")


def measured(inputs: Inputs) -> Iterator[Value]:
    """Every measured number; those of ambiguous configurations are left out."""
    steps = inputs.steps.set_index("stem")
    names = prefixes(inputs.measured)
    for configuration in inputs.measured:
        if named(configuration) in names:
            yield from _of_configuration(names[named(configuration)], configuration, steps)
    yield from _of_runs(inputs.runs)
    # Only where no side is ambiguous.
    rated = {
        named(configuration)
        for configuration in inputs.measured
        if named(configuration) in names and configuration.summary("throughput").n
    }
    for ratio in inputs.ratios:
        if ratio.one.kind != "measured" or not rated.issuperset(map(named, ratio.sides)):
            continue
        mine, base = named(ratio.one), named(ratio.reference)
        # Against an experiment of several numbers of ranks: against as many.
        if names[base] == ".".join(base[:2]) or mine[2] == base[2]:
            yield from _of_ratio(names[mine], ratio)
    for control in inputs.controls:
        yield from _of_control(control)
    for gap in controls.gaps(inputs.ratios):
        if rated.issuperset(map(named, (gap.ratio.one, gap.control.one))):
            yield from _of_gap(names[named(gap.ratio.one)], gap)
    for contrast in controls.between_systems(inputs.ratios):
        if all(
            (contrast.experiment, system) in {name[:2] for name in rated}
            for system in (contrast.system, contrast.other)
        ):
            yield from _of_contrast(contrast)
    for step in inputs.step_parts:
        if rated.issuperset(map(named, step.sides)):
            yield from _of_step(names[named(step.one)], step)
    yield from _of_allreduce()


#: Experiment, system and number of ranks.
Named = tuple[str, str, int]


def named(configuration: Configuration) -> Named:
    """What sets a configuration apart in a key."""
    return configuration["experiment"], configuration["system"], configuration["world_size"]


def _groups(found: Iterable[Configuration]) -> Mapping[str, list[Configuration]]:
    """Configurations by ``<experiment>.<system>``."""
    groups: dict[str, list[Configuration]] = {}
    for configuration in found:
        groups.setdefault(f"{configuration['experiment']}.{configuration['system']}", []).append(
            configuration
        )
    return groups


def _is_ladder(group: list[Configuration]) -> bool:
    """Whether the number of ranks tells configurations apart."""
    return len({configuration["world_size"] for configuration in group}) == len(group)


def prefixes(found: Iterable[Configuration]) -> dict[Named, str]:
    """How the keys of each configuration begin; without those of ambiguous ones.

    It is ``<experiment>.<system>``, and ``<experiment>.<system>.ranks_<n>`` where the experiment
    was run on several numbers of ranks.
    """
    return {
        named(configuration): prefix
        if len(group) == 1
        else f"{prefix}.ranks_{configuration['world_size']}"
        for prefix, group in _groups(found).items()
        if _is_ladder(group)
        for configuration in group
    }


def ambiguous() -> dict[str, str]:
    """``<experiment>.<system>`` whose evidence is not one configuration, and why."""
    found = {}
    for prefix, group in _groups(Inputs().measured).items():
        if not _is_ladder(group):
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


def _of_configuration(
    prefix: str, configuration: Configuration, steps: pd.DataFrame
) -> Iterator[Value]:
    runs = configuration.stems
    for metric in METRICS.values():
        make = partial(
            origin("configuration", tables.configuration_table, runs, one=configuration,
                   column=metric.column), unit=metric.unit,
        )  # fmt: skip
        yield from _stats(f"{prefix}.{metric.name}", configuration.summary(metric.name), make)
    timed = [stem for stem in runs if stem in steps.index]
    own, files = steps.loc[timed], result_files("steps", tuple(timed))
    for name in STEP_METRICS:
        column = "data_wait_s" if name == "data_wait_share" else "step_time_s"
        make = origin("steps", tables.step_table, runs, one=configuration, column=column)
        unit = "ms" if name.endswith("_ms") else ""
        if name != "steps":
            make = partial(make, unit=unit, files=files)
            yield from _stats(f"{prefix}.{name}", summarise(own[name]), make)
    for name in SETTINGS:
        value = configuration[name]
        if isinstance(value, int) and not isinstance(value, bool):
            make = origin(
                "setting of a configuration", configurations, runs, one=configuration, name=name
            )
            make = partial(make, n=len(runs), files=_configured_in(configuration))
            yield make(f"{prefix}.{name}", float(value), SETTING_UNITS[name])


def _stats(prefix: str, summary: Summary, make: partial[Value]) -> Iterator[Value]:
    for value in statistics(prefix, summary, make, STATS):
        interval = value.low is not None
        yield replace(value, source=f"{value.source}; {summary.interval}") if interval else value
    yield from _coverage(prefix, summary, make)


def _coverage(prefix: str, summary: Summary, make: Callable[..., Value]) -> Iterator[Value]:
    """How often an interval holds the true median, where there is one."""
    if summary.n > 1:
        yield make(f"{prefix}.coverage", 100 * summary.coverage, unit="%", n=summary.n)


def _configured_in(configuration: Configuration) -> tuple[str, ...]:
    """Files that hold the settings: manifests; of an imported run, the report of its job."""
    imported = configuration.runs["kind"] == "imported"
    manifests = result_files("manifest", tuple(configuration.runs.loc[~imported, "stem"]))
    if not imported.any():
        return manifests
    table = results.reported()
    jobs = configuration.runs.loc[imported, "job_id"].astype(str)
    reports = table.loc[table["job_id"].astype(str).isin(jobs), "source_file"].unique()
    return (*manifests, *map(str, reports))


def _of_runs(runs: pd.DataFrame) -> Iterator[Value]:
    """Each measured run by itself, for tables that list them."""
    for row in runs[runs["kind"] != "reported"].to_dict("records"):
        stem = to_python(row["stem"])
        for metric in METRICS.values():
            if stem is None or to_python(row[metric.name]) is None:
                continue
            make = origin(
                "run", results.runs, [stem], title=metric.title, column=metric.column,
                experiment=label(row["experiment"]), system=label(row["system"], "system"),
            )  # fmt: skip
            yield make(f"run.{stem}.{metric.name}", float(row[metric.name]), metric.unit)


# --------------------------------------------------------------------------- ratios and parts


def _of_ratio(prefix: str, ratio: scaling.Ratio) -> Iterator[Value]:
    basis = scaling.BASES[ratio.basis]
    suffix = "" if basis.key == "throughput" else f"_by_{basis.key}"
    make = origin("ratio", scaling.ratios, ratio.stems, ratio=ratio, metric=basis.metric)
    stats = ("median", "low", "high", "n")
    for name, unit in (("speedup", ""), ("efficiency", "%")):
        key = f"{prefix}.{name}{suffix}"
        yield from statistics(key, getattr(ratio, name), partial(make, unit=unit), stats)
        yield from _coverage(key, getattr(ratio, name), make)


def _of_control(control: controls.Pooled) -> Iterator[Value]:
    make = origin(
        "control",
        controls.pooled,
        control.stems,
        control=control,
        experiment=label(control.experiment),
        systems=listed([label(name, "system") for name in control.systems]),
    )
    prefix = f"control.{control.experiment}"
    yield from statistics(
        f"{prefix}.efficiency", control.efficiency, partial(make, unit="%"), STATS
    )
    yield make(f"{prefix}.spread", control.factor, unit="", n=control.efficiency.n)


def _of_gap(prefix: str, gap: controls.Gap) -> Iterator[Value]:
    stems = [*gap.control.one.stems, *gap.ratio.one.stems]
    make = origin("gap", controls.gaps, stems, gap=gap)
    stats = ("median", "low", "high", "n")
    yield from statistics(f"{prefix}.control_ratio", gap.factor, partial(make, unit=""), stats)


def _of_contrast(contrast: controls.Contrast) -> Iterator[Value]:
    make = origin(
        "contrast", controls.between_systems, contrast.stems, contrast=contrast,
        experiment=label(contrast.experiment), system=label(contrast.system, "system"),
        other=label(contrast.other, "system"),
    )  # fmt: skip
    prefix = f"contrast.{contrast.experiment}.{contrast.system}.{contrast.other}"
    yield from statistics(prefix, contrast.factor, partial(make, unit=""))


def _of_step(prefix: str, step: step_parts.StepParts) -> Iterator[Value]:
    stems, n = step.stems, step.parts["step"].n
    others = " and ".join(side.title for side in step.sides[1:])
    function = step_parts.step_parts
    make = origin("parts of a step", function, stems, step=step, others=others, n=n)
    for part in step_parts.PARTS[1:]:
        yield from statistics(f"{prefix}.{part}_ms", step.parts[part], make)
    if step.transfer_ms is not None:
        make = origin("transfer", step_parts.transfer_ms, stems, step=step)
        facts = f"data/systems/{step.one['system']}.yaml"
        files = (facts, *result_files("manifest", tuple(stems[:1])))
        yield make(f"modelled.{prefix}.transfer_ms", step.transfer_ms, files=files)


# --------------------------------------------------------------------------- all-reduce


def _of_allreduce() -> Iterator[Value]:
    for system, curve in results.allreduce(local=False).groupby("system"):
        runs, backend = tuple(curve["stem"].unique()), curve["backend"].iloc[0]
        for metric, unit in (("busbw_gb_s", "GB/s"), ("latency_us", "µs")):
            for stat, extreme in (("min", "smallest"), ("max", "largest")):
                make = origin(
                    "all-reduce", results.allreduce, runs, backend=backend, metric=metric,
                    extreme=extreme, machine=label(system, "system"),
                )  # fmt: skip
                key, value = f"allreduce.{system}.{metric}.{stat}", float(curve[metric].agg(stat))
                yield make(key, value, unit, n=len(runs))
