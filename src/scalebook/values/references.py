"""Numbers that are quoted: from publications, from facts about machines, from the study itself.

=======================================================  ==================================
key                                                      from
=======================================================  ==================================
``cited.<id>``                                           ``numbers`` of ``data/cited/*.yaml``
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalebook import contract, study
from scalebook.contract import ScalebookError
from scalebook.study.document import read
from scalebook.study.model import Experiment
from scalebook.values.value import Value
from scalebook.values.yaml_lines import where

CITED = "data/cited"
SYSTEMS = "data/systems"
BIBLIOGRAPHY = "book/references.bib"

#: Units of facts and settings, by the end of their names.
SUFFIXES = {
    "_gb_s": "GB/s", "_gbit_s": "Gbit/s", "_gb": "GB", "_gib": "GiB", "_mb": "MB", "_mib": "MiB",
    "_tflops": "TFLOP/s", "_us": "µs", "_ms": "ms", "_s": "s", "_hours": "h", "_w": "W",
    "_percent": "%", "_bytes": "bytes", "_gbit_s_per_gpu": "Gbit/s",
}  # fmt: skip
SETTING_UNITS = {
    "train_images": "images", "val_images": "images", "global_batch": "images",
    "batch_per_rank": "images", "epochs": "epochs", "world_size": "ranks", "nodes": "nodes",
    "untimed_steps": "steps", "profile_steps": "steps",
}  # fmt: skip

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
        ids = [one.id for one in self.numbers]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return self


def values() -> Iterator[Value]:
    """Every quoted number, for the ledger.

    Raises
    ------
    ScalebookError
        One line that names file and key, if a file is wrong or cites what is not in the
        bibliography.
    """
    root = contract.find_root()
    yield from _publications(root)
    yield from _machines(root)
    yield from _settings(study.load())


# --------------------------------------------------------------------------- publications


def _publications(root: Path) -> Iterator[Value]:
    known: set[str] | None = None
    for path in sorted((root / CITED).glob("*.yaml")):
        file = f"{CITED}/{path.name}"
        for one in read(CitedFile, path, file).numbers:
            if one.bib:
                known = _bibliography(root) if known is None else known
                if one.bib not in known:
                    raise ScalebookError(
                        f"{file}: numbers.{one.id}: bib {one.bib!r} is not in {BIBLIOGRAPHY}; "
                        "add the reference or give source"
                    )
            source = one.source or f"reference {one.bib}"
            yield Value(
                key=f"cited.{one.id}",
                value=one.value,
                unit=one.unit,
                kind="cited",
                source=f"cited from {source}, read on {one.date}: {one.note}",
                low=one.low,
                high=one.high,
                files=(file,),
                where=where(file, "numbers", one.id),
                code="scalebook.values.references",
            )


def _bibliography(root: Path) -> set[str]:
    try:
        return set(_KEY.findall((root / BIBLIOGRAPHY).read_text(encoding="utf-8")))
    except OSError:
        return set()


# --------------------------------------------------------------------------- machines


def _machines(root: Path) -> Iterator[Value]:
    for name, facts in study.load(root).machines.items():
        file = f"{SYSTEMS}/{name}.yaml"
        said = ", ".join(filter(None, (facts.source, facts.date and f"read on {facts.date}")))
        for keys, value in _numbers(facts.model_dump(exclude_unset=True)):
            words = " ".join(keys).replace("_", " ")
            yield Value(
                key=".".join(("cited", name, *keys)),
                value=value,
                unit=unit_of(keys),
                kind="cited",
                source=f"cited fact about {name}, {words}: {said or file}",
                files=(file,),
                where=where(file, *keys),
                code="scalebook.values.references",
            )


def _numbers(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Leaves of nested mappings that are numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*keys, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield keys, float(value)


def unit_of(keys: tuple[str, ...]) -> str:
    """Unit that the name of a fact carries, also where the name is that of a group."""
    for name in reversed(keys):
        for suffix, unit in SUFFIXES.items():
            if name.endswith(suffix):
                return unit
    return ""


# --------------------------------------------------------------------------- the study


def _settings(declared: study.Study) -> Iterator[Value]:
    yield _setting("study.seeds", len(declared.seeds), "", "how many seeds are run", "seeds")
    for name, experiment in declared.experiments.items():
        said = f"setting of experiment {name}"
        for field, value, unit in _fields(experiment):
            yield _setting(
                f"study.{name}.{field}", value, unit, said, f"experiments.{name}.{field}"
            )
    for name, campaign in declared.campaigns.items():
        prefix, place = f"study.campaign.{name}", f"campaigns.{name}"
        said = f"setting of campaign {name}"
        seeds = len(campaign.seeds or declared.seeds)
        yield _setting(f"{prefix}.seeds", seeds, "", f"seeds of campaign {name}", place)
        for field, value in campaign.set.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield _setting(
                    f"{prefix}.{field}", value, _unit(field), said, f"{place}.set.{field}"
                )
        for experiment in campaign.experiments:
            there = declared.experiment(experiment, campaign.overrides(experiment))
            for field, value, unit in (*_fields(there), *_steps(there)):
                yield _setting(
                    f"{prefix}.{experiment}.{field}", value, unit,
                    f"{experiment} in campaign {name}", f"{place}: {experiment}, {field}",
                )  # fmt: skip


def _fields(experiment: Experiment) -> Iterator[tuple[str, float, str]]:
    batches = ("global_batch", "batch_per_rank")
    for field in type(experiment).model_fields:
        value = getattr(experiment, field)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and (
            field not in batches
        ):  # fmt: skip
            yield field, value, _unit(field)
    yield "global_batch", experiment.images_per_step, "images"
    per_rank = experiment.images_per_step / experiment.world_size
    if per_rank.is_integer():
        yield "batch_per_rank", per_rank, "images"


def _steps(experiment: Experiment) -> Iterator[tuple[str, float, str]]:
    """Steps of an epoch, where it is told how many images it has: the last may be short."""
    if experiment.train_images:
        steps = math.ceil(experiment.train_images / experiment.images_per_step)
        yield "steps", steps, "steps"
        yield "timed_steps", max(0, steps - experiment.untimed_steps), "steps"


def _unit(field: str) -> str:
    return SETTING_UNITS.get(field) or unit_of((field,))


def _setting(key: str, value: float, unit: str, said: str, place: str) -> Value:
    return Value(
        key=key,
        value=float(value),
        unit=unit,
        kind="cited",
        source=f"{said}, from study.yaml",
        files=("study.yaml",),
        where=place,
        code="scalebook.study.load",
    )
