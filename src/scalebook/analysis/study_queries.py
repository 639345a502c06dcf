"""What the study declares, asked as queries.

A table or figure that follows the study's order, references or facts about
machines is stale when those change, as it is when a result does.
"""

from scalebook.contract import ScalebookError
from scalebook.results import query, snapshot
from scalebook.study import Campaign, Control, Facts, Plan


@query
def experiments() -> dict[str, tuple[str | None, str | None]]:
    """Reference and kind of scaling of each experiment, in the order of ``study.yaml``."""
    loaded = snapshot().study
    return {name: (one.reference, one.scaling) for name, one in loaded.experiments.items()}


@query
def systems() -> list[str]:
    """Names of the systems, in the order of ``study.yaml``."""
    return list(snapshot().study.systems)


@query
def campaigns() -> dict[str, Campaign]:
    """Campaigns of ``study.yaml`` by name."""
    return dict(snapshot().study.campaigns)


@query
def controls() -> list[Control]:
    """Experiments that are one and the same on several systems."""
    return list(snapshot().study.controls)


@query
def facts(system: str | None) -> Facts:
    """Facts of ``data/systems`` about a machine; without a name where none are written down."""
    nothing = Facts(name="")
    if system is None:
        return nothing
    try:
        return snapshot().study.facts(system) or nothing
    except ScalebookError:
        # A reported system need not be one the study runs on.
        return nothing


@query
def plan() -> Plan | None:
    """The plan of ``data/plan.yaml``; None where the study has none."""
    return snapshot().study.plan


@query
def start_command(profiled: bool = False) -> str:
    """Command that starts a run of this study which its documents can show.

    Parameters
    ----------
    profiled : bool
        Of an experiment that records a trace.
    """
    loaded = snapshot().study
    asked = [name for rule in loaded.evidence for name in rule.experiments]
    names = [*(name for name in asked if name in loaded.experiments), *loaded.experiments]
    fitting = [name for name in names if loaded.experiments[name].profile == profiled]
    if fitting:
        return f"scalebook run {fitting[0]}"
    return f"scalebook run {names[0]} --set profile={str(profiled).lower()}"
