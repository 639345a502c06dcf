"""The one interface to a submitted job, wherever it runs."""

from __future__ import annotations

import csv
import enum
import functools
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError, Stem


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


#: A kernel's own wishes about drawing and logging, which are not the job's.
KERNEL_VARIABLES = (
    "SCALEBOOK_QUERY_LOG",
    "MPLBACKEND",
    "IPYTHONDIR",
    "JUPYTER_RUNTIME_DIR",
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
)


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    Attributes
    ----------
    phase : str
        ``"waiting"``, ``"data"``, ``"train"``, ``"validate"`` or ``"done"``.
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
    """

    phase: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    images_per_s: float | None = None
    val_acc: float | None = None
    remaining_s: float | None = None

    @property
    def fraction(self) -> float:
        """Share of all training steps that are done, 0 to 1."""
        if self.phase == "done":
            return 1.0
        if not self.epochs or not self.epoch:
            return 0.0
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.epoch - 1 + within) / self.epochs)


class Job(ABC):
    """A submitted job. It outlives the process that submitted it; `find` finds it again.

    Attributes
    ----------
    id : str
        Slurm's job id, or a time-based one.
    root : Path
        Folder of the study.
    """

    def __init__(self, job_id: str, root: Path) -> None:
        self.id = job_id
        self.root = root

    @property
    def folder(self) -> Path:
        """Private notes about the job, never committed."""
        return job_folder(self.root, self.id)

    @functools.cached_property
    def resolved(self) -> dict:
        """What was submitted; it does not change, and is asked for at every look."""
        return contract.read_json(self.folder / "resolved.json")

    @property
    def stem(self) -> Stem:
        """Name of the run's files."""
        resolved = self.resolved
        layout = resolved["layout"]
        return Stem(resolved["experiment"], self.id, layout["world_size"], layout["device"])

    def files(self) -> RunFiles | None:
        """The run's files, or None until the training process has decided where they go."""
        return contract.locate(self.root, str(self.stem))

    @abstractmethod
    def state(self) -> JobState:
        """Ask what the job is doing."""

    @abstractmethod
    def reason(self) -> str:
        """Why it is in that state, in one line; empty where there is nothing to say."""

    @abstractmethod
    def logs(self, lines: int = 40) -> str:
        """Last lines of what the job printed."""

    @abstractmethod
    def cancel(self) -> None:
        """End every rank. Does nothing to a finished job."""

    def progress(self) -> Progress:
        """How far it has come, as its first rank wrote it about half a second ago.

        Where that file does not come back from the node, the CSV tells, an epoch at a time.
        """
        try:
            said = contract.read_json(self.folder / "progress.json")
        except ScalebookError:
            return self._progress_from_csv()
        progress = Progress(
            phase=str(said.get("phase") or "waiting"),
            epoch=int(said.get("epoch") or 0),
            epochs=int(said.get("epochs") or 0),
            step=int(said.get("step") or 0),
            steps=int(said.get("steps") or 0),
            images_per_s=said.get("images_per_s"),
            val_acc=said.get("val_acc"),
        )
        if not progress.images_per_s or not progress.steps:
            return progress
        steps_left = (1 - progress.fraction) * progress.epochs * progress.steps
        remaining = steps_left * self.resolved["global_batch"] / progress.images_per_s
        return replace(progress, remaining_s=remaining)

    def _progress_from_csv(self) -> Progress:
        epochs = self.resolved["training"]["epochs"]
        files = self.files()
        try:
            text = files.csv.read_text(encoding="utf-8") if files else ""
            # The last line may be half written.
            whole = text[: text.rfind("\n") + 1].splitlines()
            last = list(csv.DictReader(whole))[-1]
            epoch = int(last["epoch"])
            return Progress(
                phase="done" if epoch >= epochs else "train",
                epoch=min(epoch + 1, epochs),
                epochs=epochs,
                images_per_s=float(last["throughput"]),
                val_acc=float(last["val_acc"]),
                remaining_s=(epochs - epoch) * float(last["epoch_time_s"]),
            )
        except (OSError, IndexError, KeyError, TypeError, ValueError):
            return Progress(epochs=epochs)

    def wait(self, timeout_s: float | None = None, poll_s: float = 0.3) -> JobState:
        """Block until the job has finished.

        Raises
        ------
        TimeoutError
            If it has not after `timeout_s` seconds; the job goes on.
        """
        start = time.monotonic()
        while not (state := self.state()).finished:
            if timeout_s is not None and time.monotonic() - start > timeout_s:
                raise TimeoutError(f"job {self.id} is still {state.value} after {timeout_s:g} s")
            time.sleep(poll_s)
        return state

    def collect(self) -> Stem:
        """Check the files of a completed job, as `scalebook.launch.collect` does.

        Raises
        ------
        ScalebookError
            If the job is not completed, or its files are missing or damaged.
        """
        from scalebook.launch.collecting import collect

        collect(self)
        return self.stem


def job_folder(root: Path, job_id: str) -> Path:
    """Folder of the private notes about one job.

    Raises
    ------
    UsageError
        If `job_id` has characters that no job id has.
    """
    Stem("job", job_id, 1, "cpu")
    return root / ".scalebook" / "jobs" / job_id
