"""Which runs may be compared, and which repeat each other.

Two runs are *comparable* if they agree in everything that is not under study:
machine, data, model, epochs, software. Runs that agree in the experiment's own
settings as well are *repetitions* of one configuration, and are summarised together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import study_queries, text
from scalebook.analysis.statistics import Summary, summarise
from scalebook.contract import SYNTHETIC

#: What two runs must share before one is divided by the other. The dataset is
#: told by its digest; its name is kept for the reader.
COMPARABLE = {
    "system": "system",
    "device": "kind of device",
    "device_name": "device",
    "dataset": "dataset",
    "dataset_sha256": "dataset digest",
    "subset": "subset of the dataset",
    "train_images": "training images",
    "model": "model",
    "model_stem": "stem",
    "epochs": "epochs",
    "torch": "torch version",
}

#: What an experiment sets, and repetitions of it share.
SETTINGS = ("experiment", "world_size", "nodes", "threads_per_rank", "precision", "global_batch")


def to_python(value: Any) -> Any:
    """None for every kind of missing value, a Python scalar for the rest."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Configuration:
    """Runs that repeat each other, from one kind of source.

    Attributes
    ----------
    kind : {"measured", "reported"}
        Imported runs count as measured.
    settings : dict
        Values of `COMPARABLE` and `SETTINGS` that all the runs share; None where unknown.
    runs : DataFrame
        Rows of the catalogue.
    reference : str or None
        Experiment it is compared with: as the runs' own records say; where they name none, as
        the study declares the experiment now.
    scaling : {"strong", "weak"} or None
        Kind of that comparison.
    """

    kind: str
    settings: Mapping[str, Any]
    runs: pd.DataFrame = field(compare=False)
    reference: str | None
    scaling: str | None

    def __getitem__(self, name: str) -> Any:
        return self.settings[name]

    @property
    def title(self) -> str:
        """What a reader calls the experiment."""
        return str(study_queries.label(self["experiment"]))

    @property
    def machine(self) -> str | None:
        """What a reader calls the system; None where it is not known."""
        name: str | None = study_queries.label(self["system"], "system")
        return name

    @property
    def facet(self) -> tuple[Any, ...]:
        """Equal for configurations that may be compared and drawn on one axis."""
        return (self.kind, *(self.settings[name] for name in COMPARABLE))

    @property
    def trial(self) -> bool:
        """Whether its runs stand behind no document."""
        return self.kind == "measured" and not self.runs["evidence"].eq(True).any()

    @property
    def synthetic(self) -> bool:
        """Whether the images were generated."""
        return bool(self["dataset"] == SYNTHETIC)

    def summary(self, metric: str) -> Summary:
        """Median and interval of a metric over the runs."""
        return summarise(pd.to_numeric(self.runs[metric], errors="coerce"))

    @property
    def stems(self) -> list[str]:
        """Names of the runs; job ids where a reported run has no files."""
        pairs = zip(self.runs["stem"], self.runs["job_id"])
        return [to_python(stem) or f"job {to_python(job)}" for stem, job in pairs]

    @property
    def source(self) -> str:
        """Where the numbers come from, in words."""
        ids = [str(to_python(job)) for job in self.runs["job_id"]]
        if self.kind == "reported":
            return f"reported for job{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
        runs = text.count(len(ids), "run")
        return f"{runs} of {self.title} on {self.machine} {self.conditions}"

    @property
    def conditions(self) -> str:
        """Seeds, data and version of measured runs, in words."""
        data = self["dataset"] or "unknown data"
        if self["subset"]:
            data += f" (subset of {self['train_images']:,} training images)"
        versions = f", torch {self['torch']}" if self["torch"] else ""
        seeds = text.seeds(int(seed) for seed in self.runs["seed"] if to_python(seed) is not None)
        return f"({seeds}), {data}{versions}"


def whole(runs: pd.DataFrame) -> pd.DataFrame:
    """Leave out measured runs on a part of their data set where there are runs on all of it.

    A part is enough to time steps, and too little to compare whole trainings with.

    Parameters
    ----------
    runs : DataFrame
        Rows of the catalogue.
    """
    partial = (runs["kind"] != "reported") & runs["subset"].eq(True)
    return runs if partial.all() else runs[~partial].reset_index(drop=True)


def documented(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Runs that may stand in a document: finished evidence, and what was reported.

    Real and generated images never stand side by side: where both are
    there, the runs on generated images are left out. So are profiled runs: the
    profiler slows them down, and their traces are what they are for.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue to choose from; asked of the catalogue where left out.
    """
    if runs is None:
        # Two narrow questions, so that a trial or a profiled run changes neither answer.
        parts = [results.runs(evidence=True, profiled=False), results.runs(kind="reported")]
        parts[0] = parts[0][parts[0]["kind"] != "reported"]
        runs = pd.concat([part for part in parts if not part.empty] or parts[:1])
    taken = runs[(runs["kind"] == "reported") | runs["evidence"].eq(True)]
    taken = taken[~taken["profiled"]]
    real = taken["dataset"] != SYNTHETIC
    return (taken[real] if real.any() else taken).reset_index(drop=True)


def shown() -> pd.DataFrame:
    """Runs that figures show where none are named: those of a document, else finished trials.

    Trials are marked, see `Configuration.trial`.
    """
    found = documented()
    if not found.empty:
        return found
    trials = results.runs(evidence=False, profiled=False, status="finished")
    return trials[trials["kind"] != "reported"].reset_index(drop=True)


def by_stem(found: Iterable[Configuration]) -> dict[tuple[str, str], Configuration]:
    """Configurations by kind and stem: a job that was reported and has a file has both kinds."""
    return {
        (configuration.kind, stem): configuration
        for configuration in found
        for stem in configuration.stems
    }


def configurations(runs: pd.DataFrame | None = None) -> list[Configuration]:
    """Group runs into configurations: measured ones first, experiments as the study orders them.

    Parameters
    ----------
    runs : DataFrame, optional
        Rows of the catalogue; all that may stand in a document where left out.
    """
    runs = documented() if runs is None else runs
    groups: dict[tuple[Any, ...], list[int]] = {}
    names = (*COMPARABLE, *SETTINGS)
    for position, row in enumerate(runs.to_dict("records")):
        kind = "reported" if row["kind"] == "reported" else "measured"
        key = (kind, *(to_python(row.get(name)) for name in names))
        groups.setdefault(key, []).append(position)
    declared, systems = study_queries.experiments(), study_queries.systems()
    found = []
    for (kind, *values), positions in groups.items():
        own, settings = runs.iloc[positions], dict(zip(names, values))
        reference, scaling = (to_python(own.iloc[0].get(name)) for name in ("reference", "scaling"))
        if reference is None:
            reference, scaling = declared.get(settings["experiment"], (None, None))
        found.append(Configuration(kind, settings, own, reference, scaling))
    # A reference stands above what is compared with it, as in study.yaml.
    order = list(declared)
    return sorted(
        found,
        key=lambda configuration: (
            configuration.kind == "reported",
            systems.index(configuration["system"])
            if configuration["system"] in systems
            else len(systems),
            str(configuration["system"]),
            order.index(configuration["experiment"])
            if configuration["experiment"] in order
            else len(order),
            str(configuration.facet),
            str(configuration.settings),
        ),
    )


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], exempt: Iterable[str] = ()
) -> list[str]:
    """List what keeps two runs from being compared; empty if nothing does.

    A value that only one of the two has counts as a difference: nothing
    shows that the other agrees.

    Parameters
    ----------
    one, other : mapping
        Rows of the catalogue, or `Configuration.settings`.
    exempt : iterable of str
        Names of `COMPARABLE` that are under study here, and may differ.
    """
    found = []
    for name, title in COMPARABLE.items():
        if name in exempt:
            continue
        left, right = to_python(one.get(name)), to_python(other.get(name))
        if left != right:
            if name == "dataset_sha256":
                left, right = (str(side)[:8] if side else side for side in (left, right))
            left, right = ("unknown" if side is None else side for side in (left, right))
            found.append(f"{title} ({left} and {right})")
    return found
