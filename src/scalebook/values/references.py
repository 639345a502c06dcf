"""Numbers that are quoted: from publications, from facts about machines, from the study itself.

=======================================================  ==================================
key                                                      from
=======================================================  ==================================
``cited.<id>``                                           ``numbers`` of ``data/cited/*.yaml``
``cited.model_sizes.<metric>``                           of ``data/cited/model_sizes.csv``
``cited.<system>.<fact path>``                           numbers in ``data/systems/*.yaml``
``study.seeds``                                          how many seeds ``study.yaml`` names
``study.<experiment>.<field>``                           its experiments, defaults filled in
``study.campaign.<name>.<field>``                        what a campaign sets for all
``study.campaign.<name>.<experiment>.<field>``           each experiment as it runs there
=======================================================  ==================================

An experiment also has ``global_batch`` and ``batch_per_rank`` whichever of them was given; in a
campaign that names its images, ``steps`` of an epoch and ``timed_steps`` of them.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalebook import contract, study
from scalebook.analysis import models
from scalebook.contract import ScalebookError
from scalebook.results import snapshot
from scalebook.study import Experiment
from scalebook.study.document import beside, read
from scalebook.values import yaml_lines
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, origin

CITED = "data/cited"
SYSTEMS = "data/systems"
BIBLIOGRAPHY = "book/references.bib"

_UNITS: dict[str, dict[str, str]] = beside(__file__)
SETTING_UNITS = _UNITS["settings"]

_KEY = re.compile(r"@\w+\s*\{\s*([^,\s]+)\s*,")


class Cited(BaseModel):
    """One number from a publication.

    Attributes
    ----------
    bib : str or None
        Key in ``book/references.bib``; `source` in words where the publication is not there.
    date : str
        Day on which it was read, as ``2026-01-31``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$", max_length=120)
    value: float = Field(allow_inf_nan=False)
    unit: str = ""
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    bib: str | None = None
    source: str | None = None
    date: str
    note: str

    @field_validator("date", mode="before")
    @classmethod
    def _a_day(cls, value: Any) -> Any:
        text = value.isoformat() if isinstance(value, datetime.date) else str(value)
        try:
            return datetime.date.fromisoformat(text).isoformat()
        except ValueError:
            raise ValueError(f"{text!r} is no day; write it as 2026-01-31") from None

    @model_validator(mode="after")
    def _has_a_source(self) -> Cited:
        if not (self.bib or self.source):
            raise ValueError("give bib, a key of book/references.bib, or source in words")
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        return self


class CitedFile(BaseModel):
    """A file of ``data/cited``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: list[Cited] = []

    @model_validator(mode="after")
    def _unique(self) -> CitedFile:
        ids = [number.id for number in self.numbers]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return self


def references(inputs: Inputs) -> Iterator[Value]:
    """Every quoted number.

    Raises
    ------
    ScalebookError
        One line that names file and key, if a file is wrong or cites what is not in the
        bibliography.
    """
    yield from _publications()
    yield from _models()
    yield from _machines()
    yield from _settings(snapshot().study)


# --------------------------------------------------------------------------- publications


def publications() -> Iterator[tuple[str, Cited]]:
    """Numbers of ``data/cited``, each with its file."""
    now = snapshot()
    for name in now.names(CITED, ".yaml"):
        file = f"{CITED}/{name}"
        for number in read(CitedFile, now.root, file).numbers:
            yield file, number


def _publications() -> Iterator[Value]:
    keys = _bibliography()
    for file, number in publications():
        if number.bib and number.bib not in keys:
            raise ScalebookError(
                f"{file}: numbers.{number.id}: bib {number.bib!r} is not in {BIBLIOGRAPHY}; "
                "add the reference or give source"
            )
        source = number.source or f"reference {number.bib}"
        make = origin("publication", publications, source=source, one=number)
        place = {"files": (file,), "where": yaml_lines.where(file, "numbers", number.id)}
        low, high = number.low, number.high
        yield make(f"cited.{number.id}", number.value, number.unit, low=low, high=high, **place)


def _models() -> Iterator[Value]:
    """By what factor published models grew, in thousands, and since when."""
    table = models.model_sizes()
    if table.empty:
        return
    oldest, largest = table.iloc[0], table.loc[table["parameters"].idxmax()]
    growth = float(largest["parameters"] / oldest["parameters"]) / 1000
    make = origin("models", models.model_sizes, oldest=oldest["model"], largest=largest["model"])
    yield make("cited.model_sizes.growth", growth, "thousand")
    yield make("cited.model_sizes.first_year", float(oldest["year"]), "")


def _bibliography() -> set[str]:
    try:
        return set(_KEY.findall((contract.find_root() / BIBLIOGRAPHY).read_text(encoding="utf-8")))
    except OSError:
        return set()


# --------------------------------------------------------------------------- machines


def _machines() -> Iterator[Value]:
    for name, facts in snapshot().study.machines.items():
        file = f"{SYSTEMS}/{name}.yaml"
        source = ", ".join(filter(None, (facts.source, facts.date and f"read on {facts.date}")))
        for keys, value in _numbers(facts.model_dump(exclude_unset=True)):
            fact = " ".join(keys).replace("_", " ")
            about = {"name": name, "fact": fact, "source": source or file}
            make = origin("fact", study.Study.facts, **about)
            key, place = ".".join(("cited", name, *keys)), yaml_lines.where(file, *keys)
            yield make(key, value, unit_of(keys), files=(file,), where=place)


def _numbers(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Leaves of nested mappings that are numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*keys, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield keys, float(value)


def unit_of(keys: Sequence[str]) -> str:
    """Unit that the name of a fact carries, also where the name is that of a group."""
    for name in reversed(keys):
        for suffix, unit in _UNITS["suffixes"].items():
            if name.endswith(suffix):
                return unit
    return ""


# --------------------------------------------------------------------------- the study


def _settings(loaded: study.Study) -> Iterator[Value]:
    yield _setting("study.seeds", len(loaded.seeds), "", "how many seeds are run", "seeds")
    for name, experiment in loaded.experiments.items():
        for field, value, unit in _fields(experiment):
            where = f"experiments.{name}.{field}"
            source = f"setting of experiment {name}"
            yield _setting(f"study.{name}.{field}", value, unit, source, where)
    for name, campaign in loaded.campaigns.items():
        prefix, where = f"study.campaign.{name}", f"campaigns.{name}"
        seeds = len(campaign.rounds(loaded.seeds))
        yield _setting(f"{prefix}.seeds", seeds, "", f"seeds of campaign {name}", where)
        for field, value in campaign.set.items():
            if _is_number(value):
                source, own = f"setting of campaign {name}", f"{where}.set.{field}"
                yield _setting(f"{prefix}.{field}", value, _unit(field), source, own)
        for member, settings in campaign.runs:
            if len(campaign.experiments[member]) > 1:  # no one number is meant by its name
                continue
            there = loaded.experiment(member, settings)
            for field, value, unit in (*_fields(there), *_steps(there)):
                key, own = f"{prefix}.{member}.{field}", f"{where}: {member}, {field}"
                yield _setting(key, value, unit, f"{member} in campaign {name}", own)


def _fields(experiment: Experiment) -> Iterator[tuple[str, float, str]]:
    for field in type(experiment).model_fields:
        value = getattr(experiment, field)
        if _is_number(value) and field not in ("global_batch", "batch_per_rank"):
            yield field, value, _unit(field)
    yield "global_batch", experiment.images_per_step, "images"
    per_rank = experiment.images_per_step / experiment.world_size
    if per_rank.is_integer():
        yield "batch_per_rank", per_rank, "images"


def _steps(experiment: Experiment) -> Iterator[tuple[str, float, str]]:
    """Steps of an epoch, where it is known how many images it has: the last may be short."""
    if experiment.train_images:
        steps = math.ceil(experiment.train_images / experiment.images_per_step)
        yield "steps", steps, "steps"
        yield "timed_steps", max(0, steps - experiment.untimed_steps), "steps"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _unit(field: str) -> str:
    return SETTING_UNITS.get(field) or unit_of((field,))


def _setting(key: str, value: float, unit: str, source: str, where: str) -> Value:
    make = origin("setting", study.load, source=source, where=where)
    return make(key, float(value), unit)
