"""Speed-up and parallel efficiency, formed only between comparable runs.

With T the time per epoch, X the throughput, I the training images and p the number of
ranks, index 1 for the reference:

=====================  ==========================  ===================================
                       by throughput               by time per epoch
=====================  ==========================  ===================================
speed-up, strong       X_p / X_1                   T_1 / T_p
speed-up, weak         X_p / X_1                   (T_1 / I_1) / (T_p / I_p)
efficiency             speed-up / (p / p_1)        speed-up / (p / p_1)
=====================  ==========================  ===================================

Strong scaling keeps the global batch and the images. Weak scaling keeps the batch of each
rank; an epoch either keeps its images, and then takes p times fewer steps, or has more of them
in proportion to the ranks (Gustafson 1988, DOI 10.1145/42411.42415), and then as many steps.
The time per image, T / I, serves both. The two bases are always both given: they agree if
every epoch processes all its images, and disagree where the report errs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import (
    Configuration,
    configurations,
    differences,
    documented,
    plain,
    require_comparable,
)
from scalebook.analysis.declared import declared_experiments
from scalebook.analysis.statistics import Summary, summarise
from scalebook.contract import ScalebookError

#: Basis of a ratio: the metric it is formed from, and whether more is better.
BASES = {"throughput": ("throughput", True), "time per epoch": ("epoch_time_s", False)}

COLUMNS = (
    "kind", "experiment", "reference", "system", "dataset", "scaling", "world_size",
    "reference_world_size", "basis", "reference_value", "value", "unit", "n", "pairing",
    "speedup", "speedup_low", "speedup_high", "efficiency", "efficiency_low",
    "efficiency_high", "note", "stems", "reference_stems",
)  # fmt: skip

#: Columns of `scaling_table` for a reader, with units, and their decimal places.
SCALING_HEADERS = {
    "kind": "kind",
    "experiment": "experiment",
    "system": "system",
    "scaling": "scaling",
    "world_size": "ranks",
    "basis": "by",
    "reference": "reference",
    "reference_value": "value of the reference",
    "value": "value",
    "unit": "unit",
    "n": "pairs",
    "pairing": "paired",
    "speedup": "speed-up (×)",
    "speedup_low": "low (×)",
    "speedup_high": "high (×)",
    "efficiency": "efficiency (%)",
    "note": "note",
}
SCALING_DIGITS = {"speedup": 2, "speedup_low": 2, "speedup_high": 2}


def speedup(value: float, reference: float, more_is_better: bool = True) -> float:
    """How many times faster than the reference; both values in the same unit."""
    return value / reference if more_is_better else reference / value


def efficiency(speed_up: float, world_size: int, reference_world_size: int = 1) -> float:
    """Parallel efficiency in percent: speed-up over the growth in ranks."""
    return 100.0 * speed_up * reference_world_size / world_size


def scaling_table(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every configuration against its reference, one row for each basis.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Speed-ups have no unit, efficiencies are in percent
        and missing for an experiment that does not change the number of ranks.
        ``scaling`` is empty where it was not recorded which kind it is.
    """
    found = configurations(documented() if runs is None else runs)
    rows = [
        row
        for one in found
        for reference in _references(one, found)
        if not pair_differences(one, reference)
        for row in _compare(one, reference)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def refused(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Configurations that have a reference, but none they may be compared with.

    Returns
    -------
    DataFrame
        Columns ``kind``, ``experiment``, ``system``, ``reference``, ``reason``.
    """
    found = configurations(documented() if runs is None else runs)
    rows = []
    for one in found:
        name = reference_of(one)[0]
        candidates = _references(one, found)
        reasons = [pair_differences(one, other) for other in candidates]
        if name is None or any(not reason for reason in reasons):
            continue
        reason = f"no {one.kind} run of {name} on {one['system']}"
        if reasons:
            reason = f"differs from {name} in {'; '.join(min(reasons, key=len))}"
        about = {"kind": one.kind, "experiment": one["experiment"], "system": one["system"]}
        rows.append({**about, "reference": name, "reason": reason})
    return pd.DataFrame(rows, columns=["kind", "experiment", "system", "reference", "reason"])


def compare(run: str, reference: str) -> pd.DataFrame:
    """Speed-up and efficiency of one run over another, both named by stem.

    Raises
    ------
    ScalebookError
        If a run is not there, or the two differ in more than what is studied.
    """
    runs = results.runs()
    sides = []
    for stem in (run, reference):
        row = runs[runs["stem"] == stem]
        if row.empty:
            raise ScalebookError(f"no run {stem!r}; `scalebook runs` lists those there are")
        sides.append(configurations(row)[0])
    require_comparable(
        sides[0].settings, sides[1].settings, f"{run} against {reference}", _exempt(*sides)
    )
    return pd.DataFrame(_compare(*sides), columns=list(COLUMNS))


def pair_differences(one: Configuration, reference: Configuration) -> list[str]:
    """What keeps a configuration from being compared with its reference; empty if nothing does."""
    return differences(one.settings, reference.settings, _exempt(one, reference))


def _exempt(one: Configuration, reference: Configuration) -> tuple[str, ...]:
    """What may differ as well under weak scaling: the images, in proportion to the ranks."""
    images, before = one["train_images"], reference["train_images"]
    ranks, ranks_1 = one["world_size"], reference["world_size"]
    grown = (
        reference_of(one)[1] == "weak"
        and all((images, before, ranks, ranks_1))
        and one["dataset"] is not None
        and one["dataset"] == reference["dataset"]
        and images * ranks_1 == before * ranks
    )
    return ("dataset_sha256", "train_images", "subset") if grown else ()


def reference_of(one: Configuration) -> tuple[str | None, str | None]:
    """Name of the reference experiment and kind of scaling; None where there is none.

    As the run's own record says; where that names no reference, as the study
    declares the experiment now.
    """
    row = one.runs.iloc[0]
    reference, kind = plain(row.get("reference")), plain(row.get("scaling"))
    if reference is None:
        reference, kind = declared_experiments().get(one["experiment"], (None, None))
    return reference, kind


def _references(one: Configuration, found: list[Configuration]) -> list[Configuration]:
    name = reference_of(one)[0]
    return [
        other
        for other in found
        if name == other["experiment"] and other.kind == one.kind
        and other["system"] == one["system"]
    ]  # fmt: skip


def _compare(one: Configuration, reference: Configuration) -> list[Mapping[str, Any]]:
    kind = reference_of(one)[1]
    ranks, ranks_1 = one["world_size"], reference["world_size"]
    rows = []
    for basis, (metric, more) in BASES.items():
        value, base = one.summary(metric), reference.summary(metric)
        if not (value.n and base.n) or not base.median or not value.median:
            continue
        work = 1.0
        if metric == "epoch_time_s" and one["train_images"] and reference["train_images"]:
            work = one["train_images"] / reference["train_images"]
        ratio, pairing = _ratio(one, reference, metric, more, work)
        row = {
            "kind": one.kind,
            "experiment": one["experiment"],
            "reference": reference["experiment"],
            "system": one["system"],
            "dataset": one["dataset"],
            "scaling": kind or "",
            "world_size": ranks,
            "reference_world_size": ranks_1,
            "basis": basis,
            "reference_value": base.median,
            "value": value.median,
            "unit": "images/s" if metric == "throughput" else "s",
            "n": ratio.n,
            "pairing": pairing,
            "speedup": ratio.median,
            "speedup_low": ratio.low,
            "speedup_high": ratio.high,
            "note": _note(one, reference),
            "stems": one.stems,
            "reference_stems": reference.stems,
        }
        if ranks and ranks_1 and ranks != ranks_1:
            for end, bound in (("", "median"), ("_low", "low"), ("_high", "high")):
                row[f"efficiency{end}"] = efficiency(getattr(ratio, bound), ranks, ranks_1)
        rows.append(row)
    return rows


def _ratio(
    one: Configuration, reference: Configuration, metric: str, more: bool, work: float
) -> tuple[Summary, str]:
    """Speed-up over repetitions: paired by seed where both sides ran the same seeds.

    `work` is how many times the images of the reference an epoch has.
    """
    ours, theirs = (by_seed(side.runs, metric) for side in (one, reference))
    shared = sorted(set(ours) & set(theirs))
    if shared:
        ratios = [work * speedup(ours[seed], theirs[seed], more) for seed in shared]
        return summarise(ratios), "by seed"
    value, base = one.summary(metric), reference.summary(metric)
    middle = work * speedup(value.median, base.median, more)
    # The widest the ratio can be while both sides stay in their intervals.
    corners = [
        work * speedup(a, b, more) for a in (value.low, value.high) for b in (base.low, base.high)
    ]
    n = min(value.n, base.n)
    bounds = Summary(n, middle, min(corners), max(corners), middle, min(corners), max(corners), 0)
    return bounds, "of medians"


def by_seed(runs: pd.DataFrame, metric: str) -> dict[int, float]:
    """Median of a metric over the runs of each seed; runs without one are left out."""
    known = runs.dropna(subset=["seed", metric])
    medians = known.groupby("seed")[metric].median()
    return {int(seed): float(value) for seed, value in medians.items() if value}


def _note(one: Configuration, reference: Configuration) -> str:
    """What a reader must know before taking the ratio for scaling."""
    ours, theirs = _processors(one), _processors(reference)
    if one["world_size"] != reference["world_size"] and ours is not None and ours == theirs:
        return (
            f"both use the same {ours} processor threads of one machine: the ratio shows what "
            "splitting the work costs, not how it scales"
        )
    return ""


def _processors(one: Configuration) -> int | None:
    """Processor threads of a CPU run over all ranks; None for a GPU run or where unknown."""
    stem = plain(one.runs.iloc[0]["stem"])
    if one["device"] != "cpu" or one.kind == "reported" or stem is None or one["nodes"] not in (
        1, None
    ):  # fmt: skip
        return None
    try:
        threads = results.manifest(stem).get("threads_per_rank")
    except ScalebookError:
        return None
    return int(threads) * one["world_size"] if threads else None
