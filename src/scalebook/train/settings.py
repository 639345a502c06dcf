"""The resolved experiment, read from the one JSON file a training process is given."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError

# Written types of the fields below, and what JSON may hold for them.
_ALLOWED: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}

# What a file written by hand could hold and training would take for something else.
_CHOICES = {
    "device": ("cpu", "gpu"),
    "source": ("auto", "cifar10", "folder", "synthetic"),
    "stem": ("imagenet", "cifar"),
    "precision": ("fp32", "tf32", "fp16", "bf16"),
    "lr_scaling": ("linear", "none"),
}
_AT_LEAST_1 = {
    "world_size", "nodes", "ranks_per_node", "threads_per_rank", "image_size", "train_images",
    "val_images", "epochs", "lr_reference_batch", "profile_steps", "global_batch",
}  # fmt: skip
_ABOVE_0 = {"lr", "timeout_s"}


@dataclass(frozen=True)
class Layout:
    """Ranks and where they run."""

    device: str
    world_size: int
    nodes: int
    ranks_per_node: int
    threads_per_rank: int | None


@dataclass(frozen=True)
class DatasetSettings:
    """Which images; sizes in pixels and images, None for all there are.

    Attributes
    ----------
    generated : str or None
        Why generated images stand in for those that ``auto`` did not find; None where they do not.
    """

    source: str
    dir: str
    image_size: int | None
    train_images: int | None
    val_images: int | None
    generated: str | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters, as ``study.yaml`` documents them.

    What has a default here may be missing: runs that began before it was there go on.
    """

    model: str
    stem: str
    epochs: int
    precision: str
    channels_last: bool
    compile: bool
    lr: float
    lr_reference_batch: int
    lr_scaling: str
    warmup_epochs: float
    momentum: float
    nesterov: bool
    weight_decay: float
    label_smoothing: float
    crop_padding: int
    flip: bool
    freeze_batch_norm: bool
    untimed_steps: int
    profile: bool
    profile_steps: int
    timeout_s: float
    sample_s: float | None = None
    allreduce: bool = False

    @property
    def sample_period_s(self) -> float:
        """Seconds from one look at the machine to the next, 0 for none.

        Where nothing is asked for, one while a profile is made.
        """
        if self.sample_s is None:
            return 1.0 if self.profile else 0.0
        return self.sample_s


@dataclass(frozen=True)
class Settings:
    """A resolved experiment.

    Attributes
    ----------
    global_batch : int
        Images a step over all ranks.
    evidence_datasets : list of str
        Names of datasets with which the run becomes evidence; ``*`` is any real one.
    block : dict or None
        Of a campaign, that the run belongs to: its number, and the run's place in its order.
    time_limit_min : int or None
        Minutes that its job may take on a cluster.
    link : dict or None
        What is known of the network, where all-reduce is measured.
    document : dict
        The JSON document itself.
    """

    schema: str
    study: str
    experiment: str
    system: str
    seed: int
    scaling: str | None
    reference: str | None
    layout: Layout
    global_batch: int
    dataset: DatasetSettings
    training: TrainingSettings
    evidence_datasets: list[str]
    overrides: dict[str, Any]
    block: dict[str, Any] | None = None
    time_limit_min: int | None = None
    link: dict[str, Any] | None = None
    document: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)


def read(path: Path, profile: bool = False) -> Settings:
    """Read a resolved experiment.

    Parameters
    ----------
    path : Path
        JSON file written by ``scalebook resolve``.
    profile : bool
        Write a profiler trace whatever the file says.

    Raises
    ------
    ScalebookError
        One line that names file and key.
    """
    document = contract.read_json(path)
    where = path.name
    if document.get("schema") != contract.RESOLVED_SCHEMA:
        raise ScalebookError(
            f"{where}: no resolved experiment of schema {contract.RESOLVED_SCHEMA}: write one with "
            "`scalebook resolve EXPERIMENT`"
        )
    values = dict(document)
    for key, kind in (
        ("layout", Layout),
        ("dataset", DatasetSettings),
        ("training", TrainingSettings),
    ):
        part = values.get(key)
        if not isinstance(part, dict):
            raise ScalebookError(f"{where}: {key}: is missing or no mapping")
        if key == "training" and profile:
            part = {**part, "profile": True}
            document = {**document, "training": part}
        values[key] = _build(kind, part, f"{where}: {key}.")
    settings: Settings = _build(Settings, {**values, "document": document}, f"{where}: ")
    return settings


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    """Make a dataclass of a mapping; wrong, missing and unknown keys are named."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ScalebookError(
                f"{where}{key}: unknown key; resolve the experiment again with this version"
            )
    for name, field in fields.items():
        if name not in values:
            if field.default is not dataclasses.MISSING:
                continue
            raise ScalebookError(
                f"{where}{name}: is missing; resolve the experiment again with this version"
            )
        written = str(field.type)
        plain = written.replace(" | None", "").partition("[")[0]
        value = values[name]
        if value is None and plain != written:
            continue
        allowed = _ALLOWED.get(plain)
        if allowed and (
            not isinstance(value, allowed) or (plain != "bool" and isinstance(value, bool))
        ):
            raise ScalebookError(f"{where}{name}: {value!r} is not of type {written}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ScalebookError(
                f"{where}{name}: {value!r} is not allowed: it is one of {', '.join(_CHOICES[name])}"
            )
        if plain in ("int", "float") and not _in_range(name, value):
            least = "from 1" if name in _AT_LEAST_1 else "above 0" if name in _ABOVE_0 else "from 0"
            raise ScalebookError(
                f"{where}{name}: {value!r} is not allowed: it is a number {least}"
                f"{f' to {contract.LARGEST}' if plain == 'int' else ', and finite'}"
            )
    return kind(**values)


def _in_range(name: str, value: float) -> bool:
    least = 1 if name in _AT_LEAST_1 else 0
    most = contract.LARGEST if isinstance(value, int) else sys.float_info.max
    return least <= value <= most and (value > 0 or name not in _ABOVE_0)


#: Settings of a resolved experiment that change neither its numbers nor what they mean.
IDLE_SETTINGS = ("overrides", "evidence_datasets", "block", "time_limit_min", "link",
                 "dataset.generated", "training.timeout_s", "training.sample_s",
                 "training.allreduce")  # fmt: skip


def result_settings(resolved: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings that decide the numbers of a run, by dotted name: all but `IDLE_SETTINGS`."""
    found: dict[str, Any] = {}
    for key, value in resolved.items():
        if (name := f"{prefix}{key}") not in IDLE_SETTINGS:
            found.update(
                result_settings(value, f"{name}.") if isinstance(value, dict) else {name: value}
            )
    return found
