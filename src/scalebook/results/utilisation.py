"""How busy the devices of a job were: our own files, and what nvidia-smi prints.

``results/profiling/gpu_util_<job id>.log`` may be ours (see `contract.UTILISATION_COLUMNS`), or
redirected output of ``nvidia-smi dmon`` or of ``nvidia-smi --query-gpu=… --format=csv``. Each
line stands alone: one that cannot be read is left out and counted, whatever stands in it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError, Stem, UsageError
from scalebook.results import files
from scalebook.results.device_lines import Lines, parse
from scalebook.results.files import Problem
from scalebook.results.nvidia_smi import METRICS
from scalebook.results.queries import query
from scalebook.results.scan import FOLDERS

#: Columns of `utilisation`.
COLUMNS = ("time_s", "node", "device", *METRICS)
#: Most bytes of a file: a day of one device, a line a second, takes about 10 MiB.
LIMIT = 64 * files.MIB

_FOLDER = "profiling"
# A job that was killed may leave lines of its other nodes in files of their own.
_NAME = re.compile(r"gpu_util_(?P<job>.+?)(?:\.node\d+)?\.log")


@query
def utilisation(job: str) -> pd.DataFrame:
    """Read how busy the devices of a job were.

    Parameters
    ----------
    job : str
        Job id, stem of a run, or path of a file below the study's root.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a device and moment: ``time_s`` from the first line of the job
        on (where a file of nvidia-smi has no times, a line of a device is taken for a second);
        ``node`` (0 where it is not said) and ``device`` (``gpu<n>`` or ``host``); metrics as in
        `contract.UTILISATION_COLUMNS`, NaN for what was not recorded. Lines left out are told by
        `problems`.

    Raises
    ------
    UsageError
        If the path leads out of the study.
    ScalebookError
        If there is no such file, or nothing in it can be read.
    """
    root = contract.find_root()
    tables = [_read(path, files.relative(path, root)) for path in _paths(root, job)]
    return _joined([table for table, _ in tables])


@query
def utilisation_files() -> dict[str, str]:
    """Files of utilisation by job id, as paths relative to the study's root; trials last."""
    root = contract.find_root()
    found: dict[str, str] = {}
    for path in _files(root):
        found.setdefault(_job(path), files.relative(path, root))
    return found


def problems(root: Path) -> list[Problem]:
    """Say which files are not used, which of their lines, and what had to be assumed."""
    told = []
    for path in _files(root):
        where = files.relative(path, root)
        try:
            told += _read(path, where)[1]
        except FileNotFoundError:  # removed meanwhile
            continue
        except ScalebookError as error:
            said = str(error).removeprefix(where).lstrip(": ")
            told.append(Problem(where, None, None, said))
    return told


# --------------------------------------------------------------------------- finding


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for name in FOLDERS:
        folder = root / name / _FOLDER
        if folder.is_dir():
            found += sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return found


def _job(path: Path) -> str:
    return _NAME.fullmatch(path.name)["job"]


def _paths(root: Path, job: str) -> list[Path]:
    """Files of a job: its own, and those of single nodes that were not put into it."""
    if "/" in job or job.endswith(".log"):
        path = root / job
        if not path.resolve().is_relative_to(root.resolve()):
            raise UsageError(f"{job}: lies outside the study; give a path below its folder")
        if not path.is_file():
            raise ScalebookError(f"{job}: no such file")
        return [path]
    with contextlib.suppress(ScalebookError):
        job = Stem.parse(job).job_id
    found = [path for path in _files(root) if _job(path) == job]
    if not found:
        raise ScalebookError(
            f"results/{_FOLDER}/gpu_util_{job}.log: no such file; utilisation is recorded in "
            "profiled runs, and where sample_s is set"
        )
    return [path for path in found if path.parent == found[0].parent]


# --------------------------------------------------------------------------- reading


def _read(path: Path, where: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Lines of a file, with ``time_s`` on the file's own clock, and what is wrong with it."""
    return files.unchanged(path, _table, where)


def _table(path: Path, where: str) -> tuple[pd.DataFrame, list[Problem]]:
    text = files.read_bytes(path, where, LIMIT).decode("utf-8-sig", errors="replace")
    lines = parse(text)
    if not lines.rows:
        raise ScalebookError(f"{where}: {lines.why_empty()}")
    frame = pd.DataFrame(lines.rows, columns=list(COLUMNS))
    kinds = dict.fromkeys(("time_s", *METRICS), float) | {"node": "int64", "device": object}
    frame = frame.astype(kinds)
    return frame, [Problem(where, row, None, said, "note") for row, said in _notes(lines)]


def _notes(lines: Lines) -> list[tuple[int | None, str]]:
    notes: list[tuple[int | None, str]] = [(None, note) for note in lines.notes]
    if lines.bad:
        count = len(lines.bad)
        said = "1 line was" if count == 1 else f"{count} lines were"
        notes.append((lines.bad[0], f"{said} left out, this one first: not in its columns"))
    return notes


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Lines of all files of a job in time, each once."""
    frame = pd.concat(tables, ignore_index=True)
    frame["time_s"] -= frame["time_s"].min()
    frame = frame.drop_duplicates()
    return frame.sort_values(["time_s", "node", "device"], kind="stable", ignore_index=True)
