"""A study's jobs as the rows of one table: in a terminal, in a notebook, for a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.launch.job import Job, notes_of_all
from scalebook.launch.registry import jobs
from scalebook.launch.watch import clock, glance
from scalebook.train.privacy import printable

#: Columns of the table as it is shown.
HEADERS = (
    "job", "experiment", "system", "state", "progress", "images/s", "accuracy (%)", "left",
    "reason",
)  # fmt: skip


@dataclass(frozen=True)
class JobRow:
    """One job at one moment.

    Attributes
    ----------
    job, experiment, system : str
        Its id, and what runs where.
    state : str
        Its state in words.
    progress : str
        How far it is, such as ``epoch 3/40``.
    fraction : float
        Share of all training steps that are done, 0 to 1.
    images_per_s, val_acc, remaining_s : float or None
        As in `scalebook.launch.Progress`, where it still holds.
    reason : str
        Why it is in that state; empty where there is nothing to say.
    finished : bool
        Whether nothing more will happen to it.
    """

    job: str
    experiment: str
    system: str
    state: str
    progress: str
    fraction: float
    images_per_s: float | None
    val_acc: float | None
    remaining_s: float | None
    reason: str
    finished: bool

    @classmethod
    def of(cls, job: Job) -> JobRow:
        """Look at a job."""
        state, progress = job.state(), job.progress()
        (where, seen), reason = glance(progress, state), job.reason()
        return cls(
            job.id,
            str(job.resolved["experiment"]),
            str(job.resolved["system"]),
            state.value,
            where,
            0.0 if state is state.PENDING else round(progress.fraction, 4),
            seen.images_per_s or None,
            seen.val_acc,
            seen.remaining_s,
            "" if reason == state.value else reason,
            state.finished,
        )

    def cells(self) -> dict[str, str]:
        """What a table shows, by header; empty where there is nothing to say."""
        rate, accuracy, left = self.images_per_s, self.val_acc, self.remaining_s
        texts = (
            self.job,
            self.experiment,
            self.system,
            self.state,
            self.progress,
            "" if rate is None else f"{rate:,.0f}",
            "" if accuracy is None else f"{accuracy:.1f}",
            "" if left is None else clock(left),
            self.reason,
        )
        return {header: printable(text) for header, text in zip(HEADERS, texts)}


class JobTable:
    """The jobs of a study, looked at again and again; what is settled is asked for only once.

    Parameters
    ----------
    only : Job, optional
        Show this job alone.

    Attributes
    ----------
    root : Path
        Folder of the study.
    damaged : list of str
        A line for each job whose notes cannot be read.
    """

    def __init__(self, only: Job | None = None) -> None:
        self.root = only.root if only else contract.find_root()
        self._only = only
        self._found: list[Job] = [only] if only else []
        self._seen: object = None
        self._ended: dict[str, tuple[object, JobRow]] = {}
        self.damaged: list[str] = []

    def rows(self) -> list[JobRow]:
        """Look at every job, oldest first."""
        paths = [self._only.folder / "job.json"] if self._only else notes_of_all(self.root)
        notes = {path.parent.name: version(path) for path in paths}
        if self._only is None and notes != self._seen:
            self.damaged = []
            self._found, self._seen = jobs(self.root, self.damaged), notes
        return [row for job in self._found if (row := self._row(job, notes.get(job.id)))]

    def _row(self, job: Job, changed: object) -> JobRow | None:
        before = self._ended.get(job.id)
        if before and before[0] == changed:
            return before[1]
        try:
            row = JobRow.of(job)
        except (ScalebookError, KeyError) as error:
            line = f"job {job.id}: {error}"
            self.damaged += [line] if line not in self.damaged else []
            return None
        if row.finished and job.settled:
            self._ended[job.id] = changed, row
        return row


def version(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, which change with its content; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
