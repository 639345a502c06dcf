"""The rules: from what Slurm and the run itself say to one state and its reason in words.

Pure functions of records; `poller` gathers the records, `slurm` stores the answer.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, replace

from scalebook.contract import REQUEUE
from scalebook.launch.job import JobState
from scalebook.launch.slurm.reasons import MEMORY, clock, end_words, exit_words, pending_words, whom
from scalebook.launch.slurm.records import Attempt, Exit, Queued, Shown

#: How long after its end a job's accounting may still be on its way.
ACCOUNTING_LAG_S = 15.0
#: How long after its submission a job may be unknown everywhere.
SUBMIT_LAG_S = 60.0
#: An expected start that is further away is a guess of Slurm's that tells nobody anything.
EXPECTED_WITHIN = dt.timedelta(days=60)
#: How long after a job's end its files may still be on their way through a shared file system.
FILES_LAG_S = 10.0


class Accounting(enum.Enum):
    """Whether the cluster's accounting can be asked."""

    ON = "on"
    OFF = "off"
    AWAY = "away"


@dataclass(frozen=True)
class View:
    """Everything known about one job at one moment.

    Attributes
    ----------
    queued : Queued or None
        Its line in squeue.
    attempts : tuple of Attempt
        Its attempts in accounting, oldest first.
    shown : Shown or None
        What the controller shows of it.
    accounting : Accounting
        Whether there is accounting to ask.
    away_since : datetime or None
        Since when nobody has answered; the records above are then the last that were known.
    elsewhere : str
        Why this machine cannot know of the job at all, or empty.
    """

    queued: Queued | None = None
    attempts: tuple[Attempt, ...] = ()
    shown: Shown | None = None
    accounting: Accounting = Accounting.ON
    away_since: dt.datetime | None = None
    elsewhere: str = ""


@dataclass(frozen=True)
class Run:
    """What the run's own manifest says of its last attempt under this job.

    Attributes
    ----------
    ended : str or None
        One of `contract.ENDED`; None while it is open, or where there is none.
    reason : str
        Why, in the run's own words.
    """

    ended: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """State and reason.

    Attributes
    ----------
    settled : bool
        Whether it is the last word, which no later look will change.
    """

    state: JobState
    reason: str = ""
    settled: bool = False


def alive(view: View) -> bool:
    """Whether the job is in the queue and has not ended."""
    return view.queued is not None and view.queued.state not in ENDS


def judge(
    view: View, run: Run, submitted: dt.datetime, now: dt.datetime, last: Verdict | None = None
) -> Verdict:
    """State of a job.

    Parameters
    ----------
    view : View
        What Slurm says.
    run : Run
        What the run itself says.
    submitted, now : datetime
        When the job was submitted, and the time of this look.
    last : Verdict, optional
        The answer of the look before.
    """
    last = last or Verdict(JobState.PENDING)
    if view.elsewhere:
        return _elsewhere(view.elsewhere, run, last)
    if view.away_since and last.state.finished:
        return last
    if view.away_since:
        since = clock(view.away_since, now)
        return Verdict(
            last.state, f"Slurm's controller has not answered since {since}; last known state"
        )
    if alive(view):
        return _alive(view.queued, view, now, last)
    return _against_run(_end(view, run, submitted, now, last), view, run, now)


def _elsewhere(why: str, run: Run, last: Verdict) -> Verdict:
    """Without a Slurm that knows the job, the run's own record is all there is."""
    if last.state.finished:
        return last
    if run.ended:
        return Verdict(_RUN_ENDS[run.ended], run.reason)
    return Verdict(last.state, f"{why}; last known state")


# --------------------------------------------------------------------------- alive

ENDS = {
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "PREEMPTED": JobState.PREEMPTED,
    "REVOKED": JobState.CANCELLED,
    "LAUNCH_FAILED": JobState.FAILED,
    "RECONFIG_FAIL": JobState.FAILED,
}
_WAITING = {
    "PENDING": "",
    "REQUEUED": "requeued",
    "REQUEUE_FED": "requeued on another cluster of the federation",
    "REQUEUE_HOLD": "requeued and held; let it go with: scontrol release {job}",
    "SPECIAL_EXIT": "requeued and held after a special exit status; "
    "let it go with: scontrol release {job}",
    "RESV_DEL_HOLD": "held because its reservation was deleted",
}
_SUSPENDED = {
    "SUSPENDED": "Slurm has suspended it; it goes on by itself",
    "STOPPED": "stopped by a signal; it keeps its nodes",
}
_RUNNING = {
    "RUNNING": "",
    "COMPLETING": "ending: its nodes are being cleaned up",
    "CONFIGURING": "its nodes are starting",
    "RESIZING": "its nodes are changing",
    "SIGNALING": "being signalled",
    "STAGE_OUT": "its files are being copied out",
}
_REQUEUED = {
    "NODE_FAIL": "requeued after a node was lost",
    "PREEMPTED": "requeued after a job of higher priority took its nodes",
    "REQUEUED": "requeued",
    "BOOT_FAIL": "requeued after a node did not start",
}


def _alive(queued: Queued, view: View, now: dt.datetime, last: Verdict) -> Verdict:
    """A job that is still in the queue."""
    if queued.state in _SUSPENDED:
        return Verdict(JobState.SUSPENDED, _SUSPENDED[queued.state])
    if queued.state in _WAITING:
        return Verdict(JobState.PENDING, _pending(queued, view, now, last))
    return Verdict(JobState.RUNNING, _RUNNING.get(queued.state, f"Slurm says {queued.state}"))


def _pending(queued: Queued, view: View, now: dt.datetime, last: Verdict) -> str:
    # Accounting is asked while the job waits for its time; what it said holds while it waits on.
    was = last.reason.partition(";")[0]
    requeued = was if was in _REQUEUED.values() and last.state is JobState.PENDING else ""
    past = [one for one in view.attempts if one.state in _REQUEUED]
    if past:
        requeued = _REQUEUED[past[-1].state]
    elif view.shown and view.shown.restarts:
        requeued = requeued or "requeued"
    if queued.state != "PENDING":
        return _WAITING[queued.state].format(job=queued.job)
    at = clock(queued.start, now) if queued.start else ""
    if queued.reason == "BeginTime" and requeued:
        return f"{requeued}; starts again at {at}" if at else requeued
    if queued.reason == "BeginTime" and at:
        return f"starts at {at}, as it was asked to"
    words = pending_words(queued.reason, queued.job)
    if queued.start and queued.start - now > EXPECTED_WITHIN:
        at = ""
    return "; ".join(
        part for part in (requeued, words, at and f"expected to start at {at}") if part
    )


# --------------------------------------------------------------------------- ended


def _end(view: View, run: Run, submitted: dt.datetime, now: dt.datetime, last: Verdict) -> Verdict:
    """A job that squeue no longer lists as alive."""
    final = view.attempts[-1] if view.attempts else None
    # While the record of a requeued job's last attempt is on its way, there is only an earlier one.
    newest = not view.queued or (final and final.state == view.queued.state)
    if final and final.state in ENDS and newest:
        return _from_accounting(final, again=len(view.attempts) > 1)
    ended = view.queued.end if view.queued else None
    if view.queued and view.accounting is Accounting.ON and _young(ended, now, ACCOUNTING_LAG_S):
        return Verdict(_alive_or_running(last), "has ended; Slurm's accounting is on its way")
    if view.shown and view.shown.state in ENDS:
        end = _from_controller(view.shown)
        # The accounting, once it is back, may know more.
        return replace(end, settled=view.accounting is not Accounting.AWAY)
    if view.queued:
        reason = view.queued.reason
        return Verdict(ENDS[view.queued.state], "" if reason == "None" else reason)
    if final and final.state in _REQUEUED:
        return Verdict(JobState.PENDING, _REQUEUED[final.state])
    if view.accounting is Accounting.AWAY and not run.ended:
        return Verdict(last.state, "no longer in the queue, and Slurm's accounting does not answer")
    if _young(submitted, now, SUBMIT_LAG_S):
        return Verdict(last.state, "submitted; Slurm does not list it yet")
    if run.ended:
        return Verdict(_RUN_ENDS[run.ended], run.reason, settled=True)
    if final and final.state == "PENDING":
        # Accounting goes on listing such a task of an array as pending.
        return Verdict(JobState.CANCELLED, "taken out of the queue before it started", True)
    return Verdict(
        JobState.FAILED, "Slurm no longer knows the job, and its run did not finish", settled=True
    )


def _alive_or_running(last: Verdict) -> JobState:
    return JobState.RUNNING if last.state.finished else last.state


def _young(moment: dt.datetime | None, now: dt.datetime, seconds: float) -> bool:
    return moment is not None and (now - moment).total_seconds() < seconds


def _from_accounting(attempt: Attempt, again: bool) -> Verdict:
    """The end of a job as accounting tells it; its steps may know more than the job does."""
    state = ENDS[attempt.state]
    # The derived exit code of a job that ran again may be that of a step of an earlier attempt.
    derived = Exit() if again else attempt.derived
    memory = [step for step in attempt.steps if step.state == "OUT_OF_MEMORY"]
    failed = [step for step in attempt.steps if step.exit.failed and step.name != "extern"]
    if state in (JobState.FAILED, JobState.OUT_OF_MEMORY) and memory:
        where = "" if memory[0].name == "batch" else f"in step {memory[0].name} "
        return Verdict(JobState.OUT_OF_MEMORY, f"{where}{MEMORY}", settled=True)
    if state is JobState.COMPLETED and (derived.failed or _step_failed(attempt)):
        step = next((one for one in failed if one.name != "batch"), None)
        said = exit_words(step.exit if step else derived)
        name = f"step {step.name}" if step else "a step"
        if step and step.state == "OUT_OF_MEMORY":
            return Verdict(JobState.OUT_OF_MEMORY, f"in {name} {MEMORY}", settled=True)
        return Verdict(
            JobState.FAILED, f"{name} {said}, though the script ended with 0", settled=True
        )
    reason = end_words(attempt.state, attempt.exit, attempt.limit)
    if state is JobState.CANCELLED and attempt.cancelled_by:
        started = "" if attempt.start else " before it started"
        reason = f"by {whom(attempt.cancelled_by)}{started}"
    return _asked_again(Verdict(state, reason, settled=True), attempt.exit)


def _step_failed(attempt: Attempt) -> bool:
    bad = ("FAILED", "OUT_OF_MEMORY", "NODE_FAIL")
    return any(step.state in bad for step in attempt.steps if step.name.isdigit())


def _from_controller(shown: Shown) -> Verdict:
    """The end of a job as its controller remembers it, where there is no accounting."""
    state = ENDS[shown.state]
    derived = Exit() if shown.restarts else shown.derived
    if derived.signal == _OOM_SIGNAL and state in (JobState.FAILED, JobState.COMPLETED):
        return Verdict(JobState.OUT_OF_MEMORY, MEMORY, settled=True)
    if state is JobState.COMPLETED and derived.failed:
        said = exit_words(derived)
        return Verdict(
            JobState.FAILED, f"a step {said}, though the script ended with 0", settled=True
        )
    reason = end_words(shown.state, shown.exit, shown.limit)
    return _asked_again(Verdict(state, reason, settled=True), shown.exit)


#: Exit code 0:125 is Slurm's mark of a step that the kernel ended for want of memory.
_OOM_SIGNAL = 125


def _asked_again(verdict: Verdict, code: Exit) -> Verdict:
    """A run that stopped before its time limit to be requeued, and was not."""
    if verdict.state is JobState.FAILED and code.status == REQUEUE:
        return Verdict(
            JobState.TIMEOUT,
            "wrote a checkpoint before its time limit and was not requeued",
            settled=True,
        )
    return verdict


# --------------------------------------------------------------------------- the run's own story

_RUN_ENDS = {
    "completed": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "interrupted": JobState.CANCELLED,
    "killed": JobState.FAILED,
    "timeout": JobState.TIMEOUT,
}


def _against_run(verdict: Verdict, view: View, run: Run, now: dt.datetime) -> Verdict:
    """Slurm knows how the script ended, the run knows whether it trained: both must agree."""
    if not verdict.state.finished:
        return verdict
    if verdict.state is not JobState.COMPLETED:
        if run.ended == "completed":
            reason = verdict.reason or verdict.state.value
            return replace(verdict, reason=f"{reason}, after its training had completed")
        if verdict.state is JobState.FAILED and run.ended:
            # The run's own line says more than an exit status does.
            state = JobState.TIMEOUT if run.ended == "timeout" else verdict.state
            return replace(verdict, state=state, reason=run.reason or verdict.reason)
        told = "; ".join(part for part in (verdict.reason, run.reason) if part)
        return replace(verdict, reason=told)
    if run.ended == "completed":
        return verdict
    end = view.attempts[-1].end if view.attempts else (view.shown.end if view.shown else None)
    if _young(end, now, FILES_LAG_S):
        return Verdict(JobState.RUNNING, "has ended; its files are on their way")
    if run.ended is None:
        said = "its run did not finish"
    else:
        said = f"its run {run.ended}" + (f": {run.reason}" if run.reason else "")
    return replace(verdict, state=JobState.FAILED, reason=f"Slurm says completed, but {said}")
