"""How much two measurements of the same thing differ: the yardstick of every comparison.

A control of ``study.yaml`` is one experiment on several systems, since it uses nothing that they
differ in: two ranks inside one node, for the link between nodes. Its efficiencies on all of them
are pooled. The largest over the smallest of them is what the machine, the hour and chance do to
one measurement, and a difference between two systems counts as one only beyond that factor.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from scalebook.analysis import study_queries
from scalebook.analysis.comparable import configurations
from scalebook.analysis.headers import CONTRAST_HEADERS
from scalebook.analysis.scaling import Ratio, efficiency, ratios, values_by_block
from scalebook.analysis.statistics import Summary, summarise


class Pooled(NamedTuple):
    """A control, with its efficiency pooled over all its systems.

    Attributes
    ----------
    experiment : str
        Its name.
    systems : list of str
        Where it was measured.
    because : str
        Why it is the same on all of them.
    efficiency : Summary
        In percent, over the blocks of all systems, by throughput.
    stems : list of str
        Runs behind it.
    """

    experiment: str
    systems: list[str]
    because: str
    efficiency: Summary
    stems: list[str]

    @property
    def factor(self) -> float:
        """Largest over smallest efficiency: no smaller difference counts as one."""
        return self.efficiency.max / self.efficiency.min


def _rated(ratios: Iterable[Ratio]) -> list[Ratio]:
    """Measured ratios by throughput that have an efficiency."""
    return [
        ratio
        for ratio in ratios
        if ratio.basis == "throughput" and ratio.one.kind == "measured" and ratio.efficiency.n
    ]


def _by_experiment(ratios: Iterable[Ratio]) -> dict[tuple[str, str], Ratio]:
    """The same ratios by experiment and system."""
    return {(ratio.one["experiment"], ratio.one["system"]): ratio for ratio in _rated(ratios)}


def pooled(ratios: Sequence[Ratio]) -> list[Pooled]:
    """Pool every control that was measured on two of its systems or more.

    Parameters
    ----------
    ratios : sequence of Ratio
        Of all configurations, as `scaling.ratios` forms them.
    """
    rated, found = _rated(ratios), []
    for control in study_queries.controls():
        own = [
            ratio
            for ratio in rated
            if ratio.one["experiment"] == control.experiment
            and ratio.one["system"] in control.systems
            and ratio.values
        ]
        systems = list(dict.fromkeys(ratio.one["system"] for ratio in own))
        if len(systems) < 2:
            continue
        values = [
            efficiency(value, ratio.one["world_size"], ratio.reference["world_size"])
            for ratio in own
            for value in ratio.values
        ]
        stems = [stem for ratio in own for stem in ratio.stems]
        found.append(Pooled(control.experiment, systems, control.because, summarise(values), stems))
    return found


class Gap(NamedTuple):
    """By what factor an experiment falls behind the control beside it, on one system.

    Attributes
    ----------
    ratio, control : Ratio
        Of the experiment and of its control, by throughput.
    factor : Summary
        The control's throughput over the experiment's, block by block.
    """

    ratio: Ratio
    control: Ratio
    factor: Summary


def gaps(ratios: Sequence[Ratio]) -> list[Gap]:
    """Compare what has as many ranks and the same global batch with the control of its system."""
    there, found = _by_experiment(ratios), []
    for declared in study_queries.controls():
        for (experiment, system), ratio in there.items():
            control = there.get((declared.experiment, system))
            if control is None or experiment == declared.experiment:
                continue
            if system not in declared.systems or any(
                ratio.one[name] != control.one[name] for name in ("world_size", "global_batch")
            ):
                continue
            pairs = values_by_block([control.one.runs, ratio.one.runs], "throughput")
            if pairs:
                factors = [beside / behind for beside, behind in pairs]
                found.append(Gap(ratio, control, summarise(factors)))
    return found


class Contrast(NamedTuple):
    """By what factor the efficiency of one experiment differs between two systems.

    Attributes
    ----------
    role : {"A/A", "A/B"}
        ``A/A`` for a control, which is the same on both.
    experiment, system, other : str
        What is compared, and where.
    factor : Summary
        Efficiency on `system` over that on `other`, block by block.
    stems : list of str
        Runs behind it.
    """

    role: str
    experiment: str
    system: str
    other: str
    factor: Summary
    stems: list[str]


def between_systems(ratios: Sequence[Ratio]) -> list[Contrast]:
    """Compare each experiment, and each control, on every two systems of the control."""
    there, found = _by_experiment(ratios), []
    for control in study_queries.controls():
        names = dict.fromkeys([control.experiment, *(experiment for experiment, _ in there)])
        for (system, other), name in (
            (pair, name) for pair in combinations(control.systems, 2) for name in names
        ):
            if (name, system) not in there or (name, other) not in there:
                continue
            both = there[name, system], there[name, other]
            sides = [side.runs for ratio in both for side in ratio.sides]
            times = values_by_block(sides, "throughput")
            factor = summarise([(one / base) / (two / base_2) for one, base, two, base_2 in times])
            if factor.n:
                role = "A/A" if name == control.experiment else "A/B"
                stems = [stem for ratio in both for stem in ratio.stems]
                found.append(Contrast(role, name, system, other, factor, stems))
    return found


def contrasts(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Efficiency on one system over that on another, block by block: A/A beside A/B.

    A control is the same on both systems, so that its ratio is 1 but for chance (``A/A``). Below it
    stand the experiments that do differ there (``A/B``). A system's own reference is in each ratio.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.

    Returns
    -------
    DataFrame
        Columns `CONTRAST_HEADERS`: the median ratio, its interval, and how often that holds the
        median, in percent. Pairs of systems that share no block are left out.
    """
    rows = [
        (contrast.role, contrast.experiment, contrast.system, contrast.other,
         contrast.factor.n, contrast.factor.median, contrast.factor.low, contrast.factor.high,
         100 * contrast.factor.coverage)
        for contrast in between_systems(list(ratios(configurations(runs))))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(CONTRAST_HEADERS))
