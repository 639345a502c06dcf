"""The manifest of a run: what was run, where, on which data, and how each attempt ended."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem
from scalebook.train.distributed import Ranks
from scalebook.train.images.dataset import Dataset
from scalebook.train.machine import code_version, versions
from scalebook.train.privacy import clean, clean_text
from scalebook.train.settings import Settings, result_settings


def job_id() -> tuple[str, bool]:
    """Id of this job, and whether it was given from outside.

    ``SCALEBOOK_JOB_ID``, else Slurm's (with the task of an array), else a time-based one.
    """
    given = os.environ.get("SCALEBOOK_JOB_ID")
    if given:
        return given, True
    slurm = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if slurm:
        cluster, task = (os.environ.get(f"SLURM_{n}") for n in ("CLUSTER_NAME", "ARRAY_TASK_ID"))
        return contract.slurm_run_id(cluster, slurm, task), True
    return contract.new_job_id(), False


def compose(
    settings: Settings,
    stem: Stem,
    ranks: Ranks,
    machines: list[dict[str, Any]],
    command: list[str],
    root: Path,
    dataset: dict[str, Any] | None,
    model: dict[str, Any] | None,
) -> dict[str, Any]:
    """Everything a new run's manifest says, without attempts.

    `machines` holds the answers of `machine.describe` on each rank; `dataset` and `model` are None
    for a run that failed before it knew them.
    """
    nodes = {machine["node"]["index"]: machine["node"] for machine in machines}
    return {
        "schema": contract.MANIFEST_SCHEMA,
        "stem": str(stem),
        "run_uuid": str(uuid.uuid4()),
        "job_id": stem.job_id,
        "experiment": settings.experiment,
        "system": settings.system,
        "seed": settings.seed,
        "resolved": clean(settings.document, root),
        "command": clean(command, root),
        "submitted": _submitted(root),
        "code": code_version(root),
        "versions": versions(ranks),
        "backend": ranks.backend,
        "threads_per_rank": ranks.threads,
        "nodes": [nodes[index] for index in sorted(nodes)],
        "devices": [machine["device"] for machine in machines],
        "driver": machines[0]["driver"],
        "dataset": dataset,
        "model": model,
        "world_size": ranks.world_size,
        "global_batch": settings.global_batch,
        # The largest share of a rank; shares differ by at most one image.
        "batch_per_rank": -(-settings.global_batch // ranks.world_size),
        "epochs": settings.training.epochs,
        "precision": settings.training.precision,
        "attempts": [],
    }


def create(files: RunFiles, document: dict[str, Any]) -> None:
    """Write a new manifest whole and exclusively.

    Raises
    ------
    ScalebookError
        If the stem is taken: two runs never share one.
    """
    path = files.manifest
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new.") as folder:
            whole = Path(folder) / path.name
            contract.write_json(whole, document)
            try:
                os.link(whole, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                os.replace(whole, path)
    except FileExistsError:
        raise taken(files) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def taken(files: RunFiles) -> ScalebookError:
    """Say that a stem is in use."""
    return ScalebookError(
        f"run {files.stem} exists already: continue it with --resume {files.stem}, or give the "
        "new run another job id (SCALEBOOK_JOB_ID)"
    )


def open_attempt(files: RunFiles) -> int:
    """Add an attempt to the manifest; returns its number, from 1."""
    document = contract.read_json(files.manifest)
    number = len(document["attempts"]) + 1
    document["attempts"].append(
        {
            "number": number,
            "start": contract.utc_now(),
            "end": None,
            "ended": None,
            "reason": "",
            "first_epoch": None,
            "first_step": None,
            "scheduler": scheduler(),
        }
    )
    contract.write_json(files.manifest, document)
    return number


def add_to_attempt(files: RunFiles, **values: Any) -> None:
    """Add to the open attempt what was not known when it was opened.

    Parameters
    ----------
    files : RunFiles
        Of the run.
    **values
        ``first_epoch`` and ``first_step``, both from 1, with which it begins; of a profiled run
        ``profiler`` and ``cpu_peak``, the answers of `profiler.StepProfiler.cost` and
        `cpu_peak.measure`.
    """
    document = contract.read_json(files.manifest)
    document["attempts"][-1].update(values)
    contract.write_json(files.manifest, document)


def complete(files: RunFiles, dataset: dict[str, Any], model: dict[str, Any]) -> None:
    """Add what an attempt that failed early did not know."""
    document = contract.read_json(files.manifest)
    if document.get("dataset") is None:
        document.update(dataset=dataset, model=model)
        contract.write_json(files.manifest, document)


def refuse_changes(files: RunFiles, settings: Settings, dataset: Dataset, root: Path) -> None:
    """Let a run be continued only as what it was.

    Raises
    ------
    ScalebookError
        Naming the first key that differs from the manifest.
    """
    document = contract.read_json(files.manifest)
    before = result_settings(document["resolved"])
    now = result_settings(clean(settings.document, root))
    trained_on = document.get("dataset")
    if trained_on:
        before["dataset.sha256"], now["dataset.sha256"] = trained_on["sha256"], dataset.sha256
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ScalebookError(
                f"--resume {files.stem}: {key} is {now.get(key)!r} and was {before.get(key)!r}: "
                "continue it with what it was started with, or start a new run"
            )


def finished(files: RunFiles) -> bool:
    """Whether the last attempt completed the run."""
    attempts = contract.attempts_of(contract.read_json(files.manifest))
    return bool(attempts and attempts[-1].get("ended") == "completed")


def _submitted(root: Path) -> list[str] | None:
    """Command that submitted the job, as whoever ran it passed it on."""
    try:
        words = json.loads(os.environ.get("SCALEBOOK_SUBMIT_COMMAND", ""))
    except ValueError:
        return None
    return [clean_text(str(word), root) for word in words] if isinstance(words, list) else None


def scheduler() -> dict[str, Any] | None:
    """Slurm's record of this attempt, without user and node names."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    names = {
        "job_id": "SLURM_JOB_ID",
        "array_task": "SLURM_ARRAY_TASK_ID",
        "restart_count": "SLURM_RESTART_COUNT",
        "partition": "SLURM_JOB_PARTITION",
        "nodes": "SLURM_JOB_NUM_NODES",
        "tasks": "SLURM_NTASKS",
        "cpus_per_task": "SLURM_CPUS_PER_TASK",
    }
    limit = None
    with contextlib.suppress(KeyError, ValueError):  # older versions of Slurm do not tell
        limit = int(os.environ["SLURM_JOB_END_TIME"]) - int(os.environ["SLURM_JOB_START_TIME"])
    record = {key: os.environ.get(name) for key, name in names.items()}
    return {"name": "slurm", **record, "time_limit_s": limit}
