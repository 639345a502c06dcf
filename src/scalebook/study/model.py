"""The objects of ``study.yaml``: experiments, campaigns, controls and the study itself."""

from __future__ import annotations

import contextlib
import functools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.study.document import (
    Frozen,
    Label,
    Model,
    Name,
    Positive,
    Seed,
    Seeds,
    each_of,
    one_line,
    parse_yaml,
    parsed,
    read,
    read_text,
    validated,
)
from scalebook.study.evidence import EvidenceRule
from scalebook.study.plan import FILE as PLAN
from scalebook.study.plan import Plan
from scalebook.study.systems import FOLDER as SYSTEMS
from scalebook.study.systems import Facts, System


class Experiment(Frozen):
    """One thing to measure. Every field but `world_size` has a default a study may set."""

    world_size: Positive
    label: Label = ""  # what a reader calls it; its name where empty
    description: str = ""
    scaling: Literal["strong", "weak"] | None = None
    reference: Name | None = None
    nodes: Positive | None = None
    threads_per_rank: Positive | None = None
    script: str = Field("slurm/train.sbatch", max_length=200)

    model: str = "resnet18"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    dataset: Literal["auto", "cifar10", "folder", "synthetic"] = "auto"
    data_dir: str = "data"
    image_size: Positive | None = None
    train_images: Positive | None = None
    val_images: Positive | None = None

    epochs: Positive = 10
    batch_per_rank: Positive | None = None
    global_batch: Positive | None = None
    precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
    lr: float = Field(0.1, gt=0)
    lr_reference_batch: Positive = 128
    lr_scaling: Literal["linear", "none"] = "linear"
    warmup_epochs: float = Field(1.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    crop_padding: int = Field(4, ge=0)
    flip: bool = True
    freeze_batch_norm: bool = False
    untimed_steps: int = Field(20, ge=0)
    profile: bool = False
    profile_steps: Positive = 5
    timeout_s: float = Field(600.0, gt=0)
    # Seconds between looks at utilisation, 0 for none; None: 1 where `profile` is set, else none.
    sample_s: float | None = Field(None, ge=0, le=3600)
    # Before the first epoch, measure how fast several ranks add their gradients up.
    allreduce: bool = False

    @field_validator("script")
    @classmethod
    def _inside_the_study(cls, value: str) -> str:
        parts = value.split("/")
        if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in parts):
            raise ValueError(
                f"{value!r} is not allowed: name an sbatch script by its path from the study's "
                "folder, such as slurm/train.sbatch (letters, digits, - _ . only)"
            )
        return value

    @model_validator(mode="after")
    def _batch(self) -> Experiment:
        per_rank, overall = self.batch_per_rank, self.global_batch
        if per_rank is None and overall is None:
            raise ValueError("give global_batch or batch_per_rank")
        if per_rank and overall and per_rank * self.world_size != overall:
            raise ValueError(
                f"batch_per_rank {per_rank} x world_size {self.world_size} is not "
                f"global_batch {overall}: give one of the two"
            )
        if overall and overall < self.world_size:
            raise ValueError(f"global_batch {overall} is less than world_size {self.world_size}")
        return self

    @property
    def images_per_step(self) -> int:
        """Global batch: images a step over all ranks."""
        return self.global_batch or (self.batch_per_rank or 0) * self.world_size


class Campaign(Frozen):
    """Experiments that are run together, each with every seed.

    Attributes
    ----------
    label : str
        What a reader calls it; its name where left out.
    experiments : dict of str to list of dict
        Settings of this campaign over each experiment's own; one dict, or a list of them where it
        runs in several ways. A setting that is a list runs with each of its values.
    seeds : list of int or None
        The study's seeds where None.
    blocks : int or None
        Randomised complete blocks instead: in each, every experiment runs once, in an order of its
        own, and with the number of the block as its seed. Six at least: the range of fewer values
        is no 95 % interval of their median.
    order_seed : int
        What the orders are drawn from.
    set : dict
        Settings over those of every experiment; an experiment's entry above beats them.
    optional : list of str
        Experiments that are left out where a system cannot run them.
    system : str or None
        Where it runs unless another is asked for.
    gpu_hours : float or None
        What all runs together may take, of a processor's share where there are no GPUs: each job's
        time limit follows from it.
    """

    label: Label = ""
    description: str = ""
    experiments: dict[Name, list[dict[str, Any]]] = Field(min_length=1)
    seeds: Seeds | None = None
    blocks: Annotated[int, Field(ge=6, le=1000)] | None = None
    order_seed: Seed = 0
    set: dict[str, Any] = Field({})
    optional: list[Name] = Field([])
    system: Name | None = None
    gpu_hours: float | None = Field(None, gt=0, le=1e6)

    @field_validator("experiments", mode="before")
    @classmethod
    def _as_lists(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: [
                settings
                for way in (own if isinstance(own, list) and own else [{} if own is None else own])
                for settings in each_of(way)
            ]
            for name, own in value.items()
        }

    @model_validator(mode="after")
    def _nothing_twice(self) -> Campaign:
        if self.seeds and self.blocks:
            raise ValueError("give seeds or blocks: the seed of a block is its number")
        runs = self.runs
        for place, (name, own) in enumerate(runs):
            if (name, own) in runs[:place]:
                raise ValueError(f"experiments.{name}: {own} is there twice: it is one run")
        for name in self.optional:
            if name not in self.experiments:
                there = ", ".join(self.experiments)
                raise ValueError(f"optional: {name!r} is no experiment of the campaign: {there}")
        return self

    def rounds(self, seeds: list[int]) -> list[int]:
        """Seed of each round or block, `seeds` being the study's."""
        return list(range(self.blocks)) if self.blocks else list(self.seeds or seeds)

    @property
    def runs(self) -> list[tuple[str, dict[str, Any]]]:
        """Experiments of a round and the settings to resolve each with, in the order written."""
        return [
            (name, merge(self.set, own)) for name, ways in self.experiments.items() for own in ways
        ]

    def order(self, system: str, block: int) -> list[tuple[str, dict[str, Any]]]:
        """The runs of a round; in a block shuffled, the same way each time on a system."""
        runs = self.runs
        if self.blocks:
            # Of text it is the same in every version of Python.
            random.Random(f"{self.order_seed} {system} {block}").shuffle(runs)
        return runs


class Control(Frozen):
    """An experiment that is the same on several systems, since it uses nothing they differ in.

    Any difference is noise of machine and time, see `analysis.controls`.

    Attributes
    ----------
    because : str
        Why it cannot depend on what the systems differ in.
    """

    experiment: Name
    systems: Annotated[list[Name], Field(min_length=2)]
    because: Annotated[str, Field(min_length=1)]

    @field_validator("systems")
    @classmethod
    def _several(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a system is there twice: a control is held against another one")
        return value


class Study(Frozen):
    """Everything a study declares: a validated ``study.yaml``, its plan, facts about machines.

    Attributes
    ----------
    experiments : dict of str to Experiment
        With the defaults filled in.
    """

    _root: Path = PrivateAttr()
    # Texts of the other files when the study was loaded, by relative path; read when asked for.
    _files: dict[str, str] = PrivateAttr()
    name: Name
    title: str = ""
    experiments: dict[Name, Experiment]
    systems: dict[Name, System]
    seeds: Seeds = Field([0])
    campaigns: dict[Name, Campaign] = Field({})
    controls: list[Control] = Field([])
    evidence: list[EvidenceRule] = Field([])
    notebooks: dict[str, dict[str, Any]] = Field({})

    @model_validator(mode="after")
    def _references(self) -> Study:
        for name, experiment in self.experiments.items():
            if experiment.reference and experiment.reference not in self.experiments:
                raise ValueError(
                    f"experiments.{name}.reference: no experiment {experiment.reference!r}; "
                    f"there are {', '.join(self.experiments)}"
                )
            if experiment.scaling and not experiment.reference:
                raise ValueError(f"experiments.{name}: a scaling experiment names its reference")
        for name, campaign in self.campaigns.items():
            self._check_campaign(f"campaigns.{name}", campaign)
        for control in self.controls:
            where = f"controls: {control.experiment}"
            if control.experiment not in self.experiments:
                raise ValueError(f"{where}: there is no such experiment")
            if unknown := [name for name in control.systems if name not in self.systems]:
                raise ValueError(f"{where}: there is no system {unknown[0]!r}")
        return self

    def _check_campaign(self, where: str, campaign: Campaign) -> None:
        if campaign.system not in (None, *self.systems):
            raise ValueError(f"{where}.system: there is no system {campaign.system!r}")
        for name, settings in campaign.runs:
            if name not in self.experiments:
                raise ValueError(
                    f"{where}.experiments: no experiment {name!r}; "
                    f"there are {', '.join(self.experiments)}"
                )
            try:
                self.experiment(name, settings)
            except ScalebookError as error:
                raise ValueError(f"{where}: experiment {name}: {error}") from None

    @property
    def root(self) -> Path:
        """Folder that holds the file."""
        return self._root

    def experiment(self, name: str, overrides: dict[str, Any] | None = None) -> Experiment:
        """Look an experiment up, with settings put over its own.

        Raises
        ------
        UsageError
            If there is none, which says which there are; or for a wrong setting, named by its key.
        """
        experiment = _pick(self.experiments, name, "experiment")
        if not overrides:
            return experiment
        own = {key: getattr(experiment, key) for key in experiment.model_fields_set}
        try:
            return Experiment.model_validate(merge(own, overrides))
        except ValidationError as error:
            raise UsageError(one_line(error, Experiment)) from None

    def system(self, name: str) -> System:
        """Look a system up, or say which there are."""
        return _pick(self.systems, name, "system")

    def campaign(self, name: str) -> Campaign:
        """Look a campaign up, or say which there are."""
        return _pick(self.campaigns, name, "campaign")

    @property
    def plan(self) -> Plan | None:
        """Plan of the proposal, ``data/plan.yaml``; None where the study has none."""
        return self._read(Plan, PLAN)

    def facts(self, system: str) -> Facts | None:
        """Facts about a machine, or None where none are written down for a system of the study.

        A machine need not be a system: facts about a target of a proposal lie in
        ``data/systems`` as well.
        """
        relative = f"{SYSTEMS}/{system}.yaml"
        if system in self.systems:
            relative = self.systems[system].facts or relative
        elif relative not in self._files:
            raise UsageError(
                f"no system {system!r} in study.yaml; there are "
                f"{', '.join(self.systems) or 'none'}; nor is there {relative}"
            )
        return self._read(Facts, relative)

    @property
    def machines(self) -> dict[str, Facts]:
        """Facts of all files in ``data/systems``, by name."""
        names = [name for name in self._files if name.startswith(SYSTEMS)]
        return {Path(name).stem: facts for name in names if (facts := self._read(Facts, name))}

    def _read(self, model: type[Model], relative: str) -> Model | None:
        if relative in self._files:
            return parsed(model, self._files[relative], relative)
        there = (self.root / relative).is_file()  # elsewhere, or it cannot be read: it says so
        return read(model, self.root, relative) if there else None


Thing = TypeVar("Thing")


def _pick(mapping: dict[str, Thing], name: str, what: str) -> Thing:
    if not isinstance(name, str) or name not in mapping:
        raise UsageError(
            f"no {what} {name!r} in study.yaml; there are {', '.join(mapping) or 'none'}"
        )
    return mapping[name]


def merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Settings of `own` over `base`; a batch given one way replaces one given the other."""
    merged = {**base, **own}
    batches = {"batch_per_rank", "global_batch"}
    if batches & set(own):
        for key in batches - set(own):
            merged.pop(key, None)
    return merged


def load(root: Path | None = None) -> Study:
    """Read and check what a study declares; the same object as long as no file of it changes.

    Parameters
    ----------
    root : Path, optional
        Folder of the study; found from the working directory where left out.

    Raises
    ------
    ScalebookError
        One line that names file, key and what is allowed.
    """
    root = root or contract.find_root()
    text = read_text(root, "study.yaml")
    return _load(root, text, tuple(_further_files(root)))


def _further_files(root: Path) -> Iterator[tuple[str, str]]:
    """Files beside ``study.yaml`` that declare something, as far as they can be read."""
    for path in (root / PLAN, *sorted((root / SYSTEMS).glob("*.yaml"))):
        name = path.relative_to(root).as_posix()
        with contextlib.suppress(ScalebookError):
            yield name, read_text(root, name)


@functools.lru_cache(maxsize=8)
def _load(root: Path, text: str, files: tuple[tuple[str, str], ...]) -> Study:
    document = parse_yaml(text, "study.yaml")
    defaults = document.pop("defaults", None)
    defaults = {} if defaults is None else defaults
    experiments = document.get("experiments")
    if not isinstance(defaults, dict):
        raise ScalebookError("study.yaml: defaults: must be a mapping of settings")
    if not isinstance(experiments, dict) or not experiments:
        raise ScalebookError(
            "study.yaml: experiments: must name at least one experiment, with its settings"
        )
    # On their own first, so that a mistake is named where it stands.
    alone = merge({"world_size": 1, "global_batch": 1}, defaults)
    validated(Experiment, alone, "study.yaml", prefix="defaults.")
    document["experiments"] = {
        name: merge(defaults, own) if isinstance(own, dict) else own
        for name, own in experiments.items()
    }
    study = validated(Study, document, "study.yaml")
    study._root, study._files = root, dict(files)
    return study
