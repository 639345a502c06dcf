"""Submit jobs and find them again."""

from __future__ import annotations

import os
from pathlib import Path

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import local
from scalebook.launch.job import Job, job_folder


def submit(resolved: dict, root: Path | None = None) -> Job:
    """Start a job where its system says.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path, optional
        Folder of the study.

    Raises
    ------
    UsageError
        If submitting is forbidden here, or the system's launcher is not on this machine.
    """
    root = root or contract.find_root()
    if os.environ.get("SCALEBOOK_NO_SUBMIT") == "1":
        raise UsageError(
            "a book build never trains: start jobs with `scalebook run`, `make book`, "
            "or submit=True in the notebook itself"
        )
    launcher = study.load(root).system(resolved["system"]).launcher
    if launcher != "local":
        raise UsageError(
            f"system {resolved['system']} is launched by {launcher}, which this version cannot "
            "submit to yet; use --system local"
        )
    return local.submit(resolved, root)


def find(job_id: str, root: Path | None = None) -> Job:
    """Find a submitted job by its id, from any process.

    Raises
    ------
    ScalebookError
        If there is none of that id.
    """
    root = root or contract.find_root()
    folder = job_folder(root, job_id)
    if not (folder / "job.json").is_file():
        known = [job.id for job in jobs(root)][-3:]
        newest = f"; the newest are {', '.join(known)}" if known else ""
        raise ScalebookError(f"no job {job_id!r} was submitted from this study{newest}")
    return local.LocalJob(job_id, root)


def jobs(root: Path | None = None) -> list[Job]:
    """Every job submitted from this study, oldest first."""
    root = root or contract.find_root()
    folder = root / ".scalebook" / "jobs"
    known = sorted(path.parent for path in folder.glob("*/job.json"))
    return [local.LocalJob(path.name, root) for path in known]


def resume(job_id: str, root: Path | None = None) -> Job:
    """Start an unsuccessful job again from its last checkpoint."""
    return local.resume(find(job_id, root))
