"""How busy the devices of a job were: our own files, and what nvidia-smi prints.

``results/profiling/gpu_util_<job id>.log`` may be ours (see `contract.UTILISATION`), or
redirected output of ``nvidia-smi dmon`` or of ``nvidia-smi --query-gpu=… --format=csv``. Each
line stands alone: one that cannot be read is left out and counted, whatever stands in it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pandas as pd

from scalebook.contract import EVIDENCE, TRIALS, ScalebookError, Stem
from scalebook.results import files
from scalebook.results.device_lines import METRICS, parse
from scalebook.results.files import Problem
from scalebook.results.queries import query
from scalebook.results.snapshots import Snapshot, snapshot
from scalebook.study.document import decoded

#: Columns of `utilisation`.
COLUMNS = ("time_s", "node", "device", *METRICS)
#: Most bytes of a file: a day of one device, a line a second, takes about 10 MiB.
LIMIT = 64 * files.MIB

# A job that was killed may leave lines of its other nodes in files of their own.
_NAME = re.compile(r"gpu_util_(?P<job>.+?)(?:\.node\d+)?\.log")


@query
def utilisation(job: str) -> pd.DataFrame:
    """Read how busy the devices of a job were.

    Parameters
    ----------
    job : str
        Job id, or stem of a run.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a device and moment: ``time_s`` from the first line of the job
        on (where a file of nvidia-smi has no times, a line of a device is taken for a second);
        ``node`` (0 where none is written) and ``device`` (``gpu<n>`` or ``host``); metrics as in
        `contract.UTILISATION`, NaN for what was not recorded. Lines left out stand in `problems`.

    Raises
    ------
    ScalebookError
        If there is no such file, or nothing in it can be read.
    """
    now = snapshot()
    tables = [now.read(_read, path)[0] for path in _paths(now, job)]
    table = pd.concat(tables, ignore_index=True)
    table["time_s"] -= table["time_s"].min()
    table = table.drop_duplicates()
    return table.sort_values(["time_s", "node", "device"], kind="stable", ignore_index=True)


def utilisation_began(job: str) -> float:
    """When the first line of a job's `utilisation` was written, in seconds since 1970.

    Raises
    ------
    ScalebookError
        As `utilisation`.
    """
    now = snapshot()
    return min(float(now.read(_read, path)[0]["time_s"].min()) for path in _paths(now, job))


@query
def utilisation_files() -> dict[str, str]:
    """Files of utilisation by job id, as paths relative to the study's root; trials last."""
    found: dict[str, str] = {}
    for job, path in _files(snapshot()):
        found.setdefault(job, path.as_posix())
    return found


def problems(snapshot: Snapshot) -> list[Problem]:
    """List the files and lines that are not used, and what had to be assumed."""
    found = []
    for _, path in _files(snapshot):
        try:
            found += snapshot.read(_read, path)[1]
        except FileNotFoundError:  # removed meanwhile
            continue
        except ScalebookError as error:
            found.append(Problem.of(error, path.as_posix()))
    return found


def _files(snapshot: Snapshot) -> list[tuple[str, Path]]:
    """Job id and relative path of each file."""
    return [
        (match["job"], Path(folder, name))
        for folder in (f"{EVIDENCE}/profiling", f"{TRIALS}/profiling")
        for name in snapshot.names(folder)
        if (match := _NAME.fullmatch(name))
    ]


def _paths(snapshot: Snapshot, job: str) -> list[Path]:
    """Files of a job: its own, and those of single nodes that were not put into it."""
    with contextlib.suppress(ScalebookError):
        job = Stem.parse(job).job_id
    found = [path for owner, path in _files(snapshot) if owner == job]
    if not found:
        raise ScalebookError(
            f"{EVIDENCE}/profiling/gpu_util_{job}.log: no such file; utilisation is recorded in "
            "profiled runs, and where sample_s is set"
        )
    return [path for path in found if path.parent == found[0].parent]


def _read(path: Path, where: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Lines of a file, with ``time_s`` on the file's own clock, and what is wrong with it."""
    text = decoded(files.read_bytes(path, where, LIMIT), "replace")
    lines = parse(text)
    if not lines.rows:
        raise ScalebookError(f"{where}: {lines.why_empty}")
    table = pd.DataFrame(lines.rows, columns=list(COLUMNS))
    kinds = dict.fromkeys(("time_s", *METRICS), float) | {"node": "int64", "device": object}
    notes = [Problem(where, None, None, note, "note") for note in lines.notes]
    if lines.bad:
        left_out = "1 line was" if len(lines.bad) == 1 else f"{len(lines.bad)} lines were"
        problem = f"{left_out} left out, this one first: not in its columns"
        notes.append(Problem(where, lines.bad[0], None, problem, "note"))
    return table.astype(kinds), notes
