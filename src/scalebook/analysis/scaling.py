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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import study_queries
from scalebook.analysis.comparable import Configuration, configurations, differences, to_python
from scalebook.analysis.statistics import Summary, summarise


@dataclass(frozen=True)
class Basis:
    """What a ratio is formed from.

    Attributes
    ----------
    metric : str
        Key of `results.METRICS`.
    more_is_better : bool
        Whether a larger value is faster.
    key : str
        How the names of numbers call it.
    """

    metric: str
    more_is_better: bool
    key: str


#: By name, as the column ``basis`` of `scaling_table` has it.
BASES = {
    "throughput": Basis("throughput", True, "throughput"),
    "time per epoch": Basis("epoch_time_s", False, "epoch_time"),
}


@dataclass(frozen=True)
class Ratio:
    """A configuration over its reference, by one basis.

    Attributes
    ----------
    basis : str
        Key of `BASES`.
    pairing : {"by block", "of medians"}
        How the repetitions of the two went together.
    speedup : Summary
        Without unit.
    efficiency : Summary
        In percent; without values where the experiment does not change the number of ranks.
    values : tuple of float
        The speed-ups behind it, one a block; none where it is of medians.
    """

    one: Configuration
    reference: Configuration
    basis: str
    pairing: str
    speedup: Summary
    efficiency: Summary
    values: tuple[float, ...]

    @property
    def sides(self) -> list[Configuration]:
        """The configuration and its reference."""
        return [self.one, self.reference]

    @property
    def stems(self) -> list[str]:
        """Runs of both sides."""
        return [*self.one.stems, *self.reference.stems]


#: Columns of `scaling_table`.
COLUMNS: Mapping[str, Callable[[Ratio], Any]] = {
    "kind": lambda ratio: ratio.one.kind,
    "experiment": lambda ratio: ratio.one["experiment"],
    "reference": lambda ratio: ratio.reference["experiment"],
    "system": lambda ratio: ratio.one["system"],
    "dataset": lambda ratio: ratio.one["dataset"],
    "scaling": lambda ratio: ratio.one.scaling or "",
    "world_size": lambda ratio: ratio.one["world_size"],
    "reference_world_size": lambda ratio: ratio.reference["world_size"],
    "basis": lambda ratio: ratio.basis,
    "reference_value": lambda ratio: ratio.reference.summary(BASES[ratio.basis].metric).median,
    "value": lambda ratio: ratio.one.summary(BASES[ratio.basis].metric).median,
    "unit": lambda ratio: results.METRICS[BASES[ratio.basis].metric].unit,
    "n": lambda ratio: ratio.speedup.n,
    "pairing": lambda ratio: ratio.pairing,
    "speedup": lambda ratio: ratio.speedup.median,
    "speedup_low": lambda ratio: ratio.speedup.low,
    "speedup_high": lambda ratio: ratio.speedup.high,
    "efficiency": lambda ratio: ratio.efficiency.median,
    "efficiency_low": lambda ratio: ratio.efficiency.low,
    "efficiency_high": lambda ratio: ratio.efficiency.high,
    "note": lambda ratio: _note(ratio.one, ratio.reference),
    "stems": lambda ratio: ratio.one.stems,
    "reference_stems": lambda ratio: ratio.reference.stems,
}


def speedup(value: float, reference: float, more_is_better: bool = True) -> float:
    """How many times faster than the reference; both values in the same unit."""
    return value / reference if more_is_better else reference / value


def efficiency(speed_up: float, world_size: int, reference_world_size: int = 1) -> float:
    """Parallel efficiency in percent: speed-up over the growth in ranks."""
    return 100.0 * speed_up * reference_world_size / world_size


def ratios(found: Sequence[Configuration]) -> Iterator[Ratio]:
    """Form the ratios of every configuration to its reference, by each basis."""
    for configuration in found:
        for reference in _references(configuration, found):
            if not pair_differences(configuration, reference):
                yield from _ratios(configuration, reference)


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
    return _table(ratios(configurations(runs)))


def refused(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Configurations that have a reference, but none they may be compared with.

    Returns
    -------
    DataFrame
        Columns ``kind``, ``experiment``, ``system``, ``reference``, ``reason``.
    """
    found = configurations(runs)
    rows = []
    for configuration in found:
        references = _references(configuration, found)
        reasons = [pair_differences(configuration, reference) for reference in references]
        if configuration.reference is None or any(not reason for reason in reasons):
            continue
        against = study_queries.label(configuration.reference)
        reason = f"no {configuration.kind} run of {against} on {configuration.machine}"
        if reasons:
            least = min(reasons, key=lambda reason: len(reason))
            reason = f"differs from {against} in {'; '.join(least)}"
        own = (configuration.kind, configuration["experiment"], configuration["system"])
        rows.append((*own, configuration.reference, reason))
    return pd.DataFrame(rows, columns=["kind", "experiment", "system", "reference", "reason"])


def pair_differences(one: Configuration, reference: Configuration) -> list[str]:
    """List what keeps a configuration from being compared with its reference."""
    return differences(one.settings, reference.settings, _exempt(one, reference))


def _exempt(one: Configuration, reference: Configuration) -> tuple[str, ...]:
    """What may differ as well under weak scaling: the images, in proportion to the ranks."""
    images, before = one["train_images"], reference["train_images"]
    ranks, ranks_1 = one["world_size"], reference["world_size"]
    grown = (
        one.scaling == "weak"
        and all((images, before, ranks, ranks_1))
        and one["dataset"] is not None
        and one["dataset"] == reference["dataset"]
        and images * ranks_1 == before * ranks
    )
    return ("dataset_sha256", "train_images", "subset") if grown else ()


def _references(
    configuration: Configuration, found: Sequence[Configuration]
) -> list[Configuration]:
    wanted = (configuration.kind, configuration["system"], configuration.reference)
    return [
        other for other in found if (other.kind, other["system"], other["experiment"]) == wanted
    ]


def _table(found: Iterable[Ratio]) -> pd.DataFrame:
    rows = list(found)
    return pd.DataFrame({name: [read(ratio) for ratio in rows] for name, read in COLUMNS.items()})


def _ratios(one: Configuration, reference: Configuration) -> Iterator[Ratio]:
    ranks, ranks_1 = one["world_size"], reference["world_size"]
    for name, basis in BASES.items():
        metric, more = basis.metric, basis.more_is_better
        if not (one.summary(metric).median > 0 and reference.summary(metric).median > 0):
            continue
        # How many times the images of the reference an epoch has.
        work = 1.0
        if metric == "epoch_time_s" and one["train_images"] and reference["train_images"]:
            work = one["train_images"] / reference["train_images"]
        pairs = values_by_block([one.runs, reference.runs], metric)
        pairing = "by block" if pairs else "of medians"
        values = tuple(work * speedup(ours, theirs, more) for ours, theirs in pairs)
        ratio = summarise(values) if values else _of_medians(one, reference, metric, more, work)
        share = summarise([])
        if ranks and ranks_1 and ranks != ranks_1:
            share = ratio.times(efficiency(1.0, ranks, ranks_1))
        yield Ratio(one, reference, name, pairing, ratio, share, values)


def _of_medians(
    one: Configuration, reference: Configuration, metric: str, more: bool, work: float
) -> Summary:
    """Speed-up of the medians of both sides, where no runs of them belong together."""
    value, base = one.summary(metric), reference.summary(metric)
    middle = work * speedup(value.median, base.median, more)
    # The widest the ratio can be while both sides stay in their intervals.
    corners = [
        work * speedup(a, b, more) for a in (value.low, value.high) for b in (base.low, base.high)
    ]
    # It holds the ratio of the true medians where both intervals do, of runs that are independent.
    n, both = min(value.n, base.n), value.coverage * base.coverage
    return Summary(n, middle, min(corners), max(corners), middle, min(corners), max(corners), both)


def values_by_block(sides: Sequence[pd.DataFrame], metric: str) -> list[tuple[float, ...]]:
    """Values of a metric that were measured together, one tuple of all sides for each block.

    Runs of one block ran one after the other, so that drift touches all of them alike. Runs of one
    seed need not have: a seed pairs accuracies, not times.
    """
    found = [_medians(side, metric) for side in sides]
    shared = sorted(set.intersection(*map(set, found)))
    return [tuple(side[key] for side in found) for key in shared]


def _medians(runs: pd.DataFrame, metric: str) -> dict[Any, float]:
    """Median of a metric over the runs of each block; those without one are left out."""
    found: dict[Any, list[float]] = {}
    for key, value in zip(runs["block"], runs[metric]):
        if to_python(key) is not None and to_python(value) is not None:
            found.setdefault(to_python(key), []).append(float(value))
    medians = {key: median(values) for key, values in found.items()}
    return {key: value for key, value in medians.items() if value}


def _note(one: Configuration, reference: Configuration) -> str:
    """What a reader must know before taking the ratio for scaling."""
    ours, theirs = _processors(one), _processors(reference)
    if one["world_size"] != reference["world_size"] and ours is not None and ours == theirs:
        return (
            f"both use the same {ours} processor threads of one machine: the ratio shows what "
            "splitting the work costs, not how it scales"
        )
    return ""


def _processors(side: Configuration) -> int | None:
    """Processor threads of a CPU run over all ranks; None for a GPU run or where unknown."""
    if side["device"] != "cpu" or side.kind == "reported" or side["nodes"] not in (1, None):
        return None
    return side["threads_per_rank"] * side["world_size"] if side["threads_per_rank"] else None
