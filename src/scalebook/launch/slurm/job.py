"""Jobs of Slurm: found again from their notes, their state true while they live and after."""

from __future__ import annotations

import contextlib
import datetime as dt
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.diagnose import diagnose, failure_line
from scalebook.launch.job import Choice, Job, JobState, job_folder
from scalebook.launch.slurm import accounting, commands, states
from scalebook.launch.slurm.poller import Poller, shared
from scalebook.launch.slurm.states import Run, Verdict, View
from scalebook.launch.slurm.submit import Submission, submit
from scalebook.study import System

#: A run that wrote its progress within so many seconds is alive, whoever answers.
LIVELY_S = 60.0


def system_of(systems: Mapping[str, System], cluster: str | None) -> str | None:
    """System of a study that stands for a Slurm cluster.

    The one whose `cluster` pattern matches, else the first Slurm system without a pattern.
    """
    slurm = {
        name: system for name, system in systems.items() if system.launcher == SlurmJob.launcher
    }
    for name, system in slurm.items():
        if system.cluster and fnmatch.fnmatchcase(cluster or "", system.cluster):
            return name
    return next((name for name, system in slurm.items() if not system.cluster), None)


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
    """

    launcher = "slurm"
    required = ("slurm_id",)
    queues = True

    def __init__(self, job_id: str, root: Path, poller: Poller | None = None) -> None:
        super().__init__(job_id, root)
        self._poller = poller
        self._manifest_seen = 0
        self._unkept: dict[str, Verdict] = {}  # by Slurm's number, where it cannot be written
        if not self._last().settled:
            if not self.slurm_id.replace("_", "", 1).isdigit():  # Slurm would answer about none
                raise ScalebookError(f"its job.json holds slurm_id {self.slurm_id!r}, no number")
            # All jobs that a program lists are then asked about together.
            self.poller.follow(self.slurm_id)

    @property
    def poller(self) -> Poller:
        """Who asks Slurm; another one after ``SLURM_CONF`` has changed."""
        return self._poller or shared()

    # ----------------------------------------------------------------- submitting

    @classmethod
    def system_here(cls, systems: Mapping[str, System]) -> Choice | None:
        """The one that stands for the cluster whose controller answers.

        Where a cluster is set up, this may be its login node: nothing trains here unasked.
        """
        remedy = "or name a system (--system local trains right here)"
        try:
            cluster = shared().cluster_now()
        except commands.NotInstalled:
            return None
        except ScalebookError as error:
            raise ScalebookError(
                f"--system auto: Slurm is set up on this machine, but does not answer ({error}): "
                f"try again, {remedy}"
            ) from None
        if system := system_of(systems, cluster):
            return Choice(system, f"Slurm's cluster {cluster} answers")
        raise ScalebookError(
            f"--system auto: Slurm's cluster {cluster} answers here, and no system of study.yaml "
            f"stands for it: add one with launcher: slurm, {remedy}"
        )

    @classmethod
    def submit(cls, resolved: dict[str, Any], root: Path, after: Sequence[Job] = ()) -> SlurmJob:
        """Submit the experiment's script by ``sbatch``."""
        [submission] = submit([resolved], root, _numbers(after))
        cls.note(root, submission, resolved, contract.utc_now())
        return cls(submission.run_id, root)

    @classmethod
    def submit_array(
        cls, resolved: Sequence[dict[str, Any]], root: Path, after: Sequence[Job] = ()
    ) -> list[SlurmJob]:
        """Submit runs of one shape as one array of jobs, of which one runs at a time."""
        submissions = submit(resolved, root, _numbers(after), array=True)
        for submission, settings in zip(submissions, resolved):
            cls.note(root, submission, settings, contract.utc_now())
        return [cls(submission.run_id, root) for submission in submissions]

    def resume(self) -> SlurmJob:
        """Submit it again: it goes on from its last checkpoint under a new number."""
        if self.state() is JobState.COMPLETED:
            raise ScalebookError(f"job {self.id} completed: nothing to resume")
        [submission] = submit([self.resolved], self.root, again=self.id)
        earlier = self.scheduler_ids
        self.forget_end()
        self.note(self.root, submission, self.resolved, contract.utc_now(), earlier)
        return SlurmJob(self.id, self.root)

    @classmethod
    def note(
        cls,
        root: Path,
        submission: Submission,
        resolved: dict[str, Any],
        submitted: str | None,
        earlier: Sequence[str] = (),
    ) -> Path:
        """Note a job of Slurm, so that `scalebook.launch.find` finds it.

        Parameters
        ----------
        root : Path
            Folder of the study.
        submission : Submission
            What Slurm took.
        resolved : dict
            As `scalebook.study.resolve` returns it.
        submitted : str or None
            When it was submitted, in UTC; None where it is not known.
        earlier : sequence of str
            Slurm's ids of the jobs that this one resumes.

        Returns
        -------
        Path
            The job's ``resolved.json``.
        """
        folder = job_folder(root, submission.run_id)
        contract.write_json(folder / "resolved.json", resolved)
        numbers = [*earlier, submission.slurm_id]
        facts = {key: item for key, item in vars(submission).items() if key != "run_id"}
        cls.write_notes(folder, submitted, **facts, slurm_ids=numbers)
        return folder / "resolved.json"

    # ----------------------------------------------------------------- notes

    @property
    def slurm_id(self) -> str:
        """Slurm's number of the job, with the task of an array: ``17`` or ``17_3``."""
        return str(self.notes["slurm_id"])

    @property
    def scheduler_ids(self) -> list[str]:
        """All of its numbers: each time the run was resumed it got another one."""
        return [*(self.notes.get("slurm_ids") or [self.slurm_id])]

    @property
    def cluster(self) -> str | None:
        """``ClusterName`` where it was submitted."""
        return self.notes.get("cluster")

    @property
    def output(self) -> Path | None:
        """File that all ranks print to; None where it is not known."""
        output = self.notes.get("output")
        return self.root / output if output else None

    def _last(self) -> Verdict:
        """The answer of an earlier look, perhaps in another process."""
        if self.slurm_id in self._unkept:
            return self._unkept[self.slurm_id]
        with contextlib.suppress(ScalebookError, KeyError):
            kept = contract.read_json(self.folder / "state.json")
            if kept["slurm_id"] == self.slurm_id:  # resuming it changes the number
                return Verdict(JobState[kept["state"]], kept["reason"], kept["settled"])
        return Verdict(JobState.PENDING)

    def _keep(self, verdict: Verdict) -> None:
        """Remember an answer for later looks; here alone where the study cannot be written to."""
        self._unkept.pop(self.slurm_id, None)
        if verdict.same_as(self._last()):
            return
        try:
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
        except OSError:
            self._unkept[self.slurm_id] = verdict

    # ----------------------------------------------------------------- the interface

    def state(self) -> JobState:
        """Ask what the job is doing."""
        return self._verdict().state

    @property
    def settled(self) -> bool:
        """Whether accounting, too, has told how it ended."""
        return self._verdict().settled

    def reason(self) -> str:
        """Why it waits, or why it ended as it did."""
        return self._verdict().reason

    def cancel(self) -> None:
        """Ask Slurm to end every rank; they get some seconds to write a checkpoint."""
        if self.state().finished:
            return
        view = self.poller.look(self.slurm_id, self.cluster)
        if view.elsewhere:  # where its number may be that of another job
            raise ScalebookError(f"job {self.id} cannot be cancelled: {self.reason()}")
        try:
            self.poller.cancel(self.slurm_id)
        except commands.ControllerAway as error:
            raise ScalebookError(
                f"job {self.id} cannot be cancelled now: {error}; try again"
            ) from None

    def close(self) -> None:
        """Note that it has ended: its cluster is gone for good and cannot be asked."""
        if self.state().finished:
            return
        view = self.poller.look(self.slurm_id, self.cluster)
        if not (view.elsewhere or view.away_since):
            raise UsageError(f"--gone: its cluster answers: scalebook cancel {self.id}")
        silent_s = self.progress().silent_s
        if silent_s is not None and silent_s < LIVELY_S:
            raise UsageError(
                f"--gone: its run reported progress {silent_s:.0f} s ago, so the cluster is only "
                "out of reach: cancel it from its login node"
            )
        # Not settled: should its cluster answer again, it is asked again.
        verdict = Verdict(JobState.CANCELLED, "its cluster is gone")
        self._keep(self._settle(verdict, self._run(view)))

    def is_elsewhere(self) -> bool:
        """Whether it belongs to another cluster than the one here."""
        if self.cluster is None:
            return False
        try:
            here = shared().cluster_now()
        except ScalebookError:  # away for now: then it is better to wait than to run twice
            return False
        return here is not None and here != self.cluster

    def keep_accounting(self) -> str:
        """Write what Slurm counted beside the results; a line where there is nothing to write."""
        files = self.files()
        if files is None:
            return ""
        return accounting.record(files, self.scheduler_ids, self.cluster, self.submitted)

    # ----------------------------------------------------------------- its state

    def _verdict(self) -> Verdict:
        last = self._last()
        if last.settled and last.state is not JobState.COMPLETED:
            attempt = self.last_attempt()
            if attempt.get("ended") == "completed" and self._made(attempt, View()):
                last = Verdict(JobState.COMPLETED, settled=True)  # it went on out of our sight
                self._keep(last)
        if last.settled:
            return last
        self._hasten()
        view = self.poller.look(self.slurm_id, self.cluster)
        run = Run() if states.alive(view) and not view.away_since else self._run(view)
        verdict = states.judge(view, run, self.submitted, dt.datetime.now().astimezone(), last)
        if view.elsewhere and not verdict.state.finished:
            gone = f"if it is gone for good: scalebook cancel --gone {self.id}"
            verdict = Verdict(verdict.state, f"{verdict.reason}; {gone}")
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
        attempt = self.last_attempt()
        if not attempt or not self._made(attempt, view):
            return Run()
        return Run(attempt.get("ended"), attempt.get("reason") or "")

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
        """The last answer: close the manifest where the run could not, add what to do."""
        self.poller.forget(self.slurm_id)
        if verdict.state is JobState.COMPLETED:
            return verdict
        if run.ended is None and not self.close_manifest(verdict.state.end, verdict.reason):
            verdict = replace(verdict, settled=False)
        diagnosis = diagnose(self.printed(), verdict.state)
        failed = verdict.state is JobState.FAILED and run.ended is None
        if diagnosis is None and failed and (line := failure_line(self.printed())):
            return replace(verdict, reason=f"{verdict.reason}; {line}")
        # The run's own line names what to do itself.
        if diagnosis is None or (run.reason and run.reason in verdict.reason):
            return verdict
        # Of the other ends the state says the cause.
        cause = f"{diagnosis.cause}: " if verdict.state is JobState.FAILED else ""
        advice = diagnosis.advice.replace("--resume JOB", f"--resume {self.id}")
        reason = "; ".join(part for part in (verdict.reason, cause + advice) if part)
        return replace(verdict, reason=reason)


def _numbers(after: Sequence[Job]) -> list[str]:
    """Slurm's newest number of each job."""
    return [number for job in after for number in job.scheduler_ids[-1:]]
