"""Manifests of runs: read, checked, and summed up as one row of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    ended: Literal[tuple(contract.ENDED)] | None = None  # type: ignore[valid-type]  # of a constant
    reason: str | None = None
    scheduler: dict[str, Any] | None = None


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


class Versions(_Part):
    """Versions of the programs that ran."""

    torch: str | None = None


class Device(_Part):
    """A node, which names its processor, or a GPU, which names itself."""

    cpu: str | None = None
    name: str | None = None


class Resolved(_Part):
    """Settings that the run was started with."""

    scaling: str | None = None
    reference: str | None = None
    layout: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    dataset: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    block: Any = None


class Manifest(_Part):
    """What was run, where, and how each attempt ended."""

    schema_: Literal[contract.MANIFEST_SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]  # of a constant
    stem: str
    run_uuid: str | None = None
    job_id: str
    experiment: str
    system: str
    seed: int | None = None
    resolved: Resolved = Resolved()
    code: dict[str, Any] | None = None
    versions: Versions = Versions()
    nodes: list[Device] = []
    devices: list[Device] = []
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
    document = files.read_json(path, where, MANIFEST_LIMIT)
    manifest = files.checked(Manifest, document, where)
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


#: Columns of the catalogue that stand in the manifest by their own name.
_AS_WRITTEN = (
    "stem", "run_uuid", "experiment", "system", "job_id", "world_size", "seed", "epochs",
    "precision", "global_batch", "batch_per_rank", "threads_per_rank",
)  # fmt: skip


def block_name(written: Any) -> str | None:
    """Name of the block a run belongs to, ``<campaign> <number>``; None where it has none."""
    if not isinstance(written, dict) or not {"campaign", "number"} <= set(written):
        return None
    return f"{written['campaign']} {written['number']}"


def row(manifest: Manifest) -> dict[str, Any]:
    """Columns of the catalogue that a manifest alone can fill."""
    dataset = manifest.dataset or Dataset()
    model = manifest.model or Model()
    resolved = manifest.resolved
    device_name = manifest.devices[0].name if manifest.devices else None
    if device_name is None and manifest.nodes:
        device_name = manifest.nodes[0].cpu
    last = manifest.attempts[-1] if manifest.attempts else Attempt()
    return {
        **{name: getattr(manifest, name) for name in _AS_WRITTEN},
        "kind": "measured",
        "block": block_name(resolved.block),
        "device": Stem.parse(manifest.stem).device,
        "nodes": len(manifest.nodes) or (resolved.layout or {}).get("nodes"),
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "subset": dataset.subset,
        "train_images": dataset.train_images,
        "model": model.name,
        "model_stem": model.stem,
        "scaling": resolved.scaling,
        "reference": resolved.reference,
        "profiled": bool((resolved.training or {}).get("profile")),
        "torch": manifest.versions.torch,
        "device_name": device_name,
        "started": manifest.attempts[0].start if manifest.attempts else None,
        "ended": last.end,
        "note": " ".join((last.reason or "").split()),
    }
