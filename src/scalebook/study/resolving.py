"""One experiment on one system with one seed, as the JSON document a training process reads."""

import math
import os
from collections.abc import Callable
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.study.document import parse_value
from scalebook.study.model import Experiment, Study
from scalebook.study.systems import Facts


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
            overrides[key] = parse_value(text, key)
        except ScalebookError:
            raise UsageError(f"--set {key}: {text[:40]!r} is not a YAML value") from None
    return overrides


def check_seed(seed: Any) -> None:
    """Refuse a seed that is no whole number before a job is started with it.

    Raises
    ------
    UsageError
        For anything but None and a whole number from 0 to `contract.LARGEST`.
    """
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    if seed is not None and not (whole and 0 <= seed <= contract.LARGEST):
        raise UsageError(f"seed: {seed!r} is no whole number from 0 to {contract.LARGEST}")


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
        That of the system where left out, else asked of the machine.

    Returns
    -------
    dict
        Of schema ``scalebook.resolved/1``; paths relative to the study's root.

    Raises
    ------
    ScalebookError
        For an unknown name, a wrong value or a combination that cannot run.
    """
    study.experiment(experiment)  # an unknown one comes first
    check_seed(seed)
    overrides = overrides or {}
    if not isinstance(overrides, dict):
        raise UsageError(f'overrides: {overrides!r} is no mapping of settings, as {{"epochs": 3}}')
    try:
        settings = study.experiment(experiment, overrides)
    except UsageError as error:
        raise UsageError(f"--set: {error}") from None
    seed = study.seeds[0] if seed is None else seed
    facts = study.facts(system)
    launcher = study.system(system).launcher
    device = device or study.system(system).device
    if device is None:
        device = detect_device() if launcher == "local" else _device_of(facts)

    def where(key: str) -> str:
        written = f"study.yaml: experiments.{experiment}.{key}"
        return f"{f'--set {key}' if key in overrides else written} on system {system}"

    nodes = _nodes(settings, facts, launcher, where)
    if device == "cpu" and settings.precision in ("fp16", "tf32"):
        raise UsageError(
            f"{where('precision')}: precision {settings.precision} needs a GPU and none is there; "
            "allowed on a CPU are fp32 and bf16"
        )
    return {
        "schema": contract.RESOLVED_SCHEMA,
        "study": study.name,
        "experiment": experiment,
        "system": system,
        "seed": seed,
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
        "training": _training(settings),
        **({"link": _link(facts)} if settings.allreduce else {}),
        # A run of one of these datasets goes to results/, any other to results/local/.
        "evidence_datasets": _evidence_datasets(study, experiment, system, settings),
        "overrides": overrides,
    }


def image_sources(study: Study) -> list[dict[str, Any]]:
    """Where the images of the experiments come from: ``dataset`` of `resolve`, all images, once."""
    pairs = dict.fromkeys(
        (experiment.dataset, experiment.data_dir) for experiment in study.experiments.values()
    )
    sizes = {"image_size": None, "train_images": None, "val_images": None}
    return [{"source": source, "dir": folder, **sizes} for source, folder in pairs]


def _training(settings: Experiment) -> dict[str, Any]:
    """Settings of the training itself."""
    training = settings.model_dump(
        exclude={"label", "description", "scaling", "reference", "nodes", "threads_per_rank",
                 "script", "world_size", "batch_per_rank", "global_batch", "data_dir", "dataset",
                 "image_size", "train_images", "val_images"}
    )  # fmt: skip
    # Absent where they are not asked for, as in what was resolved before they were there.
    left_out = {"sample_s": None, "allreduce": False}
    return {
        name: value
        for name, value in training.items()
        if name not in left_out or value != left_out[name]
    }


def _link(facts: Facts | None) -> dict[str, Any]:
    """What is known of the network between the nodes."""
    return {"network": facts.network, "link_gbit_s": facts.link_gbit_s} if facts else {}


def _evidence_datasets(
    study: Study, experiment: str, system: str, settings: Experiment
) -> list[str]:
    """Datasets with which some rule takes the run as evidence, see `contract.takes_dataset`."""
    subset = settings.train_images is not None or settings.val_images is not None
    names = {
        name
        for rule in study.evidence
        if rule.admits(experiment, system, settings.epochs, subset, settings.train_images)
        for name in rule.dataset_names
    }
    return sorted(names)


def _nodes(
    settings: Experiment, facts: Facts | None, launcher: str, where: Callable[[str], str]
) -> int:
    """Nodes for the ranks asked for, or why the machine cannot give them; `where` names a key."""
    world = settings.world_size
    asked = where("world_size" if settings.nodes is None else "nodes")
    gpus = facts.gpus_per_node if facts and facts.gpus_per_node else None
    # Without GPUs a node takes as many ranks as its facts say, or as an experiment puts on it.
    per_node = gpus or (facts.ranks_per_node if facts else None)
    available = facts.nodes if facts and facts.nodes else (1 if launcher == "local" else None)
    nodes = settings.nodes or (math.ceil(world / per_node) if per_node else 1)
    if available and nodes > available:
        unit = "GPU" if gpus else "rank"
        raise UsageError(
            f"{asked}: {world} ranks need {nodes} nodes"
            + (f" of {per_node} {unit}{'s' if per_node > 1 else ''}" if per_node else "")
            + f", and it has {available}; allowed are up to {available * (per_node or world)} ranks"
        )
    if world % nodes:
        raise UsageError(
            f"{asked}: {world} ranks do not spread evenly over {nodes} nodes; allowed are "
            f"multiples of {nodes} ranks"
        )
    ranks = world // nodes
    if gpus and ranks > gpus:
        raise UsageError(
            f"{asked}: {ranks} ranks a node, and a node has {gpus} GPU(s); allowed is a "
            "rank for each"
        )
    cpus = facts.cpus_per_node if facts else None
    if cpus and ranks * (settings.threads_per_rank or 1) > cpus:
        threads = f" of {settings.threads_per_rank} threads" if settings.threads_per_rank else ""
        key = where("threads_per_rank") if settings.threads_per_rank else asked
        raise UsageError(
            f"{key}: {ranks} ranks{threads} a node, and a node has {cpus} CPUs; allowed is a "
            "thread for each"
        )
    return nodes


def _device_of(facts: Facts | None) -> str:
    return "cpu" if facts is None or facts.gpus_per_node == 0 else "gpu"


def detect_device() -> str:
    """``"gpu"`` where a GPU driver is loaded, else ``"cpu"``; asks no library, so it is quick."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    driver = any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
    return "gpu" if driver and not hidden else "cpu"
