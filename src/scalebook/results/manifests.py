"""Manifests of runs: read, checked, and summed up as one row of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scalebook import contract
from scalebook.contract import ScalebookError, Stem
from scalebook.results import files

MANIFEST_LIMIT = 8 * files.MIB


class _Part(BaseModel):
    """Checks what the catalogue needs and keeps the rest, so that later keys do no harm."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Attempt(_Part):
    """One start of the run, to its end."""

    start: str | None = None
    end: str | None = None
    ended: Literal[tuple(contract.ENDED)] | None = None  # type: ignore[valid-type]
    reason: str | None = None


class Dataset(_Part):
    """Identity of the data the run saw."""

    name: str | None = None
    sha256: str | None = None
    train_images: int | None = Field(None, ge=0)
    subset: bool | None = None


class Model(_Part):
    """The network."""

    name: str | None = None
    stem: str | None = None


class Manifest(_Part):
    """What was run, where, and how each attempt ended."""

    schema_: Literal[contract.MANIFEST_SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]
    stem: str
    run_uuid: str | None = None
    job_id: str
    experiment: str
    system: str
    seed: int | None = None
    resolved: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    nodes: list[dict[str, Any]] = []
    devices: list[dict[str, Any]] = []
    dataset: Dataset | None = None
    model: Model | None = None
    world_size: int = Field(ge=1)
    global_batch: int | None = None
    batch_per_rank: int | None = None
    threads_per_rank: int | None = None
    epochs: int = Field(ge=0)
    precision: str | None = None
    attempts: list[Attempt] = []

    @property
    def ended(self) -> str | None:
        """How the last attempt ended; None while it is open."""
        return self.attempts[-1].ended if self.attempts else None


def read(path: Path, where: str) -> tuple[Manifest, dict[str, Any]]:
    """Read one manifest, checked and as it is written.

    Raises
    ------
    ScalebookError
        One line that names file and key.
    """
    data = files.read_bytes(path, where, MANIFEST_LIMIT)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ScalebookError(f"{where}: cannot be read as JSON") from None
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: holds no JSON object")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ScalebookError(f"{where}: {key}: {first['msg']}") from None
    named = path.stem
    if manifest.stem != named:
        raise ScalebookError(f"{where}: stem: says {manifest.stem!r}, the file {named!r}")
    stem = Stem.parse(named)
    for key in ("experiment", "job_id", "world_size"):
        if getattr(manifest, key) != getattr(stem, key):
            raise ScalebookError(
                f"{where}: {key}: says {getattr(manifest, key)!r}, the file's name "
                f"{getattr(stem, key)!r}"
            )
    return manifest, document


def row(manifest: Manifest) -> dict[str, Any]:
    """Columns of the catalogue that a manifest alone can fill."""
    stem = Stem.parse(manifest.stem)
    dataset = manifest.dataset or Dataset()
    model = manifest.model or Model()
    layout = manifest.resolved.get("layout") or {}
    device_name = manifest.devices[0].get("name") if manifest.devices else None
    if device_name is None and manifest.nodes:
        device_name = manifest.nodes[0].get("cpu")
    last = manifest.attempts[-1] if manifest.attempts else Attempt()
    return {
        "stem": manifest.stem,
        "run_uuid": manifest.run_uuid,
        "kind": "measured",
        "experiment": manifest.experiment,
        "system": manifest.system,
        "job_id": manifest.job_id,
        "world_size": manifest.world_size,
        "device": stem.device,
        "nodes": len(manifest.nodes) or layout.get("nodes"),
        "seed": manifest.seed,
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "subset": dataset.subset,
        "train_images": dataset.train_images,
        "model": model.name,
        "model_stem": model.stem,
        "epochs": manifest.epochs,
        "precision": manifest.precision,
        "scaling": manifest.resolved.get("scaling"),
        "reference": manifest.resolved.get("reference"),
        "global_batch": manifest.global_batch,
        "batch_per_rank": manifest.batch_per_rank,
        "threads_per_rank": manifest.threads_per_rank,
        "profiled": bool((manifest.resolved.get("training") or {}).get("profile")),
        "torch": manifest.versions.get("torch"),
        "device_name": device_name,
        "started": manifest.attempts[0].start if manifest.attempts else None,
        "ended": last.end,
        "note": " ".join((last.reason or "").split()),
    }
