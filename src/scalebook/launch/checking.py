"""Whether the files of one run are whole, and agree with each other."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem
from scalebook.launch.slurm.accounting import COLUMNS
from scalebook.results import manifests, schema

#: Folders below ``results`` that hold files of runs, and how their names end.
KINDS = {
    "csv": (".csv",),
    "steps": (".csv.gz",),
    "logs": (".sacct.csv", ".log"),
    "profiling": (".pt.trace.json.gz", ".pt.trace.json", ".log"),
    "allreduce": (".csv", ".json"),
    "manifests": (".json",),
}

_UTILISATION = re.compile(r"gpu_util_[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_BLOCK = 1 << 20


def run_of(relative: str) -> str | None:
    """Run that a file belongs to, by its path below ``results``; None if no run has such a file."""
    kind, _, name = relative.partition("/")
    suffix = next((end for end in KINDS.get(kind, ()) if name.endswith(end)), None)
    if suffix is None:
        return None
    text = name.removesuffix(suffix)
    if kind == "profiling" and suffix == ".log":
        # One for all nodes of a job, named by the job alone.
        return text if _UTILISATION.fullmatch(text) else None
    if kind == "profiling":
        text, _, rank = text.rpartition("_rank")
        if not rank.isdecimal():
            return None
    try:
        return str(Stem.parse(text))
    except ScalebookError:
        return None


def check_file(path: Path, where: str, foreign: bool = False) -> None:
    """Read one file of a run to its end.

    Parameters
    ----------
    path : Path
        The file, in its folder (``csv``, ``steps``, …).
    where : str
        How an error names it.
    foreign : bool
        Whether the run has no manifest: another program wrote its CSV.

    Raises
    ------
    ScalebookError
        One line that says what is wrong.
    """
    kind, name = path.parent.name, path.name
    if kind == "manifests":
        manifests.read(path, where)
    elif kind == "csv":
        table = schema.read_epochs(path, where, foreign)
        if table.errors:
            raise ScalebookError(table.errors[0].line())
    elif kind == "steps":
        schema.read_steps(path, where)
    elif name.endswith(".gz"):
        _unpack(path, where)
    elif name.endswith(".sacct.csv"):
        _check_header(path, where, COLUMNS)
    elif kind == "allreduce" and name.endswith(".json"):
        found = contract.read_json(path).get("schema")
        if found != contract.ALLREDUCE_SCHEMA:
            raise ScalebookError(f"{where}: schema {found!r}, expected {contract.ALLREDUCE_SCHEMA}")
    elif kind == "allreduce":
        _check_header(path, where, contract.ALLREDUCE_COLUMNS)


def check_run(files: RunFiles, shown: str) -> pd.DataFrame:
    """Check that a run is completed, and its files all there and in agreement.

    Parameters
    ----------
    files : RunFiles
        Where they lie.
    shown : str
        How an error names their folder.

    Returns
    -------
    DataFrame
        Its epochs.

    Raises
    ------
    ScalebookError
        One line: a file is missing, damaged or holds less than it should.
    """

    def where(path: Path) -> str:
        return f"{shown}/{path.relative_to(files.results).as_posix()}"

    manifest, _ = manifests.read(files.manifest, where(files.manifest))
    if manifest.ended != "completed":
        ended = manifest.ended or "still open"
        raise ScalebookError(f"{where(files.manifest)}: its last attempt is {ended}, not completed")
    if not files.csv.is_file():
        raise ScalebookError(f"{where(files.csv)}: no such file, though the run completed")
    table = schema.read_epochs(files.csv, where(files.csv))
    if table.errors:
        raise ScalebookError(table.errors[0].line())
    if len(table.frame) != manifest.epochs:
        raise ScalebookError(
            f"{where(files.csv)}: holds {len(table.frame)} epochs, the manifest of the completed "
            f"run says {manifest.epochs}"
        )
    if files.steps.is_file():
        _check_steps(files.steps, where(files.steps), manifest.epochs, manifest.world_size)
    if (manifest.resolved.training or {}).get("profile"):
        for rank in range(manifest.world_size):
            trace = files.trace(rank)
            if not trace.is_file():
                raise ScalebookError(f"{where(trace)}: no such file, though the run was profiled")
            _unpack(trace, where(trace))
    return table.frame


def untimed(stem: str, epochs: pd.DataFrame, training: dict[str, Any]) -> str:
    """One line if a run has no throughput since all its steps were left out; else empty.

    Parameters
    ----------
    stem : str
        The run.
    epochs : DataFrame
        As `check_run` returns them.
    training : dict
        Its settings, as the resolved experiment has them.
    """
    if training["profile"] or epochs["throughput"].notna().any():
        return ""
    return (
        f"no step was timed, so {stem} has no throughput: its first "
        f"{training['untimed_steps']} steps are left out of every rate, and it has no more; set "
        "untimed_steps lower, or epochs higher"
    )


def _check_steps(path: Path, where: str, epochs: int, world_size: int) -> None:
    """Every epoch and rank has steps, and each rank of an epoch as many as the others."""
    steps = schema.read_steps(path, where)
    counts = steps.groupby(["epoch", "rank"])["step"].nunique()
    expected = {(epoch, rank) for epoch in range(1, epochs + 1) for rank in range(world_size)}
    missing = sorted(expected - set(counts.index))
    if missing:
        epoch, rank = missing[0]
        raise ScalebookError(f"{where}: holds no step of epoch {epoch}, rank {rank}")
    uneven = counts.groupby("epoch").nunique()
    if (uneven > 1).any():
        epoch = uneven.index[uneven > 1][0]
        raise ScalebookError(f"{where}: the ranks have unequal numbers of steps in epoch {epoch}")


def _unpack(path: Path, where: str) -> None:
    try:
        with gzip.open(path, "rb") as file:
            while file.read(_BLOCK):
                pass
    except (OSError, EOFError, zlib.error):
        raise ScalebookError(f"{where}: damaged or cut gzip data; copy it again") from None


def _check_header(path: Path, where: str, columns: tuple[str, ...]) -> None:
    """The first line of a CSV names these columns and no other."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScalebookError(f"{where}: cannot be read as CSV ({error})") from None
    if tuple(header) != columns:
        raise ScalebookError(f"{where}: its columns are not {', '.join(columns)}")
