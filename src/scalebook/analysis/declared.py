"""What the study declares, asked as queries.

A table or figure that follows the study's order, references or facts about
machines is stale when those change, as it is when a result does.
"""

from __future__ import annotations

from typing import Any

from scalebook import study
from scalebook.contract import ScalebookError
from scalebook.results import query


@query
def declared_experiments() -> dict[str, list[str | None]]:
    """Reference and kind of scaling of each experiment, in the order of ``study.yaml``."""
    return {name: [one.reference, one.scaling] for name, one in study.load().experiments.items()}


@query
def start_command(profiled: bool = False) -> str:
    """Command that starts a run of this study which its documents can show.

    Parameters
    ----------
    profiled : bool
        Of an experiment that records a trace.
    """
    loaded = study.load()
    asked = [name for rule in loaded.evidence for name in rule.experiments]
    names = [*(name for name in asked if name in loaded.experiments), *loaded.experiments]
    fitting = [name for name in names if loaded.experiments[name].profile == profiled]
    if fitting:
        return f"scalebook run {fitting[0]}"
    return f"scalebook run {names[0]} --set profile={str(profiled).lower()}"


@query
def device_peak(system: str, precision: str) -> float | None:
    """Arithmetic peak of one GPU of a system in TFLOP/s, as ``data/systems`` has it.

    Returns
    -------
    float or None
        None where the system is not in the study, or the peak is not written down.
    """
    facts = _facts(system)
    if facts is None or facts.gpu is None:
        return None
    return facts.gpu.peak_tflops.get(precision)


@query
def declared_systems() -> list[str]:
    """Names of the systems, in the order of ``study.yaml``."""
    return list(study.load().systems)


@query
def link_rate(system: str) -> float | None:
    """Rate of a node's link in Gbit/s, as ``data/systems`` has it; None where it is not there."""
    facts = _facts(system)
    return facts.link_gbit_s if facts else None


@query
def network(system: str) -> str:
    """What joins the nodes of a system, as ``data/systems`` has it; empty where it is not there."""
    facts = _facts(system)
    return str(facts.model_dump().get("network") or "") if facts else ""


@query
def system_title(system: str) -> str:
    """What a system is, in the words of ``data/systems``; empty where nothing is written down."""
    facts = _facts(system)
    return facts.title if facts else ""


@query
def declared_plan() -> dict[str, Any] | None:
    """``data/plan.yaml`` as it is validated; None where the study has none."""
    plan = study.load().plan
    return plan.model_dump(mode="json") if plan else None


@query
def declared_campaigns() -> dict[str, dict[str, Any]]:
    """Description and experiments of each campaign of ``study.yaml``."""
    return {
        name: {"description": one.description, "experiments": list(one.experiments)}
        for name, one in study.load().campaigns.items()
    }


@query
def machine_facts(name: str) -> dict[str, Any] | None:
    """Facts of ``data/systems`` about a machine; None where none are written down."""
    facts = _facts(name)
    return facts.model_dump(mode="json") if facts else None


def _facts(system: str) -> study.Facts | None:
    try:
        return study.load().facts(system)
    except ScalebookError:
        # A reported system need not be one the study runs on.
        return None
