"""The catalogue: every run that came back, imported, or was reported, as DataFrames."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from scalebook.contract import EVIDENCE, TRIALS, RunFiles, ScalebookError, UsageError
from scalebook.results import curves, manifests, reports, scan, schema, utilisation
from scalebook.results.files import Problem
from scalebook.results.metrics import METRICS
from scalebook.results.queries import query
from scalebook.results.snapshots import Snapshot, links, snapshot

#: Columns of `runs`.
RUN_COLUMNS = (
    "stem", "run_uuid", "kind", "experiment", "system", "job_id", "world_size", "device", "nodes",
    "seed", "block", "status", "evidence", "local", "dataset", "dataset_sha256", "subset",
    "train_images", "model", "model_stem", "epochs", "epochs_done", "precision", "scaling",
    "reference", "global_batch", "batch_per_rank", "threads_per_rank", "profiled", "torch",
    "device_name", "started", "ended", *METRICS, "note",
)  # fmt: skip
_FLAGS = ("evidence", "local", "profiled")
_WHOLE = ("world_size", "epochs_done")

#: Columns of `reported` and of `claims`.
REPORTED_COLUMNS = (
    "source_file", "job_id", "experiment", "metric", "value", "unit", "source", "date",
    "as_written", "system",
)  # fmt: skip
CLAIM_COLUMNS = ("source_file", *reports.Claim.model_fields, "source", "date")


# --------------------------------------------------------------------------- queries


@query
def runs(evidence: bool | None = None, **equal: Any) -> pd.DataFrame:
    """List runs, one a row, those without a start (imported, reported) first, then by start.

    Parameters
    ----------
    evidence : bool, optional
        Only runs that stand behind the documents, or only the others.
    **equal
        Column and the value it must have; a list takes any of its values.

    Returns
    -------
    DataFrame
        Columns `RUN_COLUMNS`. Throughput in images/s is that of all epochs together, see
        `schema.throughput`; epoch time in s the median over them; accuracies are percent. What is
        not known is None or NaN. A job whose file turned up has two rows: ``reported`` says what
        was claimed, ``imported`` what the file holds.

    Raises
    ------
    UsageError
        For a column that does not exist.
    """
    frame = snapshot().once(_run_table).copy()
    if evidence is not None:
        frame = frame[frame["evidence"] == evidence]
    for column, value in equal.items():
        if column not in RUN_COLUMNS:
            raise UsageError(f"no column {column!r} in runs; there are {', '.join(RUN_COLUMNS)}")
        values = frame[column]
        if value is None:
            frame = frame[values.isna()]
        elif isinstance(value, (list, tuple)):
            frame = frame[values.isin(value)]
        else:
            frame = frame[values == value]
    return frame.reset_index(drop=True)


@query
def epochs(stem: str) -> pd.DataFrame:
    """Read the rows of one run, an epoch each, checked against the schema.

    Returns
    -------
    DataFrame
        Columns of `contract.CSV_COLUMNS` as far as the file has them, then its own.
        Accuracies in percent.

    Raises
    ------
    ScalebookError
        If the run is not there, or its CSV is wrong; the line names file, row and column.
    """
    now = snapshot()
    run = _run(now, stem)
    if not now.holds(run.csv):
        raise ScalebookError(f"{run.csv.as_posix()}: no such file; no epoch has ended yet")
    table = scan.epoch_table(now, run)
    if table.errors:
        raise ScalebookError(table.errors[0].line())
    return table.frame.copy()


@query
def steps(stem: str) -> pd.DataFrame:
    """Read the steps of one run, a row for each step and rank; times in seconds.

    Raises
    ------
    ScalebookError
        If the run recorded none, or the file is damaged.
    """
    now = snapshot()
    path = _run(now, stem).steps
    if not now.holds(path):
        raise ScalebookError(f"{path.as_posix()}: no such file; this run recorded no steps")
    return now.read(schema.read_steps, path).copy()


@query
def manifest(stem: str) -> dict[str, Any]:
    """Read the manifest of one run, as it is written.

    Raises
    ------
    ScalebookError
        If the run has none (an imported file), or it is wrong.
    """
    now = snapshot()
    path = _run(now, stem).manifest
    if not now.holds(path):
        raise ScalebookError(f"{path.as_posix()}: no such file; imported run")
    return copy.deepcopy(now.read(manifests.read, path)[1])


@query
def allreduce(local: bool | None = None) -> pd.DataFrame:
    """List the measured all-reduce curves, one row a message size.

    Parameters
    ----------
    local : bool, optional
        Only trials, or only what stands behind the documents; all where left out.

    Returns
    -------
    DataFrame
        Columns `curves.COLUMNS`, sorted by system, stem and size: sizes in bytes, latencies
        in µs (median over the repetitions of the slowest rank, low and high its quartiles),
        bandwidths in GB/s, the rate of the link in Gbit/s as it was set then. Files that are
        wrong are left out and stand in `problems`.
    """
    frame = snapshot().once(curves.read_all)[0].copy()
    if local is not None:
        frame = frame[frame["local"] == local]
    return frame.reset_index(drop=True)


@query
def newest(
    experiment: str | None = None, system: str | None = None, seed: int | None = None
) -> str | None:
    """Stem of the finished run that started last, trials included; None if there is none.

    Parameters
    ----------
    experiment, system : str, optional
        Only runs of this experiment, or on this system.
    seed : int, optional
        Only runs with this seed.
    """
    asked: dict[str, Any] = {"experiment": experiment, "system": system, "seed": seed}
    asked = {name: value for name, value in asked.items() if value is not None}
    stems = runs(status="finished", **asked)["stem"].tolist()
    return stems[-1] if stems else None


@query
def problems() -> pd.DataFrame:
    """List what is wrong with files of results, and what was read differently from what it says.

    Returns
    -------
    DataFrame
        Columns file (relative), row (line of the file, from 1), column, problem,
        severity (``"error"`` or ``"note"``).
    """
    now = snapshot()
    found = [*now.once(scan.catalogue).problems, *now.once(curves.read_all)[1]]
    found += [*now.once(utilisation.problems), *links(now)]
    found.sort(
        key=lambda problem: (problem.file, problem.row or 0, problem.column or "", problem.problem)
    )
    return pd.DataFrame(found, columns=list(Problem._fields), dtype=object)


@query
def reported() -> pd.DataFrame:
    """List every reported number as one row; columns `REPORTED_COLUMNS`."""
    return _table(reports.value_rows, REPORTED_COLUMNS)


@query
def reported_files() -> dict[str, list[str]]:
    """Files each reported job should have left, as paths or patterns, by its id."""
    found = snapshot().once(scan.catalogue).reports.values()
    return {job.job_id: list(job.files) for report in found for job in report.jobs}


@query
def claims() -> pd.DataFrame:
    """List the typed claims of the reported files; columns `CLAIM_COLUMNS`."""
    return _table(reports.claim_rows, CLAIM_COLUMNS)


def find(run: str) -> str:
    """Stem of the run that `run` names: its stem, its job id, or how one of them begins.

    Raises
    ------
    ScalebookError
        If no run, or more than one, is called so.
    """
    known = runs()
    known = known[known["kind"] != "reported"]
    jobs = dict(zip(map(str, known["stem"]), map(str, known["job_id"])))
    exact = [stem for stem, job in jobs.items() if run in (stem, job)]
    stems = exact or [
        stem for stem, job in jobs.items() if run and (stem.startswith(run) or job.startswith(run))
    ]
    if len(stems) == 1:
        return stems[0]
    if not stems:
        raise ScalebookError(f"no run is called {run!r}; list them with: scalebook runs --all")
    few = ", ".join(stems[:3]) + (", …" if len(stems) > 3 else "")
    raise ScalebookError(f"{run!r} begins the names of {len(stems)} runs: {few}")


# --------------------------------------------------------------------------- of many runs


def of_each(
    make: Callable[[Snapshot, RunFiles], Any], stems: Iterable[str], *kinds: str
) -> dict[str, Any]:
    """What `make` gives for each of these runs, by stem; see `Snapshot.of_each`.

    It is no query: what asks it in behalf of a page is one.
    """
    now = snapshot()
    runs = now.once(scan.catalogue).runs
    return now.of_each(make, [runs[stem] for stem in stems if stem in runs], *kinds)


# --------------------------------------------------------------------------- helpers


def _run(now: Snapshot, stem: str) -> RunFiles:
    catalogue = now.once(scan.catalogue)
    if stem in catalogue.runs:
        return catalogue.runs[stem]
    if any(row["stem"] == stem for row in catalogue.rows):
        raise ScalebookError(
            f"{EVIDENCE}/csv/{stem}.csv: no such file; the run is only reported, without curves"
        )
    raise ScalebookError(f"no run {stem!r} in {EVIDENCE} or {TRIALS}; list them: scalebook runs")


def _table(
    rows_of: Callable[[str, reports.Report], list[dict[str, Any]]], columns: tuple[str, ...]
) -> pd.DataFrame:
    found = snapshot().once(scan.catalogue).reports
    rows = [row for file, report in found.items() for row in rows_of(file, report)]
    return pd.DataFrame(rows, columns=list(columns), dtype=object).astype({"value": float})


def _run_table(now: Snapshot) -> pd.DataFrame:
    """All runs; object columns keep None and whole numbers apart from NaN and floats."""
    defaults: dict[str, Any] = {**dict.fromkeys(RUN_COLUMNS), "epochs_done": 0, "note": ""}
    rows = [tuple({**defaults, **row}.values()) for row in now.once(scan.catalogue).rows]
    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS), dtype=object)
    types = dict.fromkeys(_FLAGS, bool) | dict.fromkeys(_WHOLE, "int64")
    return frame.astype(types | dict.fromkeys(METRICS, float))
