"""The objects of ``study.yaml``: experiments, systems, evidence rules."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.study.document import parse_yaml, read_yaml, validated

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Positive = Annotated[int, Field(ge=1)]


class Frozen(BaseModel):
    """Strict about keys and types, and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Experiment(Frozen):
    """One thing to measure. Every field but `world_size` has a default a study may set."""

    world_size: Positive
    description: str = ""
    scaling: Literal["strong", "weak"] | None = None
    reference: Name | None = None
    nodes: Positive | None = None
    threads_per_rank: Positive | None = None

    model: str = "resnet18"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    dataset: str = Field("auto", pattern=r"^(auto|cifar10|folder|synthetic)$")
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

    @field_validator("lr", "warmup_epochs", "momentum", "weight_decay", "label_smoothing",
                     "timeout_s", mode="before")  # fmt: skip
    @classmethod
    def _whole_numbers_are_numbers(cls, value: Any) -> Any:
        return float(value) if type(value) is int else value

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
        return self.global_batch or self.batch_per_rank * self.world_size


class System(Frozen):
    """Where to run, as the study names it; facts about the machine lie in ``data/systems``."""

    launcher: Literal["local", "slurm"]
    facts: str | None = None


class Accelerator(Frozen):
    """One GPU, or the processor of a node; peaks in TFLOP/s, memory in GB, GB/s."""

    name: str
    memory_gb: float | None = None
    bandwidth_gb_s: float | None = None
    peak_tflops: dict[str, float] = {}


class Facts(BaseModel):
    """Facts about a machine, each with source and date; further keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    title: str = ""
    nodes: Positive | None = None
    gpus_per_node: int | None = Field(None, ge=0)
    gpu: Accelerator | None = None
    source: str = ""
    date: str = ""


class EvidenceRule(Frozen):
    """Takes a finished run if every list holds its value; an empty list takes any."""

    experiments: list[Name] = []
    systems: list[Name] = []
    datasets: list[str] = []
    min_epochs: Positive = 1
    subsets: bool = False

    def admits(self, experiment: str, system: str, epochs: int, subset: bool) -> bool:
        """Whether a run may become evidence, dataset aside."""
        return (
            (not self.experiments or experiment in self.experiments)
            and (not self.systems or system in self.systems)
            and epochs >= self.min_epochs
            and (self.subsets or not subset)
        )


class Study(Frozen):
    """A validated ``study.yaml``.

    Attributes
    ----------
    root : Path
        Folder that holds the file.
    experiments : dict of str to Experiment
        With the defaults filled in.
    """

    root: Path = Field(exclude=True)
    name: Name
    title: str = ""
    experiments: dict[Name, Experiment]
    systems: dict[Name, System]
    seeds: list[int] = Field([0], min_length=1)
    evidence: list[EvidenceRule] = []
    notebooks: dict[str, dict[str, Any]] = {}

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
        return self

    def experiment(self, name: str) -> Experiment:
        """Look an experiment up, or say which there are."""
        return _pick(self.experiments, name, "experiment")

    def system(self, name: str) -> System:
        """Look a system up, or say which there are."""
        return _pick(self.systems, name, "system")

    def facts(self, system: str) -> Facts | None:
        """Facts about a system's machine, or None where none are written down."""
        relative = self.system(system).facts or f"data/systems/{system}.yaml"
        path = self.root / relative
        if not path.is_file():
            return None
        return validated(Facts, read_yaml(path), relative)


def _pick(mapping: dict, name: str, what: str) -> Any:
    if name not in mapping:
        raise UsageError(f"no {what} {name!r} in study.yaml; there are {', '.join(mapping)}")
    return mapping[name]


def merge(base: dict, own: dict) -> dict:
    """Settings of `own` over `base`; a batch given one way replaces one given the other."""
    merged = {**base, **own}
    batches = {"batch_per_rank", "global_batch"}
    if batches & set(own):
        for key in batches - set(own):
            merged.pop(key, None)
    return merged


def load(root: Path | None = None) -> Study:
    """Read and check ``study.yaml``.

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
    path = root / "study.yaml"
    return _load(root, path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=8)
def _load(root: Path, text: str) -> Study:
    document = parse_yaml(text, "study.yaml")
    defaults = document.pop("defaults", None) or {}
    experiments = document.get("experiments")
    if not isinstance(defaults, dict):
        raise ScalebookError("study.yaml: defaults: must be a mapping of settings")
    if not isinstance(experiments, dict) or not experiments:
        raise ScalebookError("study.yaml: experiments: must name at least one experiment")
    # On their own first, so that a mistake is told where it stands.
    alone = merge({"world_size": 1, "global_batch": 1}, defaults)
    validated(Experiment, alone, "study.yaml", prefix="defaults.")
    document["experiments"] = {
        name: merge(defaults, own) if isinstance(own, dict) else own
        for name, own in experiments.items()
    }
    return validated(Study, {**document, "root": root}, "study.yaml")
