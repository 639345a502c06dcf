"""The catalogue: every run that came back, imported, or was reported, as DataFrames."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.results import curves, files, manifests, reports, scan, schema
from scalebook.results.queries import query
from scalebook.results.utilisation import problems as utilisation_problems

#: Columns of `runs`.
RUN_COLUMNS = (
    "stem", "run_uuid", "kind", "experiment", "system", "job_id", "world_size", "device", "nodes",
    "seed", "status", "evidence", "local", "dataset", "dataset_sha256", "subset", "train_images",
    "model", "model_stem", "epochs", "epochs_done", "precision", "scaling", "reference",
    "global_batch", "batch_per_rank", "threads_per_rank", "profiled", "torch", "device_name",
    "started", "ended", "throughput", "epoch_time_s", "final_val_acc", "best_val_acc", "note",
)  # fmt: skip
_FLAGS = ("evidence", "local", "profiled")
_WHOLE = ("world_size", "epochs_done")
_FLOATS = ("throughput", "epoch_time_s", "final_val_acc", "best_val_acc")

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
        Columns `RUN_COLUMNS`. Throughput in images/s and epoch time in s are medians over the
        epochs, accuracies are percent. What is not known is None or NaN. A job whose file turned
        up has two rows: ``reported`` says what was claimed, ``imported`` what the file holds.

    Raises
    ------
    UsageError
        For a column that does not exist.
    """
    frame = _frame(scan.catalogue().rows)
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
    place = _place(stem)
    if place.csv is None:
        raise ScalebookError(f"{place.where('csv', '.csv')}: no such file; no epoch has ended yet")
    table = scan.table(place)
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
    place = _place(stem)
    path = place.folder / "steps" / f"{stem}.csv.gz"
    where = place.where("steps", ".csv.gz")
    if not path.is_file():
        raise ScalebookError(f"{where}: no such file; this run recorded no steps")
    return files.unchanged(path, schema.read_steps, where).copy()


@query
def manifest(stem: str) -> dict[str, Any]:
    """Read the manifest of one run, as it is written.

    Raises
    ------
    ScalebookError
        If the run has none (an imported file), or it is wrong.
    """
    place = _place(stem)
    if place.manifest is None:
        raise ScalebookError(f"{place.where('manifests', '.json')}: no such file; imported run")
    where = place.where("manifests", ".json")
    return copy.deepcopy(files.unchanged(place.manifest, manifests.read, where)[1])


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
    frame, _ = curves.read_all(contract.find_root())
    if local is not None:
        frame = frame[frame["local"] == local]
    return frame.reset_index(drop=True)


@query
def newest(
    experiment: str | None = None,
    finished: bool = True,
    system: str | None = None,
    seed: int | None = None,
) -> str | None:
    """Stem of the run that started last, local trials included; None if there is none.

    Parameters
    ----------
    experiment : str, optional
        Only runs of this experiment.
    finished : bool
        Only finished runs, so that the answer stays while another one trains.
    system : str, optional
        Only runs on this system.
    seed : int, optional
        Only runs with this seed.
    """
    found = [
        row
        for row in scan.catalogue().rows
        if row["kind"] != "reported"
        and (experiment is None or row["experiment"] == experiment)
        and (not finished or row["status"] == "finished")
        and (system is None or row["system"] == system)
        and (seed is None or row["seed"] == seed)
    ]
    return found[-1]["stem"] if found else None


@query
def problems() -> pd.DataFrame:
    """List what is wrong with files of results, or was understood otherwise than written.

    Returns
    -------
    DataFrame
        Columns file (relative), row (line of the file, from 1), column, problem,
        severity (``"error"`` or ``"note"``).
    """
    root = contract.find_root()
    _, wrong_curves = curves.read_all(root)
    found = [*scan.catalogue().problems, *wrong_curves, *utilisation_problems(root)]
    return files.problem_frame(found)


@query
def reported() -> pd.DataFrame:
    """List every reported number as one row; columns `REPORTED_COLUMNS`."""
    rows = [row for file in scan.catalogue().reports for row in reports.value_rows(file)]
    frame = pd.DataFrame(rows, columns=list(REPORTED_COLUMNS), dtype=object)
    return frame.astype({"value": float})


@query
def reported_files() -> dict[str, list[str]]:
    """Files each reported job should have left, as paths or patterns, by its id."""
    return {
        job.job_id: list(job.files) for file in scan.catalogue().reports for job in file.report.jobs
    }


@query
def claims() -> pd.DataFrame:
    """List the typed claims of the reported files; columns `CLAIM_COLUMNS`."""
    rows = [row for file in scan.catalogue().reports for row in reports.claim_rows(file)]
    frame = pd.DataFrame(rows, columns=list(CLAIM_COLUMNS), dtype=object)
    return frame.astype({"value": float})


# --------------------------------------------------------------------------- helpers


def _place(stem: str) -> scan.Place:
    catalogue = scan.catalogue()
    place = catalogue.places.get(stem)
    if place is not None:
        return place
    if any(row["stem"] == stem for row in catalogue.rows):
        raise ScalebookError(
            f"results/csv/{stem}.csv: no such file; the run is only reported, without curves"
        )
    raise ScalebookError(
        f"no run {stem!r} in {' or '.join(scan.FOLDERS)}; list them: scalebook runs"
    )


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; object columns keep None and whole numbers apart from NaN and floats."""
    data = {name: [row.get(name) for row in rows] for name in RUN_COLUMNS}
    frame = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in data.items()})
    frame["epochs_done"] = [row.get("epochs_done") or 0 for row in rows]
    frame["note"] = pd.Series([row.get("note") or "" for row in rows], dtype=object)
    types = dict.fromkeys(_FLAGS, bool) | dict.fromkeys(_WHOLE, "int64")
    return frame.astype(types | dict.fromkeys(_FLOATS, float))
