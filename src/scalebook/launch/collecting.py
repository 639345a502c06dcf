"""Collecting what a finished job left: checked, with its scheduler's accounting beside it."""

from __future__ import annotations

from dataclasses import dataclass

from scalebook.contract import RunFiles, ScalebookError
from scalebook.launch.job import Job, JobState


@dataclass(frozen=True)
class Collected:
    """A completed run whose files are whole.

    Attributes
    ----------
    files : RunFiles
        Where they lie.
    note : str
        What is not there and why, or that nothing was timed; empty where all is well.
    """

    files: RunFiles
    note: str = ""


def collect(job: Job) -> Collected:
    """Check the files of a completed job, and put the accounting of its scheduler beside them.

    The training process itself wrote them into ``results/``. Calling it again changes nothing.
    The accounting of a job that failed is kept too.

    Raises
    ------
    ScalebookError
        If the job is not completed, or its files are missing or damaged; one line.
    """
    state = job.state()
    if not state.finished:
        raise ScalebookError(
            f"job {job.id} is still {state.value}; follow it with: scalebook watch {job.id}"
        )
    files = job.files()
    accounted = job.keep_accounting() if files is not None else ""
    if state is not JobState.COMPLETED:
        reason = job.reason()
        because = f": {reason}" if reason and reason != state.value else ""
        raise ScalebookError(f"job {job.id} {state.value}{because}; see: scalebook logs {job.id}")
    if files is None:
        raise ScalebookError(
            f"job {job.id} completed but left no {job.stem}.csv under results/; "
            f"see: scalebook logs {job.id}"
        )
    # A compute node that resolves its own job has no pandas.
    from scalebook.launch.checking import check_run, untimed

    epochs = check_run(files, files.results.relative_to(job.root).as_posix())
    notes = [accounted, untimed(files.stem, epochs, job.resolved["training"])]
    return Collected(files, "; ".join(filter(None, notes)))
