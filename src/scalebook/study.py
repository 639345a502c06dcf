"""What to run: ``study.yaml`` read into frozen, validated objects.

A study names experiments and systems. One of each, with a seed, resolves into
one JSON document that `scalebook.train` reads on any machine.
"""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError

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
        return _validated(Facts, _read_yaml(path), relative)


def _pick(mapping: dict, name: str, what: str) -> Any:
    if name not in mapping:
        raise UsageError(f"no {what} {name!r} in study.yaml; there are {', '.join(mapping)}")
    return mapping[name]


# --------------------------------------------------------------------------- reading


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
    document = _parse_yaml(text, "study.yaml")
    defaults = document.pop("defaults", None) or {}
    experiments = document.get("experiments")
    if not isinstance(defaults, dict):
        raise ScalebookError("study.yaml: defaults: must be a mapping of settings")
    if not isinstance(experiments, dict) or not experiments:
        raise ScalebookError("study.yaml: experiments: must name at least one experiment")
    unknown = set(defaults) - set(Experiment.model_fields)
    if unknown:
        raise ScalebookError(
            f"study.yaml: defaults.{sorted(unknown)[0]}: unknown key; "
            f"allowed are {', '.join(Experiment.model_fields)}"
        )
    document["experiments"] = {
        name: _merge(defaults, own) if isinstance(own, dict) else own
        for name, own in experiments.items()
    }
    return _validated(Study, {**document, "root": root}, "study.yaml")


def _merge(base: dict, own: dict) -> dict:
    """Settings of `own` over `base`; a batch given one way replaces one given the other."""
    merged = {**base, **own}
    batches = {"batch_per_rank", "global_batch"}
    if batches & set(own):
        for key in batches - set(own):
            merged.pop(key, None)
    return merged


def _read_yaml(path: Path) -> dict:
    try:
        return _parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise ScalebookError(f"{path}: cannot be read ({error.strerror})") from None


def _parse_yaml(text: str, where: str) -> dict:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ScalebookError(
            f"{where}{line}: not valid YAML ({getattr(error, 'problem', error)})"
        ) from None
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: must be a mapping of keys to values")
    return document


def _validated(model: type[BaseModel], document: dict, where: str) -> Any:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ScalebookError(f"{where}: {_one_line(error, model)}") from None


def _one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """First complaint of pydantic as ``key: what, and what is allowed``."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        fields = _model_at(model, first["loc"][:-1]).model_fields
        said = f"unknown key; allowed are {', '.join(f for f in fields if f != 'root')}"
    elif kind == "value_error":
        said = str(context["error"])
    elif kind == "missing":
        said = "is missing"
    else:
        said = f"{first['input']!r} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    return f"{key}: {said}" if key else said


def _model_at(model: type[BaseModel], path: tuple) -> type[BaseModel]:
    inner = {"experiments": Experiment, "systems": System, "evidence": EvidenceRule}
    return inner.get(path[0], model) if path else model


# --------------------------------------------------------------------------- resolving


def parse_overrides(pairs: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs; values are YAML, so that ``epochs=3`` is a number.

    Raises
    ------
    UsageError
        For a pair without ``=`` or a key that no experiment has.
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise UsageError(f"--set {pair}: write key=value")
        if key not in Experiment.model_fields:
            raise UsageError(
                f"--set {key}: unknown key; allowed are {', '.join(Experiment.model_fields)}"
            )
        try:
            overrides[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"--set {key}: {text!r} is not a YAML value") from None
    return overrides


def resolve(
    study: Study,
    experiment: str,
    system: str,
    seed: int | None = None,
    overrides: dict[str, Any] | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Everything one training process needs to know, as one JSON-ready document.

    Parameters
    ----------
    study : Study
        Where experiment and system are declared.
    experiment, system : str
        Their names in the study.
    seed : int, optional
        The study's first seed where left out.
    overrides : dict, optional
        Settings put over the experiment's own, as `parse_overrides` reads them.
    device : {"gpu", "cpu"}, optional
        Asked of the machine where left out.

    Returns
    -------
    dict
        Of schema ``scalebook.resolved/1``; paths relative to the study's root.

    Raises
    ------
    ScalebookError
        For an unknown name, a wrong value or a combination that cannot run.
    """
    declared = study.experiment(experiment)
    overrides = overrides or {}
    try:
        settings = Experiment.model_validate(
            _merge(declared.model_dump(exclude_unset=True), overrides)
        )
    except ValidationError as error:
        said = _one_line(error, Experiment)
        if overrides:
            raise UsageError(f"--set: {said}") from None
        raise ScalebookError(f"study.yaml: experiments.{experiment}: {said}") from None
    facts = study.facts(system)
    launcher = study.system(system).launcher
    if device is None:
        device = detect_device() if launcher == "local" else _device_of(facts)
    nodes = _nodes(settings, facts, launcher, f"experiment {experiment} on system {system}")
    if device == "cpu" and settings.precision in ("fp16", "tf32"):
        raise UsageError(
            f"experiment {experiment} on system {system}: precision {settings.precision} needs a "
            "GPU and none is there; allowed on a CPU are fp32 and bf16"
        )
    subset = settings.train_images is not None or settings.val_images is not None
    datasets = sorted(
        {
            dataset
            for rule in study.evidence
            if rule.admits(experiment, system, settings.epochs, subset)
            for dataset in (rule.datasets or ["*"])
        }
    )
    training = settings.model_dump(
        exclude={"description", "scaling", "reference", "nodes", "threads_per_rank",
                 "world_size", "batch_per_rank", "global_batch", "data_dir", "dataset",
                 "image_size", "train_images", "val_images"}
    )  # fmt: skip
    return {
        "schema": contract.RESOLVED_SCHEMA,
        "study": study.name,
        "experiment": experiment,
        "system": system,
        "seed": study.seeds[0] if seed is None else seed,
        "scaling": settings.scaling,
        "reference": settings.reference,
        "layout": {
            "device": device,
            "world_size": settings.world_size,
            "nodes": nodes,
            "ranks_per_node": settings.world_size // nodes,
            "threads_per_rank": settings.threads_per_rank,
        },
        "global_batch": settings.images_per_step,
        "dataset": {
            "source": settings.dataset,
            "dir": settings.data_dir,
            "image_size": settings.image_size,
            "train_images": settings.train_images,
            "val_images": settings.val_images,
        },
        "training": training,
        # A run of one of these datasets goes to results/, any other to results/local/.
        "evidence_datasets": datasets,
        "overrides": overrides,
    }


def _nodes(settings: Experiment, facts: Facts | None, launcher: str, where: str) -> int:
    """Nodes for the ranks asked for, or why the machine cannot give them."""
    world = settings.world_size
    per_node = facts.gpus_per_node if facts and facts.gpus_per_node else None
    available = facts.nodes if facts and facts.nodes else (1 if launcher == "local" else None)
    nodes = settings.nodes or (math.ceil(world / per_node) if per_node else 1)
    if available and nodes > available:
        raise UsageError(
            f"{where}: {world} ranks need {nodes} nodes"
            + (f" of {per_node} GPU{'s' if per_node > 1 else ''}" if per_node else "")
            + f", and it has {available}; allowed are up to {available * (per_node or world)} ranks"
        )
    if world % nodes:
        raise UsageError(f"{where}: {world} ranks do not spread evenly over {nodes} nodes")
    if per_node and world // nodes > per_node:
        raise UsageError(f"{where}: {world // nodes} ranks a node, and a node has {per_node} GPUs")
    return nodes


def _device_of(facts: Facts | None) -> str:
    return "cpu" if facts is None or facts.gpus_per_node == 0 else "gpu"


def detect_device() -> str:
    """``"gpu"`` where a GPU driver is loaded, else ``"cpu"``; asks no library, so it is quick."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    driver = any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
    return "gpu" if driver and not hidden else "cpu"
