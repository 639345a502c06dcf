"""What the study declares, asked as queries.

A table or figure that follows the study's order, references or facts about
machines is stale when those change, as it is when a result does.
"""

from typing import Any, Literal

import pandas as pd

from scalebook.contract import ScalebookError
from scalebook.results import query, snapshot
from scalebook.study import Campaign, Control, Facts, Plan


@query
def experiments() -> dict[str, tuple[str | None, str | None]]:
    """Reference and kind of scaling of each experiment, in the order of ``study.yaml``."""
    loaded = snapshot().study
    return {
        name: (experiment.reference, experiment.scaling)
        for name, experiment in loaded.experiments.items()
    }


@query
def global_batch(experiment: str | None) -> int | None:
    """Images a step of an experiment; None where there is no such experiment."""
    found = snapshot().study.experiments.get(experiment or "")
    return found.images_per_step if found else None


@query
def systems() -> list[str]:
    """Names of the systems, in the order of ``study.yaml``."""
    return list(snapshot().study.systems)


#: What has a label, and the columns of tables that hold its name.
Labelled = Literal["experiment", "system", "campaign"]
_COLUMNS: dict[str, Labelled] = {
    "experiment": "experiment",
    "reference": "experiment",
    "system": "system",
    "other": "system",
}


@query
def labels() -> dict[str, dict[str, str]]:
    """Labels of experiments, systems and campaigns by name, of those that have one."""
    loaded = snapshot().study
    kinds = {
        "experiment": loaded.experiments,
        "system": loaded.systems,
        "campaign": loaded.campaigns,
    }
    return {
        kind: {name: entry.label for name, entry in entries.items() if entry.label}  # type: ignore[attr-defined]  # all have one
        for kind, entries in kinds.items()
    }


def label(name: Any, of: Labelled = "experiment") -> Any:
    """What a reader calls an experiment, system or campaign; its name where it has no label."""
    return labels()[of].get(name, name)


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with labels in the columns that name experiments and systems."""
    columns = {
        column: [label(name, of) for name in table[column]]
        for column, of in _COLUMNS.items()
        if column in table
    }
    return table.assign(**columns)


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
