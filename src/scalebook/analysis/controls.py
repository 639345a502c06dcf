"""The yardstick of a comparison: what an experiment differs where it cannot differ.

A control of ``study.yaml`` is one experiment on several systems, since it uses nothing that they
differ in: two ranks inside one node, for the link between nodes. Its efficiencies on all of them
are pooled. The largest over the smallest of them is what the machine, the hour and chance do to
one measurement, and a difference between two systems counts as one only beyond that factor.
"""

from collections.abc import Sequence
from typing import NamedTuple

from scalebook.analysis import study_queries
from scalebook.analysis.scaling import Ratio, efficiency
from scalebook.analysis.statistics import Summary, summarise


class Pooled(NamedTuple):
    """A control over all its systems.

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


def pooled(ratios: Sequence[Ratio]) -> list[Pooled]:
    """Pool every control that was measured on two of its systems or more.

    Parameters
    ----------
    ratios : sequence of Ratio
        Of all configurations, as `scaling.ratios` forms them.
    """
    found = []
    for control in study_queries.controls():
        own = [
            ratio
            for ratio in ratios
            if ratio.basis == "throughput"
            and ratio.one.kind == "measured"
            and ratio.one["experiment"] == control.experiment
            and ratio.one["system"] in control.systems
            and ratio.values
            and ratio.efficiency.n
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
