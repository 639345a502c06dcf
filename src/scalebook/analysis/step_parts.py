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

The parts are formed seed by seed and then summed up, so that their medians need not add up to
the median step. Beside them stands one *modelled* number, the shortest time in which a ring
all-reduce of n ranks can move the gradients over the link of a node:
``bytes · 2 (n − 1) / n / rate``. It names the physical limit of the exchange, not of the
network part: a share of the exchange can hide behind the backward pass.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import Configuration, configurations, count, documented
from scalebook.analysis.declared import link_rate
from scalebook.analysis.scaling import by_seed, pair_differences, reference_of
from scalebook.analysis.statistics import Summary, summarise
from scalebook.analysis.throughput import step_table
from scalebook.contract import ScalebookError

#: Metric of `step_table` that stands for the step of a run.
STEP = "step_time_p50_ms"

#: Parts of a step in ms; ``control`` is the step of the control, ``overhead`` is parallel overhead
#: and network together.
PARTS = ("step", "compute", "parallel", "network", "overhead", "control")

COLUMNS = (
    "experiment", "reference", "control", "system", "dataset", "scaling", "world_size", "nodes",
    "n", *(f"{part}_ms{end}" for part in PARTS for end in ("", "_low", "_high")),
    "link_gbit_s", "gradient_bytes", "transfer_ms", "reason", "stems",
)  # fmt: skip

#: Columns of `overheads` for a reader, with units.
OVERHEAD_HEADERS = {
    "experiment": "experiment",
    "system": "system",
    "scaling": "scaling",
    "world_size": "ranks",
    "nodes": "nodes",
    "n": "pairs",
    "step_ms": "step (ms)",
    "compute_ms": "computation (ms)",
    "parallel_ms": "parallel overhead (ms)",
    "network_ms": "network (ms)",
    "network_ms_low": "network, low (ms)",
    "network_ms_high": "network, high (ms)",
    "transfer_ms": "modelled: gradients at the link's rate (ms)",
    "reason": "why a part is missing",
}

#: Gradients are exchanged in FP32, also where a forward pass is computed in less.
BYTES_PER_PARAMETER = 4


def overheads(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Take the step of every configuration that spans more nodes than its reference apart.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, times in ms: medians, with their intervals in ``_low`` and ``_high``.
        What cannot be told is missing, and ``reason`` says why.
    """
    runs = documented() if runs is None else runs
    found = [one for one in configurations(runs) if one.kind == "measured"]
    steps = step_table(runs)
    rows = []
    for one in found:
        for reference in found:
            if _spreads(one, reference) and not pair_differences(one, reference):
                rows.append(_row(one, reference, found, steps))
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
        reference_of(one)[0] == reference["experiment"]
        and one["nodes"]
        and reference["nodes"]
        and one["nodes"] > reference["nodes"]
    )


def _row(
    one: Configuration, reference: Configuration, found: list[Configuration], steps: pd.DataFrame
) -> dict:
    reason = _unlike(one, reference)
    control = next((other for other in found if _controls(other, one, reference)), None)
    if not reason and control is None:
        nodes = count(reference["nodes"], "node")
        reason = (
            f"no control on {one['system']}: {one['world_size']} ranks on {nodes} with the same "
            f"global batch of {one['global_batch']}; one on another system is not comparable"
        )
    sides = {"step": one, "reference": reference, **({"control": control} if control else {})}
    times = {
        name: by_seed(steps[steps["stem"].isin(side.stems)], STEP) for name, side in sides.items()
    }
    seeds = set.intersection(*(set(values) for values in times.values()))
    if not seeds and not reason:
        names = " and ".join(side["experiment"] for side in sides.values())
        reason = f"no seed has recorded steps of {names}"
    parts = _parts(one, reference, times, sorted(seeds), bool(_unlike(one, reference)))
    rate = link_rate(one["system"])
    parameters = _parameters(one)
    row = {
        "experiment": one["experiment"],
        "reference": reference["experiment"],
        "control": control["experiment"] if control else "",
        "system": one["system"],
        "dataset": one["dataset"],
        "scaling": reference_of(one)[1] or "",
        "world_size": one["world_size"],
        "nodes": one["nodes"],
        "n": parts["step"].n,
        "link_gbit_s": rate,
        "gradient_bytes": BYTES_PER_PARAMETER * parameters if parameters else None,
        "transfer_ms": transfer_ms(parameters, one["world_size"], rate)
        if rate and parameters
        else None,
        "reason": reason,
        "stems": [stem for side in sides.values() for stem in side.stems],
    }
    for part, summary in parts.items():
        row |= {f"{part}_ms": summary.median, f"{part}_ms_low": summary.low}
        row[f"{part}_ms_high"] = summary.high
    return row


def _parts(
    one: Configuration,
    reference: Configuration,
    times: dict[str, dict[int, float]],
    seeds: list[int],
    unlike: bool,
) -> dict[str, Summary]:
    """Each part over the seeds; the step alone, over its own seeds, where no other can be told."""
    values: dict[str, list[float]] = {part: [] for part in PARTS}
    if unlike or not seeds:
        values["step"] = list(times["step"].values())
        return {part: summarise(several) for part, several in values.items()}
    share = (one["global_batch"] / one["world_size"]) / (
        reference["global_batch"] / reference["world_size"]
    )
    for seed in seeds:
        step, compute = times["step"][seed], share * times["reference"][seed]
        values["step"].append(step)
        values["compute"].append(compute)
        values["overhead"].append(step - compute)
        if "control" in times:
            values["control"].append(times["control"][seed])
            values["parallel"].append(times["control"][seed] - compute)
            values["network"].append(step - times["control"][seed])
    return {part: summarise(several) for part, several in values.items()}


def _unlike(one: Configuration, reference: Configuration) -> str:
    """Why the reference's step says nothing of this one's computation; empty if it does."""
    if not all(side[name] for side in (one, reference) for name in ("global_batch", "world_size")):
        return "the batch of a rank is not known"
    for name, title in (("threads_per_rank", "threads per rank"), ("precision", "precision")):
        if one[name] != reference[name]:
            return (
                f"differs from {reference['experiment']} in {title} "
                f"({one[name]} and {reference[name]})"
            )
    return ""


def _controls(other: Configuration, one: Configuration, reference: Configuration) -> bool:
    same = ("world_size", "threads_per_rank", "precision", "global_batch")
    return (
        reference_of(other)[0] == reference["experiment"]
        and other["nodes"] == reference["nodes"]
        and all(other[name] == one[name] for name in same)
        and other.facet == one.facet
    )


def _parameters(one: Configuration) -> int | None:
    try:
        model: dict[str, Any] = results.manifest(one.stems[0]).get("model") or {}
    except ScalebookError:
        # An imported file has no manifest; its model is not known in such detail.
        return None
    return model.get("parameters")
