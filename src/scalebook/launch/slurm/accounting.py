"""Slurm's accounting of a job, kept beside its results without saying who ran it and where."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError
from scalebook.launch.slurm.commands import Ask, NoAccounting, NoSlurm, ask, asking_environment

#: Columns of ``results/logs/<stem>.sacct.csv``, in Slurm's words; times in UTC. None of them
#: names a user, an account, a node or a folder.
COLUMNS = (
    "JobID", "JobName", "State", "ExitCode", "DerivedExitCode", "Submit", "Start", "End",
    "Elapsed", "Timelimit", "NNodes", "NTasks", "AllocCPUS", "AllocTRES", "MaxRSS", "AveCPU",
    "TotalCPU",
)  # fmt: skip

# Asked for besides, to tell the job from another one of the same number; not kept.
_CLUSTER = "Cluster"
# A person's own text in a cell cannot hold it, as it could a comma or a bar.
_SEPARATOR = "\x1f"
_TIMES = ("Submit", "Start", "End")
_OPEN = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING", "REQUEUED")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
# Clocks of the submitting machine and of the accounting may differ by so much.
_SKEW = dt.timedelta(minutes=5)
# Accounting that is later than this is not late: it is not kept, or that of another cluster.
_LATE_S = 120.0


class SlurmRun(Protocol):
    """What is asked of a Slurm job here."""

    slurm_ids: list[str]
    cluster: str | None
    folder: Path

    def files(self) -> RunFiles | None:
        """Files of its run."""
        ...


class Recorded(NamedTuple):
    """What became of the accounting record.

    Attributes
    ----------
    path : Path or None
        The record; None where there is none.
    note : str
        Why there is none, in one line; empty where there is.
    """

    path: Path | None
    note: str = ""


def record(job: SlurmRun, timeout_s: float = 15.0, asked: Ask | None = None) -> Recorded:
    """Write the accounting of all attempts and steps of a finished job beside its results.

    Accounting lags the queue by a second or so: the record is waited for. A second call writes
    nothing where nothing has changed, and a record is never replaced by none.

    Parameters
    ----------
    job : SlurmRun
        A finished job.
    timeout_s : float
        Longest time to wait for the final record.
    asked : Ask, optional
        Runs ``sacct``; for tests.
    """
    files = job.files()
    if files is None:
        return Recorded(None, "the job left no run to put its accounting beside")
    asked = asked or _ask_in_utc
    argv = _command(job.slurm_ids)
    if time.time() - files.manifest.stat().st_mtime > _LATE_S:
        timeout_s = 0.0
    deadline = time.monotonic() + timeout_s
    pause = 0.2
    while True:
        try:
            rows = _of_job(job, _rows(asked(argv)))
        except (NoAccounting, NoSlurm) as error:
            return _none(files, f"no accounting here ({error})")
        except ScalebookError as error:
            rows, problem = [], f"accounting did not answer ({error})"
        else:
            problem = "accounting has no final record of the job"
        if rows and _final(rows):
            _write(files.sacct, rows)
            return Recorded(files.sacct)
        if time.monotonic() + pause > deadline:
            return _none(files, f"{problem}; collect it again later")
        time.sleep(pause)
        pause = min(2 * pause, 3.0)


def _none(files: RunFiles, why: str) -> Recorded:
    """No answer now; a record that is there from an earlier call is kept."""
    return Recorded(files.sacct) if files.sacct.is_file() else Recorded(None, why)


def _command(slurm_ids: list[str]) -> list[str]:
    fields = ",".join((_CLUSTER, *COLUMNS))
    return ["sacct", "-D", "-P", "-n", f"--delimiter={_SEPARATOR}", f"--format={fields}",
            "-j", ",".join(slurm_ids)]  # fmt: skip


def _ask_in_utc(argv: list[str]) -> str:
    # sacct writes local time without saying so: a record must not depend on who asks where.
    return ask(argv, environment={**asking_environment(), "TZ": "UTC"})


def _rows(text: str) -> Iterator[dict[str, str]]:
    for line in text.split("\n"):
        cells = line.split(_SEPARATOR)
        if len(cells) == len(COLUMNS) + 1:
            yield dict(zip((_CLUSTER, *COLUMNS), cells))


def _of_job(job: SlurmRun, rows: Iterator[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of this job, not of another cluster's or an earlier one of the same number."""
    submitted = _submitted(job)
    kept, ours = [], False
    for row in rows:
        number, _, step = row["JobID"].partition(".")
        if number not in job.slurm_ids or (job.cluster and row[_CLUSTER] != job.cluster):
            continue
        if not step:
            # Known is when the newest was submitted; those that it resumes came before.
            since = _time(row["Submit"]) if number == job.slurm_ids[-1] else None
            ours = submitted is None or since is None or since >= submitted - _SKEW
        if ours:
            kept.append({name: _cleaned(name, row[name]) for name in COLUMNS})
    return kept


def _submitted(job: SlurmRun) -> dt.datetime | None:
    try:
        said = contract.read_json(job.folder / "job.json").get("submitted")
        return dt.datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ")
    except (ScalebookError, TypeError, ValueError):
        return None


def _time(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None


def _cleaned(column: str, cell: str) -> str:
    """Cell without who cancelled a job and without a name that could be a path or a person."""
    cell = cell.strip()
    if column == "State":
        return cell.split(" by ")[0]
    if column == "JobName" and not _NAME.fullmatch(cell):
        return "(name)"
    if column in _TIMES and _time(cell):
        return f"{cell}Z"
    return cell


def _final(rows: list[dict[str, str]]) -> bool:
    """Whether nothing of the last attempt is open; earlier ones may end as ``REQUEUED``."""
    last = max(index for index, row in enumerate(rows) if "." not in row["JobID"])
    return all(row["State"].split(" ")[0] not in _OPEN for row in rows[last:])


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        contract.write_whole(path, text.getvalue())
