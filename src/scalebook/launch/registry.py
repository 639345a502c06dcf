"""Submit jobs and find them again, whatever launcher they are of."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from scalebook import contract, study
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.job import Choice, Job, job_folder, notes_of_all
from scalebook.launch.local import LocalJob
from scalebook.launch.slurm.job import SlurmJob
from scalebook.launch.watch import in_notebook
from scalebook.train import locking
from scalebook.train.images import finding
from scalebook.train.privacy import clean
from scalebook.train.settings import result_settings

#: Entry points by which other packages add launchers: ``toy = "toy_package:ToyJob"``.
GROUP = "scalebook.launchers"
_OWN: dict[str, type[Job]] = {kind.launcher: kind for kind in (SlurmJob, LocalJob)}


@functools.cache
def launcher(name: str) -> type[Job]:
    """Class of the jobs that are started by the launcher of this name.

    Raises
    ------
    ScalebookError
        If nothing is registered under it, or that is no launcher.
    """
    if name in _OWN:
        return _OWN[name]
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in others:
        there = ", ".join(sorted({*_OWN, *others}))
        raise ScalebookError(f"launcher {name!r}: there is none of that name; there are {there}")
    where = f"launcher {name!r}: {others[name].value}"
    try:
        kind = others[name].load()
    except (ImportError, AttributeError) as error:
        raise ScalebookError(f"{where} cannot be loaded ({error})") from None
    if not (isinstance(kind, type) and issubclass(kind, Job)):
        raise ScalebookError(f"{where} is no class of scalebook.launch.Job")
    kind.launcher = name
    return kind


def launcher_of(loaded: study.Study, system: str) -> type[Job]:
    """Class of the jobs that run on a system of a study.

    Raises
    ------
    UsageError
        If there is no such system, or no such launcher.
    """
    name = loaded.system(system).launcher
    try:
        return launcher(name)
    except ScalebookError as error:
        raise UsageError(f"study.yaml: systems.{system}: {error}") from None


def pick_system(loaded: study.Study, system: str = "auto") -> Choice:
    """Choose the system to use.

    Parameters
    ----------
    loaded : Study
        Where systems are declared.
    system : str
        A name, which is taken as it is; or ``auto``: the Slurm system that stands for the
        cluster whose controller answers here, on a machine without Slurm a local one, else what
        another launcher takes.

    Raises
    ------
    ScalebookError
        If Slurm is set up here and does not answer, or no system stands for its cluster.
    UsageError
        If the study declares none that can be used here.
    """
    if system != "auto":
        return Choice(system, "as asked for")
    for name in dict.fromkeys(
        [*_OWN, *(declared.launcher for declared in loaded.systems.values())]
    ):
        theirs = {
            key: declared for key, declared in loaded.systems.items() if declared.launcher == name
        }
        if found := launcher(name).system_here(theirs):
            return found
    raise UsageError(
        "--system auto: no Slurm on this machine, and study.yaml declares no local system; "
        f"there are {', '.join(loaded.systems)}"
    )


def submit(resolved: dict[str, Any], root: Path | None = None, after: Sequence[Job] = ()) -> Job:
    """Start a job where its system says.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path, optional
        Folder of the study.
    after : sequence of Job
        Jobs that must have ended before, however they ended; for launchers with a queue.

    Raises
    ------
    ScalebookError
        If submitting is forbidden here, or the launcher refuses the job.
    """
    root = root or contract.find_root()
    _refuse_in_a_book_build()
    kind = launcher_of(study.load(root), resolved["system"])
    return kind.submit(with_images(resolved, root), root, after)


def submit_array(
    resolved: Sequence[dict[str, Any]], root: Path, after: Sequence[Job] = ()
) -> Sequence[Job]:
    """Submit runs of one shape as one array, of which one runs at a time."""
    _refuse_in_a_book_build()
    kind = launcher_of(study.load(root), resolved[0]["system"])
    return kind.submit_array([with_images(run, root) for run in resolved], root, after)


def with_images(resolved: dict[str, Any], root: Path) -> dict[str, Any]:
    """What is to be submitted, once its images are there or generated ones have to do.

    Raises
    ------
    ScalebookError
        If it asks by name for images that are not there; says what helps where it is read.
    """
    generated = 'overrides = {"dataset": "synthetic"}' if in_notebook() else finding.FLAG
    return finding.settle(resolved, root, _say, generated)


@functools.cache
def _say(text: str) -> None:
    """Say something of the images, once for all runs of a process."""
    print(f"scalebook: {text}", file=sys.stderr, flush=True)


def resume(job_id: str, root: Path | None = None) -> Job:
    """Start an unsuccessful job again from its last checkpoint."""
    _refuse_in_a_book_build()
    job = find(job_id, root)
    with _alone(job.root):
        state = job.state()
        if not state.finished:
            raise ScalebookError(f"job {job.id} is still {state.value}: nothing to resume")
        return job.resume()


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
        notes = job_folder(root, job_id) / "job.json"
        if notes.is_file():
            return _job(job_id, root, contract.read_json(notes))
    others = jobs(root, damaged=[])  # another job's notes are no hindrance
    same = [job for job in others if numbered and job_id in job.scheduler_ids]
    if len(same) == 1:
        return same[0]
    if same:
        raise UsageError(
            f"job {job_id!r}: {len(same)} runs have that number on their clusters: "
            f"{', '.join(job.id for job in same)}; name one of these"
        )
    newest = f"; the newest are {', '.join(job.id for job in others[-3:])}" if others else ""
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
    found = []
    for path in notes_of_all(root):
        try:
            notes = contract.read_json(path)
            job = _job(path.parent.name, root, notes)
            _ = job.stem
        except (ScalebookError, KeyError) as error:
            line = str(error)
            if isinstance(error, KeyError):
                line = f"job {path.parent.name}: its resolved.json holds no {error}"
            if damaged is None:
                raise ScalebookError(line) from None
            damaged.append(line)
            continue
        # Jobs of one second in the order of their numbers: 9 before 10.
        found.append((notes.get("submitted") or "", len(job.id), job.id, job))
    return [job for *_, job in sorted(found, key=lambda entry: entry[:3])]


def identity(resolved: dict[str, Any], root: Path) -> dict[str, Any]:
    """What decides the numbers of a run, as its manifest keeps it."""
    settings = result_settings(clean(resolved, root))
    return {key: item for key, item in settings.items() if key not in ("schema", "study")}


def _alone(root: Path) -> contextlib.AbstractContextManager[None]:
    """Hold off others that look for a job and then start one, where the file system has locks."""
    return locking.alone(root / ".scalebook" / "starting.lock", "starting a job")


def submit_once(resolved: dict[str, Any], root: Path) -> tuple[Job, bool]:
    """The unfinished job of the same settings, else a new one; and whether it is new."""
    if job := under_way(resolved, root):
        return job, False
    resolved = with_images(resolved, root)  # a download keeps nobody waiting for the lock
    with _alone(root):
        if job := under_way(resolved, root):
            return job, False
        return submit(resolved, root), True


def under_way(resolved: dict[str, Any], root: Path) -> Job | None:
    """Newest unfinished job whose run would have the same numbers; None where there is none.

    Parameters
    ----------
    resolved : dict
        As `scalebook.study.resolve` returns it.
    root : Path
        Folder of the study.
    """
    wanted = identity(resolved, root)
    for job in reversed(jobs(root, damaged=[])):
        try:
            if identity(job.resolved, root) != wanted or job.is_elsewhere():
                continue
            if not job.state().finished:
                return job
        except (ScalebookError, KeyError):  # notes that another version wrote, or half a job
            continue
    return None


def _job(job_id: str, root: Path, notes: dict[str, Any]) -> Job:
    try:
        kind = launcher(str(notes.get("launcher")))
        if missing := [name for name in kind.required if not notes.get(name)]:
            raise ScalebookError(
                f"its job.json holds no {', '.join(missing)}, so nobody can ask for it: move "
                f"{job_folder(root, job_id).relative_to(root)} away"
            )
        return kind(job_id, root)
    except ScalebookError as error:
        raise ScalebookError(f"job {job_id}: {error}") from None


def _refuse_in_a_book_build() -> None:
    if os.environ.get("SCALEBOOK_NO_SUBMIT") == "1":
        raise UsageError(
            "a book build never trains: start jobs with `scalebook run`, `make book`, "
            "or submit=True in the notebook itself"
        )
