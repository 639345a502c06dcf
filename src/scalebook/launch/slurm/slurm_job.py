"""Jobs of Slurm: found again from their notes, told truthfully while they live and after."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.launch.diagnose import diagnose
from scalebook.launch.job import Job, JobState
from scalebook.launch.slurm import commands as commands
from scalebook.launch.slurm import states as states
from scalebook.launch.slurm.commands import Ask
from scalebook.launch.slurm.poller import Poller, shared
from scalebook.launch.slurm.states import Run, Verdict, View

#: How a run's manifest says what Slurm did to it, where the run could not say it itself.
_ENDED = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.TIMEOUT: "timeout",
    JobState.OUT_OF_MEMORY: "killed",
    JobState.NODE_FAIL: "killed",
    JobState.PREEMPTED: "killed",
}
#: How much of the end of an output file is read.
_TAIL_BYTES = 400_000


def slurm_answers() -> bool:
    """Whether a Slurm controller answers on this machine."""
    try:
        shared().cluster_now()
    except ScalebookError:
        return False
    return True


class SlurmJob(Job):
    """A job of Slurm, or one task of an array.

    Parameters
    ----------
    job_id : str
        Id of the run.
    root : Path
        Folder of the study.
    poller : Poller, optional
        The one this process shares where left out.
    ask : callable, optional
        Runs Slurm's commands.
    """

    def __init__(
        self, job_id: str, root: Path, poller: Poller | None = None, ask: Ask = commands.ask
    ) -> None:
        super().__init__(job_id, root)
        self._poller = poller
        self._ask = ask
        self._said: Verdict | None = None
        self._manifest_seen = 0
        if not self._last().settled:
            # All jobs that a program lists are then asked about together.
            self.poller.follow(self.slurm_id)

    @property
    def poller(self) -> Poller:
        """Who asks Slurm; another one after ``SLURM_CONF`` has changed."""
        return self._poller or shared()

    # ----------------------------------------------------------------- notes

    @property
    def notes(self) -> dict[str, Any]:
        """``job.json``; read each time, since resuming in another process changes it."""
        return contract.read_json(self.folder / "job.json")

    @property
    def slurm_id(self) -> str:
        """Slurm's number of the job, with the task of an array: ``17`` or ``17_3``."""
        return str(self.notes["slurm_id"])

    @property
    def slurm_ids(self) -> list[str]:
        """All of its numbers: each time the run was resumed it got another one."""
        return [*(self.notes.get("slurm_ids") or [self.slurm_id])]

    @property
    def cluster(self) -> str | None:
        """``ClusterName`` where it was submitted."""
        return self.notes.get("cluster")

    def _last(self) -> Verdict:
        """The answer of an earlier look, perhaps in another process."""
        if self._said is None:
            self._said = Verdict(JobState.PENDING)
            with contextlib.suppress(ScalebookError, KeyError):
                kept = contract.read_json(self.folder / "state.json")
                if kept["slurm_id"] == self.slurm_id:
                    self._said = Verdict(JobState[kept["state"]], kept["reason"], kept["settled"])
        return self._said

    def _keep(self, verdict: Verdict) -> None:
        """Remember an answer for later processes, where the study can be written to."""
        last, self._said = self._last(), verdict
        same = (verdict.state, verdict.settled) == (last.state, last.settled)
        if same and _cause(verdict) == _cause(last):
            return
        with contextlib.suppress(OSError):
            contract.write_json(
                self.folder / "state.json",
                {
                    "slurm_id": self.slurm_id,
                    "state": verdict.state.name,
                    "reason": verdict.reason,
                    "settled": verdict.settled,
                    "seen": contract.utc_now(),
                },
            )

    # ----------------------------------------------------------------- the interface

    def state(self) -> JobState:
        """Ask what the job is doing."""
        return self._verdict().state

    def reason(self) -> str:
        """Why it waits, or why it ended as it did."""
        return self._verdict().reason

    def logs(self, lines: int = 40) -> str:
        """Last lines of what all ranks printed."""
        return "\n".join(self._output().splitlines()[-lines:])

    def cancel(self) -> None:
        """Ask Slurm to end every rank; they get some seconds to write a checkpoint."""
        if self.state().finished:
            return
        try:
            self._ask(commands.scancel(self.slurm_id))
        except commands.UnknownJob:
            pass
        except commands.ControllerAway as error:
            raise ScalebookError(
                f"job {self.id} cannot be cancelled now: {error}; try again"
            ) from None
        self.poller.expect_change(at_once=True)

    # ----------------------------------------------------------------- its state

    def _verdict(self) -> Verdict:
        last = self._last()
        if last.settled:
            return last
        self._hasten()
        view = self.poller.look(self.slurm_id, self.cluster)
        run = Run() if states.alive(view) else self._run(view)
        verdict = states.judge(view, run, self._submitted(), dt.datetime.now().astimezone(), last)
        if verdict.settled:
            verdict = self._settle(verdict, run)
        elif verdict.state.finished and verdict.state is not last.state:
            self.poller.expect_change()
        self._keep(verdict)
        return verdict

    def _hasten(self) -> None:
        """Ask again soon after the run wrote its manifest: it starts or ends then."""
        files = self.files()
        if files is None:
            return
        with contextlib.suppress(OSError):
            changed = files.manifest.stat().st_mtime_ns
            if changed != self._manifest_seen:
                self._manifest_seen = changed
                self.poller.expect_change()

    def _run(self, view: View) -> Run:
        """What the manifest says of the last attempt, if this job of Slurm made it."""
        files = self.files()
        try:
            attempts = contract.read_json(files.manifest).get("attempts") if files else None
        except ScalebookError:
            attempts = None
        if not attempts:
            return Run()
        if not self._made(attempts[-1], view):
            return Run()
        return Run(attempts[-1].get("ended"), attempts[-1].get("reason") or "")

    def _made(self, attempt: dict[str, Any], view: View) -> bool:
        """Whether an attempt that a manifest holds is the last one of this job of Slurm."""
        scheduler = attempt.get("scheduler") or {}
        number = scheduler.get("job_id")
        ours = {self.slurm_id, *(past.raw for past in view.attempts)}
        if view.queued:
            ours.add(view.queued.raw)
        # Of a task whose own number nobody knows any more, the number of the task must do.
        task = self.slurm_id.partition("_")[2]
        same_task = bool(task) and scheduler.get("array_task") == task
        if number is not None and number not in ours and not same_task:
            return False
        # A run that had completed when its job was requeued finds nothing to continue.
        if attempt.get("ended") == "completed":
            return True
        # A requeued job keeps its number; its last attempt may have ended before training began.
        restarts = len(view.attempts) - 1 if view.attempts else 0
        if view.shown:
            restarts = max(restarts, view.shown.restarts)
        return int(scheduler.get("restart_count") or 0) >= restarts

    def _settle(self, verdict: Verdict, run: Run) -> Verdict:
        """The last word: close the run's manifest where the run could not, add what to do."""
        self.poller.forget(self.slurm_id)
        if verdict.state is JobState.COMPLETED:
            return verdict
        files = self.files()
        if files is not None and run.ended is None:
            with contextlib.suppress(OSError, ScalebookError):
                contract.close_attempt(files.manifest, _ENDED[verdict.state], verdict.reason)
        known = diagnose(self._output(), verdict.state)
        # The run's own line names what to do itself.
        if known is None or (run.reason and run.reason in verdict.reason):
            return verdict
        # Of the other ends the state says the cause.
        cause = f"{known.cause}: " if verdict.state is JobState.FAILED else ""
        advice = known.advice.replace("--resume JOB", f"--resume {self.id}")
        told = "; ".join(part for part in (verdict.reason, cause + advice) if part)
        return Verdict(verdict.state, told, settled=True)

    def _submitted(self) -> dt.datetime:
        """When it was submitted; long ago where that is not known."""
        said = str(self.notes.get("submitted"))
        try:
            naive = dt.datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            return dt.datetime.fromtimestamp(0, dt.timezone.utc)
        return naive.replace(tzinfo=dt.timezone.utc)

    def _output(self) -> str:
        """The end of the job's output file; empty where there is none yet."""
        output = self.notes.get("output")
        if not output:
            return ""
        try:
            with open(self.root / output, "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _cause(verdict: Verdict) -> str:
    """A reason without the expected start, which Slurm reckons anew all the time."""
    return verdict.reason.partition(";")[0]
