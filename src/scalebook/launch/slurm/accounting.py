"""Slurm's accounting of a job, kept beside its results without saying who ran it and where."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError
from scalebook.launch.slurm.commands import Ask, NoAccounting, NoSlurm, ask, asking_environment
from scalebook.launch.slurm.reasons import ALIVE
from scalebook.launch.waiting import looks

# None of them names a user, an account, a node or a folder.
_FIELDS = (
    "JobID,JobName,State,ExitCode,DerivedExitCode,Submit,Start,End,Elapsed,Timelimit,NNodes,NTasks,"
    "AllocCPUS,AllocTRES,MaxRSS,AveCPU,TotalCPU"
)
#: Columns of ``results/logs/<stem>.sacct.csv``, as Slurm names them; times in UTC.
COLUMNS = tuple(_FIELDS.split(","))

# Asked for besides, to tell the job from another one of the same number; not kept.
_CLUSTER = "Cluster"
# A person's own text in a cell cannot hold it, as it could a comma or a bar.
_SEPARATOR = "\x1f"
_TIMES = ("Submit", "Start", "End")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
# Clocks of the submitting machine and of the accounting may differ by so much.
_SKEW = dt.timedelta(minutes=5)
# Accounting that is later than this is not late: it is not kept, or that of another cluster.
_LATE_S = 120.0


def record(
    files: RunFiles,
    numbers: Sequence[str],
    cluster: str | None,
    submitted: dt.datetime,
    timeout_s: float = 15.0,
    asked: Ask | None = None,
) -> str:
    """Write the accounting of all attempts and steps of a finished job beside its results.

    Accounting lags the queue by a second or so: it is waited for. A second call writes nothing
    where nothing has changed, and what is there is never replaced by nothing.

    Parameters
    ----------
    files : RunFiles
        Those of its run.
    numbers : sequence of str
        Slurm's numbers of the job, the newest last: a resumed run has several.
    cluster : str or None
        ``ClusterName`` where it was submitted.
    submitted : datetime
        When it was submitted under its newest number.
    timeout_s : float
        Longest time to wait for the final rows.
    asked : Ask, optional
        Runs ``sacct``; for tests.

    Returns
    -------
    str
        Why there is none, in one line; empty where there is.
    """
    asked = asked or _ask_in_utc
    argv = ["sacct", "-D", "-P", "-n", f"--delimiter={_SEPARATOR}"]
    argv += [f"--format={_CLUSTER},{_FIELDS}", "-j", ",".join(numbers)]
    late = time.time() - files.manifest.stat().st_mtime > _LATE_S
    problem = ""
    for _ in looks(0.2, longest_s=3.0, timeout_s=0.0 if late else timeout_s):
        try:
            rows = list(_of_job(_rows(asked(argv)), numbers, cluster, submitted))
        except (NoAccounting, NoSlurm) as error:
            return _nothing_new(files, f"no accounting here ({error})")
        except ScalebookError as error:
            problem = f"accounting did not answer ({error})"
            continue
        if rows and _final(rows):
            _write(files.sacct, rows)
            return ""
        problem = "accounting has no final record of the job"
    return _nothing_new(files, f"{problem}; collect it again later")


def _nothing_new(files: RunFiles, why: str) -> str:
    """No answer now; what is there from an earlier call is kept."""
    return "" if files.sacct.is_file() else why


def _ask_in_utc(argv: Sequence[str]) -> str:
    # sacct writes local time and no zone: what is kept must not depend on who asks where.
    return ask(argv, environment={**asking_environment(), "TZ": "UTC"})


def _rows(text: str) -> Iterator[dict[str, str]]:
    for line in text.split("\n"):
        cells = line.split(_SEPARATOR)
        if len(cells) == len(COLUMNS) + 1:
            yield dict(zip((_CLUSTER, *COLUMNS), cells))


def _of_job(
    rows: Iterable[dict[str, str]],
    numbers: Sequence[str],
    cluster: str | None,
    submitted: dt.datetime,
) -> Iterator[dict[str, str]]:
    """Rows of this job, not of another cluster's or an earlier one of the same number."""
    ours = False
    for row in rows:
        number, _, step = row["JobID"].partition(".")
        number = number.partition("+")[0]  # a part of a heterogeneous job
        if number not in numbers or (cluster and row[_CLUSTER] != cluster):
            continue
        if not step:
            # The jobs that the newest resumes came before it.
            since = _time(row["Submit"]) if number == numbers[-1] else None
            ours = since is None or since >= submitted - _SKEW
        if ours:
            yield {name: _cleaned(name, row[name]) for name in COLUMNS}


def _time(text: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=dt.timezone.utc)


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
    whole = ("", "0")  # its other parts follow the first
    last = max(
        index
        for index, row in enumerate(rows)
        if "." not in row["JobID"] and row["JobID"].partition("+")[2] in whole
    )
    return all(row["State"] not in ALIVE for row in rows[last:])


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
        contract.write_whole(path, text.getvalue())
