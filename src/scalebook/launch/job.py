"""The one interface to jobs. A launcher is a class of jobs, found by its entry point."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import functools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem, UsageError
from scalebook.launch.waiting import looks
from scalebook.study import System

#: How much of the end of an output file is read.
_TAIL_BYTES = 400_000


class JobState(enum.Enum):
    """What a job is doing, in Slurm's words where Slurm has one."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAIL = "node lost"
    PREEMPTED = "preempted"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED)

    @property
    def end(self) -> str:
        """How a manifest says that an attempt ended so; one of `contract.ENDED`."""
        name = self.name.lower()
        return name if name in contract.ENDED else "killed"


#: State of a job whose run ended so, as its manifest has it.
STATE_OF_END = {end: JobState[state.upper()] for end, state in contract.ENDED.items()}


def after_completion(reason: str) -> str:
    """Reason of a job that something ended when its run had completed."""
    return f"{reason}, after its training had completed"


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    Attributes
    ----------
    phase : str
        ``"waiting"``, ``"data"``, ``"all-reduce"``, ``"train"``, ``"validate"`` or ``"done"``.
    epoch, epochs : int
        Epoch at work, from 1 (0 before the first), and how many there will be.
    step, steps : int
        Steps done of this epoch, and how many it has.
    images_per_s : float or None
        Throughput over all ranks.
    val_acc : float or None
        Newest validation accuracy in percent.
    remaining_s : float or None
        Seconds of training still to go at this throughput.
    silent_s : float or None
        Seconds since the run wrote this; None where it is not known.
    """

    phase: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    images_per_s: float | None = None
    val_acc: float | None = None
    remaining_s: float | None = None
    silent_s: float | None = None

    @property
    def fraction(self) -> float:
        """Share of all training steps that are done, 0 to 1."""
        if self.phase == "done":
            return 1.0
        if not self.epochs or not self.epoch:
            return 0.0
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.epoch - 1 + within) / self.epochs)


@dataclass(frozen=True)
class Choice:
    """A system to start jobs on, and why this one."""

    system: str
    reason: str

    def __str__(self) -> str:
        return f"system {self.system} ({self.reason})"


class Job(ABC):
    """A submitted job. It outlives the process that submitted it; `find` finds it again.

    A launcher is a subclass that starts jobs in a way of its own. An entry point of the group
    ``scalebook.launchers`` gives it the name by which systems of ``study.yaml`` ask for it. What
    it has to remember of a job lies in the job's folder: `new_folder` and `write_notes` begin it.
    ``SCALEBOOK_PROGRESS`` has to name the ``progress.json`` there to the training process, which
    writes into it how far it is.

    Attributes
    ----------
    id : str
        A scheduler's job id, or a time-based one.
    root : Path
        Folder of the study.
    """

    #: Name of the launcher; that of its entry point.
    launcher: ClassVar[str] = ""
    #: Whether a job waits in a queue, so that many are submitted at once, each after another.
    queues: ClassVar[bool] = False
    #: Facts of `write_notes` without which nobody can ask for a job.
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, job_id: str, root: Path) -> None:
        self.id = job_id
        self.root = root

    # ----------------------------------------------------------------- what a launcher does

    @classmethod
    @abstractmethod
    def submit(cls, resolved: dict[str, Any], root: Path, after: Sequence[Job] = ()) -> Job:
        """Start a job, or queue it, and return at once.

        Parameters
        ----------
        resolved : dict
            As `scalebook.study.resolve` returns it.
        root : Path
            Folder of the study.
        after : sequence of Job
            Jobs that must have ended before, however they ended; empty unless it `queues`.

        Raises
        ------
        ScalebookError
            If there is no job, in one line; nothing is left behind then.
        """

    @abstractmethod
    def resume(self) -> Job:
        """Start a job that ended without success again, from its last checkpoint."""

    @abstractmethod
    def state(self) -> JobState:
        """Ask what the job is doing."""

    @property
    def settled(self) -> bool:
        """Whether a state that is finished will stay, unless the job is resumed."""
        return True

    @abstractmethod
    def reason(self) -> str:
        """Why it is in that state, in one line; empty where there is nothing to say."""

    @abstractmethod
    def cancel(self) -> None:
        """End every rank. Does nothing to a finished job."""

    # ----------------------------------------------------------------- what it may do besides

    @classmethod
    def system_here(cls, systems: Mapping[str, System]) -> Choice | None:
        """The system that this machine can start jobs on, or None.

        Parameters
        ----------
        systems : mapping of str to System
            Those of the study that ask for this launcher.

        Raises
        ------
        ScalebookError
            If jobs belong to this launcher here, and cannot be started now.
        """
        return None

    @classmethod
    def submit_array(
        cls, resolved: Sequence[dict[str, Any]], root: Path, after: Sequence[Job] = ()
    ) -> Sequence[Job]:
        """Submit runs of one shape as one array of jobs, of which one runs at a time."""
        raise UsageError("--arrays: only a Slurm system has job arrays")

    @property
    def output(self) -> Path | None:
        """File that all ranks print to; None where it is not known."""
        return self.folder / "output.log"

    @property
    def scheduler_ids(self) -> list[str]:
        """Numbers that its scheduler gave it, by which it is found as well."""
        return []

    def is_elsewhere(self) -> bool:
        """Whether it was submitted where this machine cannot ask any more, such as a cluster."""
        return False

    def keep_accounting(self) -> str:
        """Put what a scheduler counted beside the results; a line where there is none to keep."""
        return ""

    def close(self) -> None:
        """Note that a job has ended whose scheduler is gone for good and ends nothing any more."""
        raise UsageError(f"--gone: job {self.id} has no scheduler: scalebook cancel {self.id}")

    # ----------------------------------------------------------------- its notes

    @property
    def folder(self) -> Path:
        """Private notes about the job, never committed."""
        return job_folder(self.root, self.id)

    @classmethod
    def new_folder(cls, resolved: dict[str, Any], root: Path) -> Path:
        """Make the folder of a job that no scheduler numbers; its name is the job's id."""
        folder = job_folder(root, contract.new_job_id())
        folder.mkdir(parents=True)
        contract.write_json(folder / "resolved.json", resolved)
        return folder

    @classmethod
    def write_notes(cls, folder: Path, submitted: str | None, **facts: object) -> None:
        """Note a job, so that `find` finds it.

        Parameters
        ----------
        folder : Path
            The job's, which holds ``resolved.json`` already.
        submitted : str or None
            When it was submitted, in UTC; None where it is not known.
        **facts
            What the launcher has to remember; JSON values.
        """
        notes = {"id": folder.name, "launcher": cls.launcher, "submitted": submitted, **facts}
        contract.write_json(folder / "job.json", notes)

    @property
    def notes(self) -> dict[str, Any]:
        """``job.json``; read each time, since resuming in another process changes it."""
        return contract.read_json(self.folder / "job.json")

    @property
    def submitted(self) -> dt.datetime:
        """When it was submitted; long ago where that is not known."""
        try:
            moment = dt.datetime.strptime(str(self.notes.get("submitted")), "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            moment = dt.datetime(1970, 1, 1)
        return moment.replace(tzinfo=dt.timezone.utc)

    def forget_end(self) -> None:
        """Remove what was noted about the attempt before; called when it is resumed."""
        for stale in ("state.json", "progress.json"):
            (self.folder / stale).unlink(missing_ok=True)

    @functools.cached_property
    def resolved(self) -> dict[str, Any]:
        """What was submitted; it does not change, and is asked for at every look."""
        return contract.read_json(self.folder / "resolved.json")

    # ----------------------------------------------------------------- its run

    @property
    def stem(self) -> Stem:
        """Name of the run's files."""
        resolved = self.resolved
        layout = resolved["layout"]
        return Stem(resolved["experiment"], self.id, layout["world_size"], layout["device"])

    @property
    def images_note(self) -> str:
        """What whoever follows it has to know of its images; empty where they are as asked for."""
        why = self.resolved["dataset"].get("generated")
        return f"generated images, whose accuracies mean nothing: {why}" if why else ""

    def files(self) -> RunFiles | None:
        """The run's files, or None until the training process has decided where they go."""
        return contract.locate(self.root, str(self.stem))

    def last_attempt(self) -> dict[str, Any]:
        """Newest attempt in the run's own manifest; empty where there is none."""
        files = self.files()
        try:
            attempts = contract.attempts_of(contract.read_json(files.manifest)) if files else []
        except ScalebookError:
            return {}
        return attempts[-1] if attempts else {}

    def close_manifest(self, ended: str, reason: str) -> bool:
        """Say in the run's manifest how its open attempt ended, where the run could not.

        Returns
        -------
        bool
            False where it cannot be written, as on a full disk: whoever looks next tries again.
        """
        files = self.files()
        try:
            if files is not None:
                with contextlib.suppress(ScalebookError):  # a damaged one
                    contract.close_attempt(files.manifest, ended, reason)
        except OSError:
            return False
        return True

    def printed(self) -> str:
        """The end of what all ranks printed; empty where there is nothing yet."""
        if self.output is None:
            return ""
        try:
            with open(self.output, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def logs(self, lines: int = 40) -> str:
        """Last lines of what all ranks printed; of a cancelled job a line says that it was."""
        printed = self.printed().splitlines()[-lines:]
        state = self.state()
        if state == JobState.CANCELLED or (state.finished and not printed):
            reason = self.reason()
            why = f" ({reason})" if reason and reason != state.value else ""
            early = "" if printed else ", before it printed anything"
            printed.append(f"scalebook: job {self.id} ended {state.value}{early}{why}")
        return "\n".join(printed)

    def progress(self) -> Progress:
        """How far it has come, as its first rank wrote it about half a second ago."""
        path = self.folder / "progress.json"
        try:
            written = contract.read_json(path)
            silent_s = max(0.0, time.time() - path.stat().st_mtime)
        except (ScalebookError, OSError):
            return Progress(epochs=self.resolved["training"]["epochs"])
        names = ("phase", "epoch", "epochs", "step", "steps", "images_per_s", "val_acc")
        known = {name: written[name] for name in names if written.get(name) is not None}
        progress = Progress(**known, silent_s=silent_s)
        if not progress.images_per_s or not progress.steps:
            return progress
        steps_left = (1 - progress.fraction) * progress.epochs * progress.steps
        remaining = steps_left * self.resolved["global_batch"] / progress.images_per_s
        return replace(progress, remaining_s=remaining)

    def wait(
        self,
        timeout_s: float | None = None,
        poll_s: float = 0.3,
        on_look: Callable[[JobState], None] | None = None,
    ) -> JobState:
        """Block until the job has finished.

        Parameters
        ----------
        timeout_s : float, optional
            Longest to wait.
        poll_s : float
            Seconds between two looks.
        on_look : callable, optional
            Called with the state after each look.

        Raises
        ------
        TimeoutError
            If it has not finished in time; the job goes on.
        """
        for _ in looks(poll_s, timeout_s=timeout_s):
            state = self.state()
            if on_look is not None:
                on_look(state)
            if state.finished:
                return state
        raise TimeoutError(f"job {self.id} is still {state.value} after {timeout_s:g} s")


_JOBS = Path(".scalebook", "jobs")


def job_folder(root: Path, job_id: str) -> Path:
    """Folder of the private notes about one job.

    Raises
    ------
    UsageError
        If `job_id` has characters that no job id has.
    """
    Stem("job", job_id, 1, "cpu")
    return root / _JOBS / job_id


def notes_of_all(root: Path) -> list[Path]:
    """File of notes of every job that was submitted from the study, by its id."""
    return sorted((root / _JOBS).glob("*/job.json"))
