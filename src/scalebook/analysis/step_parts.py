"""Where the time of a parallel step goes: computation, parallel overhead, network.

With t the median time of a step (its slowest rank), b the batch of a rank, index 1 for the
reference, c for the *control*: as many ranks as the run under study with the same batch, on no
more nodes than the reference:

=====================  =================================================================
part                   formula
=====================  =================================================================
computation            t_1 · b_p / b_1: the reference's step, shared out without any loss
parallel overhead      t_c − computation: smaller batches, gradient exchange inside a node,
                       ranks that share caches and memory
network                t_p − t_c: what having more nodes adds
=====================  =================================================================

The parts are formed block by block and then summed up, so that their medians need not add up to
the median step. Beside them stands one *modelled* number, the shortest time in which a ring
all-reduce of n ranks can move the gradients over the link of a node:
``bytes · 2 (n − 1) / n / rate``. It names the physical limit of the exchange, not of the
network part: a share of the exchange can hide behind the backward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import study_queries, text
from scalebook.analysis.comparable import Configuration, configurations, documented
from scalebook.analysis.scaling import pair_differences, values_by_block
from scalebook.analysis.statistics import Summary, summarise
from scalebook.analysis.tables import step_table
from scalebook.contract import ScalebookError

#: Metric of `step_table` that stands for the step of a run.
STEP = "step_time_p50_ms"

#: Parts of a step in ms; ``control`` is the step of the control, ``overhead`` is parallel overhead
#: and network together.
PARTS = ("step", "compute", "parallel", "network", "overhead", "control")


#: Gradients are exchanged in FP32, also where a forward pass is computed in less.
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class StepParts:
    """The step of a configuration on several nodes, taken apart.

    Attributes
    ----------
    control : Configuration or None
        As many ranks with the same batch on the nodes of the reference.
    parts : dict of str to Summary
        Each of `PARTS`, in ms, over blocks; empty summaries of what cannot be formed.
    parameters : int or None
        Of the model, where a manifest counts them.
    link_gbit_s : float or None
        Rate of the link of a node, where it is limited or known.
    reason : str
        Why a part is missing; empty where none is.
    """

    one: Configuration
    reference: Configuration
    control: Configuration | None
    parts: Mapping[str, Summary]
    parameters: int | None
    link_gbit_s: float | None
    reason: str

    @property
    def sides(self) -> list[Configuration]:
        """The configuration, its reference, and the control where there is one."""
        return [self.one, self.reference, *([self.control] if self.control else [])]

    @property
    def stems(self) -> list[str]:
        """Runs of all sides."""
        return [stem for side in self.sides for stem in side.stems]

    @property
    def gradient_bytes(self) -> int | None:
        """Bytes that a step exchanges."""
        return BYTES_PER_PARAMETER * self.parameters if self.parameters else None

    @property
    def transfer_ms(self) -> float | None:
        """Shortest time of the exchange over the link, modelled."""
        if not self.link_gbit_s or not self.parameters:
            return None
        return transfer_ms(self.parameters, self.one["world_size"], self.link_gbit_s)


def _reader(part: str, stat: str) -> Callable[[StepParts], float]:
    return lambda step: float(getattr(step.parts[part], stat))


#: Columns of `overheads`.
COLUMNS: Mapping[str, Callable[[StepParts], Any]] = {
    "experiment": lambda step: step.one["experiment"],
    "reference": lambda step: step.reference["experiment"],
    "control": lambda step: step.control["experiment"] if step.control else "",
    "system": lambda step: step.one["system"],
    "dataset": lambda step: step.one["dataset"],
    "scaling": lambda step: step.one.scaling or "",
    "world_size": lambda step: step.one["world_size"],
    "nodes": lambda step: step.one["nodes"],
    "n": lambda step: step.parts["step"].n,
    **{
        f"{part}_ms{end}": _reader(part, stat)
        for part in PARTS
        for end, stat in (("", "median"), ("_low", "low"), ("_high", "high"))
    },
    "link_gbit_s": lambda step: step.link_gbit_s,
    "gradient_bytes": lambda step: step.gradient_bytes,
    "transfer_ms": lambda step: step.transfer_ms,
    "reason": lambda step: step.reason,
    "stems": lambda step: step.stems,
}


def step_parts(found: Sequence[Configuration], steps: pd.DataFrame) -> list[StepParts]:
    """Split the step of every measured configuration that spans more nodes than its reference.

    Parameters
    ----------
    found : sequence of Configuration
        With their references and controls among them.
    steps : DataFrame
        Their runs' rows of `tables.step_table`.
    """
    found = [configuration for configuration in found if configuration.kind == "measured"]
    return [
        _taken_apart(configuration, reference, found, steps)
        for configuration in found
        for reference in found
        if _spreads(configuration, reference) and not pair_differences(configuration, reference)
    ]


def overheads(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Table of `step_parts`.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, times in ms: medians, with their intervals in ``_low`` and ``_high``.
        What cannot be formed is missing, and ``reason`` says why.
    """
    runs = documented() if runs is None else runs
    found = step_parts(configurations(runs), step_table(runs))
    return pd.DataFrame({name: [read(step) for step in found] for name, read in COLUMNS.items()})


def transfer_ms(parameters: int, ranks: int, gbit_s: float) -> float:
    """Shortest time of a ring all-reduce of all gradients over one link, in ms.

    Parameters
    ----------
    parameters : int
        Of the model; each has a gradient of `BYTES_PER_PARAMETER` bytes.
    ranks : int
        Ranks in the ring.
    gbit_s : float
        Rate of a link in each direction, in Gbit/s.
    """
    bits = 8 * BYTES_PER_PARAMETER * parameters * 2 * (ranks - 1) / ranks
    return bits / gbit_s / 1e6


def _spreads(one: Configuration, reference: Configuration) -> bool:
    return bool(
        one.reference == reference["experiment"]
        and one["nodes"]
        and reference["nodes"]
        and one["nodes"] > reference["nodes"]
    )


def _taken_apart(
    one: Configuration,
    reference: Configuration,
    found: Sequence[Configuration],
    steps: pd.DataFrame,
) -> StepParts:
    unlike = _unlike(one, reference)
    control = next((candidate for candidate in found if _controls(candidate, one, reference)), None)
    reason = unlike
    if not reason and control is None:
        nodes = text.count(reference["nodes"], "node")
        reason = (
            f"no control on {one.machine}: {one['world_size']} ranks on {nodes} with the same "
            f"global batch of {one['global_batch']}; one on another system is not comparable"
        )
    sides = [one, reference, *([control] if control else [])]
    own = [steps[steps["stem"].isin(side.stems)] for side in sides]
    times = values_by_block(own, STEP)
    if not times and not reason:
        names = " and ".join(side.title for side in sides)
        reason = f"no block has recorded steps of {names}"
    if unlike or not times:
        parts = {part: summarise([]) for part in PARTS} | {"step": summarise(own[0][STEP])}
    else:
        parts = _parts(one, reference, times)
    link = study_queries.facts(one["system"]).link_gbit_s
    parameters = recorded_model(one.stems[0]).get("parameters")
    return StepParts(one, reference, control, parts, parameters, link, reason)


def _parts(
    one: Configuration, reference: Configuration, times: Sequence[tuple[float, ...]]
) -> dict[str, Summary]:
    """Form each part from the steps of both, and of the control where there is one."""
    values: dict[str, list[float]] = {part: [] for part in PARTS}
    for step, before, *control in times:
        share = (one["global_batch"] / one["world_size"]) / (
            reference["global_batch"] / reference["world_size"]
        )
        compute = share * before
        values["step"].append(step)
        values["compute"].append(compute)
        values["overhead"].append(step - compute)
        for same in control:
            values["control"].append(same)
            values["parallel"].append(same - compute)
            values["network"].append(step - same)
    return {part: summarise(several) for part, several in values.items()}


def _unlike(one: Configuration, reference: Configuration) -> str:
    """Why the reference's step says nothing about this one's computation; empty if it does."""
    if not all(side[name] for side in (one, reference) for name in ("global_batch", "world_size")):
        return "the batch of a rank is not known"
    for name, title in (("threads_per_rank", "threads per rank"), ("precision", "precision")):
        if one[name] != reference[name]:
            return f"differs from {reference.title} in {title} ({one[name]} and {reference[name]})"
    return ""


def _controls(candidate: Configuration, one: Configuration, reference: Configuration) -> bool:
    same = ("world_size", "threads_per_rank", "precision", "global_batch")
    return (
        candidate.reference == reference["experiment"]
        and candidate["nodes"] == reference["nodes"]
        and all(candidate[name] == one[name] for name in same)
        and candidate.facet == one.facet
    )


def recorded_model(stem: str) -> dict[str, Any]:
    """What the manifest of a run says of its model; an imported file has none."""
    try:
        model: dict[str, Any] | None = results.manifest(stem).get("model")
    except ScalebookError:
        return {}
    return model or {}
