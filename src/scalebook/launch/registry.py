"""Submit jobs and find them again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch import local
from scalebook.launch.job import Job, job_folder
from scalebook.launch.slurm import submit as slurm_submit
from scalebook.launch.slurm.poller import shared
from scalebook.launch.slurm.slurm_job import SlurmJob
from scalebook.launch.store import system_of


def pick_system(loaded: study.Study, system: str = "auto") -> str:
    """Name of the system to use.

    Parameters
    ----------
    loaded : Study
        Where systems are declared.
    system : str
        A name, which is taken as it is; or ``auto``: the Slurm system that stands for the
        cluster whose controller answers here, else a local one.

    Raises
    ------
    UsageError
        If the study declares none that can be used here.
    """
    if system != "auto":
        return system
    try:
        named = system_of(loaded, shared().cluster_now())
    except ScalebookError:
        named = None
    here = [name for name, one in loaded.systems.items() if one.launcher == "local"]
    if named or here:
        return named or here[0]
    raise UsageError(
        "--system auto: no Slurm controller that a system stands for answers here, and study.yaml "
        f"declares no local system; there are {', '.join(loaded.systems)}"
    )


def submit(resolved: dict, root: Path | None = None, after: Sequence[str] = ()) -> Job:
    """Start a job where its system says.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path, optional
        Folder of the study.
    after : sequence of str
        Slurm's numbers of jobs that must have ended before, however they ended.

    Raises
    ------
    ScalebookError
        If submitting is forbidden here, or Slurm refuses the job.
    """
    root = root or contract.find_root()
    _refuse_in_a_book_build()
    if study.load(root).system(resolved["system"]).launcher == "slurm":
        return slurm_submit.submit(resolved, root, after)
    return local.submit(resolved, root)


def submit_array(
    resolved: Sequence[dict], root: Path, after: Sequence[Job] = (), limit: int = 1
) -> list[SlurmJob]:
    """Submit runs of one shape as one array of Slurm; see `slurm_submit.submit_array`."""
    _refuse_in_a_book_build()
    return slurm_submit.submit_array(resolved, root, after, limit)


def find(job_id: str, root: Path | None = None) -> Job:
    """Find a submitted job by its id, from any process.

    Parameters
    ----------
    job_id : str
        Id of the run; or Slurm's number of the job (``17``, ``17_3``) where one job alone has it.
    root : Path, optional
        Folder of the study.

    Raises
    ------
    ScalebookError
        If there is none of that id.
    """
    root = root or contract.find_root()
    numbered = job_id.replace("_", "", 1).isdigit()
    if "_" not in job_id or not numbered:
        folder = job_folder(root, job_id)
        if (folder / "job.json").is_file():
            return _job(folder, root)
    known = jobs(root, damaged=[])  # another job's notes are no hindrance
    same = [
        job for job in known if numbered and isinstance(job, SlurmJob) and job_id in job.slurm_ids
    ]
    if len(same) == 1:
        return same[0]
    if same:
        raise UsageError(
            f"job {job_id!r}: {len(same)} runs have that number on their clusters: "
            f"{', '.join(job.id for job in same)}; name one of these"
        )
    newest = f"; the newest are {', '.join(job.id for job in known[-3:])}" if known else ""
    raise ScalebookError(f"no job {job_id!r} was submitted from this study{newest}")


def jobs(root: Path | None = None, damaged: list[str] | None = None) -> list[Job]:
    """Every job submitted from this study, oldest first.

    Parameters
    ----------
    root : Path, optional
        Folder of the study.
    damaged : list of str, optional
        Takes a line for each job whose notes cannot be read, and the others are returned.

    Raises
    ------
    ScalebookError
        If the notes of a job cannot be read, and `damaged` was not given.
    """
    root = root or contract.find_root()
    known = []
    for path in sorted((root / ".scalebook" / "jobs").glob("*/job.json")):
        try:
            submitted = contract.read_json(path).get("submitted") or ""
        except ScalebookError as error:
            if damaged is None:
                raise
            damaged.append(str(error))
            continue
        # Jobs of one second in the order of their numbers: 9 before 10.
        numbers = [int(part) for part in re.findall(r"\d+", path.parent.name)]
        known.append((submitted, numbers, path.parent.name, path.parent))
    return [_job(folder, root) for *_, folder in sorted(known)]


def resume(job_id: str, root: Path | None = None) -> Job:
    """Start an unsuccessful job again from its last checkpoint."""
    _refuse_in_a_book_build()
    job = find(job_id, root)
    return slurm_submit.resume(job) if isinstance(job, SlurmJob) else local.resume(job)


def _job(folder: Path, root: Path) -> Job:
    launcher = contract.read_json(folder / "job.json").get("launcher")
    return SlurmJob(folder.name, root) if launcher == "slurm" else local.LocalJob(folder.name, root)


def _refuse_in_a_book_build() -> None:
    if os.environ.get("SCALEBOOK_NO_SUBMIT") == "1":
        raise UsageError(
            "a book build never trains: start jobs with `scalebook run`, `make book`, "
            "or submit=True in the notebook itself"
        )
