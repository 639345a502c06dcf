"""The rules that decide a job's state and its reason, from what Slurm and the run itself report.

Pure functions of records; `poller` gathers the records, `job` stores the answer.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, replace

from scalebook.contract import REQUEUE
from scalebook.launch.job import STATE_OF_END, JobState, after_completion
from scalebook.launch.slurm.reasons import (
    ALIVE,
    ENDS,
    MEMORY,
    REQUEUED,
    canceller,
    end_reason,
    exit_text,
    local_time,
    waiting_reason,
)
from scalebook.launch.slurm.records import Attempt, Exit, Queued, Shown

#: How long after its end a job's accounting may still be on its way.
ACCOUNTING_LAG_S = 15.0
#: How long after its submission a job may be unknown everywhere.
SUBMIT_LAG_S = 60.0
#: An expected start that is further away is a guess of Slurm's that tells nobody anything.
EXPECTED_WITHIN = dt.timedelta(days=60)
#: How a reason begins while nobody answers.
AWAY = "Slurm's controller has not answered since"
#: How long after a job's end its files may still be on their way through a shared file system.
FILES_LAG_S = 10.0


class Accounting(enum.Enum):
    """Whether the cluster's accounting can be asked."""

    ON = "on"
    OFF = "off"
    AWAY = "away"


@dataclass(frozen=True)
class View:
    """What Slurm answers about one job at one moment.

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
    """Last attempt under this job, as the run's own manifest has it.

    Attributes
    ----------
    ended : str or None
        One of `contract.ENDED`; None while it is open, or where there is none.
    reason : str
        Why, as the run wrote it.
    """

    ended: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """State and reason.

    Attributes
    ----------
    settled : bool
        Whether it is final: no later look will change it.
    """

    state: JobState
    reason: str = ""
    settled: bool = False

    def same_as(self, other: Verdict) -> bool:
        """Whether it tells nothing new; the expected start, after a semicolon, always changes."""
        mine, theirs = self.reason.partition(";")[0], other.reason.partition(";")[0]
        return (self.state, self.settled, mine) == (other.state, other.settled, theirs)


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
        What Slurm answers.
    run : Run
        What the run's own manifest has.
    submitted, now : datetime
        When the job was submitted, and the time of this look.
    last : Verdict, optional
        The answer of the look before.
    """
    last = last or Verdict(JobState.PENDING)
    if view.elsewhere:
        return _elsewhere(view.elsewhere, run, last)
    if view.away_since and (last.state.finished or last.reason.startswith(AWAY)):
        # Another process may have noticed it earlier.
        return _away(last.state, last.reason, run)
    if view.away_since:
        since = local_time(view.away_since, now)
        return _away(last.state, f"{AWAY} {since}; last known state", run)
    if view.queued is not None and alive(view):
        return _alive(view.queued, view, now, last)
    return _against_run(_end(view, run, submitted, now, last), view, run, now)


def _away(state: JobState, reason: str, run: Run) -> Verdict:
    """While nobody answers, what the run wrote is news, unless another attempt may follow."""
    if not state.finished and run.ended in ("completed", "failed"):
        return Verdict(STATE_OF_END[run.ended], f"{reason.partition(';')[0]}; the run {run.ended}")
    return Verdict(state, reason)


def _elsewhere(why: str, run: Run, last: Verdict) -> Verdict:
    """Without a Slurm that knows the job, the run's own record is all there is."""
    if run.ended == "completed" or (run.ended and not last.state.finished):
        return Verdict(STATE_OF_END[run.ended], run.reason)
    return last if last.state.finished else Verdict(last.state, f"{why}; last known state")


# --------------------------------------------------------------------------- alive


def _alive(queued: Queued, view: View, now: dt.datetime, last: Verdict) -> Verdict:
    """A job that is still in the queue."""
    state, reason = ALIVE.get(queued.state, (JobState.RUNNING, f"Slurm says {queued.state}"))
    if state is JobState.PENDING:
        reason = reason.format(job=queued.job) or _pending(queued, view, now, last)
    return Verdict(state, reason)


def _pending(queued: Queued, view: View, now: dt.datetime, last: Verdict) -> str:
    # Accounting is asked while the job waits for its time; its answer holds while it waits on.
    was = last.reason.partition(";")[0]
    requeued = was if was in REQUEUED.values() and last.state is JobState.PENDING else ""
    past = [attempt for attempt in view.attempts if attempt.state in REQUEUED]
    if past:
        requeued = REQUEUED[past[-1].state]
    elif view.shown and view.shown.restarts:
        requeued = requeued or "requeued"
    at = local_time(queued.start, now) if queued.start else ""
    if queued.reason == "BeginTime" and requeued:
        return f"{requeued}; starts again at {at}" if at else requeued
    if queued.reason == "BeginTime" and at:
        return f"starts at {at}, as it was asked to"
    if queued.start and queued.start - now > EXPECTED_WITHIN:
        at = ""
    expected = f"expected to start at {at}" if at else ""
    parts = (requeued, waiting_reason(queued.reason, queued.job), expected)
    return "; ".join(part for part in parts if part)


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
        return Verdict(ENDS[view.queued.state][0], "" if reason == "None" else reason)
    if final and final.state in REQUEUED:
        return Verdict(JobState.PENDING, REQUEUED[final.state])
    if view.accounting is Accounting.AWAY and not run.ended:
        return Verdict(last.state, "no longer in the queue, and Slurm's accounting does not answer")
    if _young(submitted, now, SUBMIT_LAG_S):
        return Verdict(last.state, "submitted; Slurm does not list it yet")
    if run.ended:
        return Verdict(STATE_OF_END[run.ended], run.reason, settled=True)
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
    """The end of a job as accounting has it; its steps may tell more than the job does."""
    state = ENDS[attempt.state][0]
    # The derived exit code of a job that ran again may be that of a step of an earlier attempt.
    derived = Exit() if again else attempt.derived
    memory = [step for step in attempt.steps if step.state == "OUT_OF_MEMORY"]
    if state in (JobState.FAILED, JobState.OUT_OF_MEMORY) and memory:
        where = "" if memory[0].name == "batch" else f"in step {memory[0].name} "
        return Verdict(JobState.OUT_OF_MEMORY, f"{where}{MEMORY}", settled=True)
    if state is JobState.COMPLETED and (derived.failed or _step_failed(attempt)):
        steps = [step for step in attempt.steps if step.name not in ("batch", "extern")]
        step = next((step for step in steps if step.exit.failed), None)
        name = f"step {step.name}" if step else "a step"
        if step and step.state == "OUT_OF_MEMORY":
            return Verdict(JobState.OUT_OF_MEMORY, f"in {name} {MEMORY}", settled=True)
        reason = f"{name} {exit_text(step.exit if step else derived)}"
        return Verdict(JobState.FAILED, f"{reason}, though the script ended with 0", settled=True)
    if attempt.exit.status == REQUEUE and state is JobState.FAILED:
        reason = "wrote a checkpoint before its time limit and was not requeued"
        return Verdict(JobState.TIMEOUT, reason, settled=True)
    reason = end_reason(attempt.state, attempt.exit, attempt.limit)
    if state is JobState.CANCELLED and attempt.cancelled_by:
        started = "" if attempt.start else " before it started"
        reason = f"by {canceller(attempt.cancelled_by)}{started}"
    return Verdict(state, reason, settled=True)


def _step_failed(attempt: Attempt) -> bool:
    bad = ("FAILED", "OUT_OF_MEMORY", "NODE_FAIL")
    return any(step.state in bad for step in attempt.steps if step.name.isdigit())


#: Exit code 0:125 is Slurm's mark of a step that the kernel ended for want of memory.
_OOM_SIGNAL = 125


def _from_controller(shown: Shown) -> Verdict:
    """The end of a job as its controller remembers it, where there is no accounting."""
    no_memory = shown.derived.signal == _OOM_SIGNAL and not shown.restarts
    if no_memory and ENDS[shown.state][0] in (JobState.FAILED, JobState.COMPLETED):
        return Verdict(JobState.OUT_OF_MEMORY, MEMORY, settled=True)
    attempt = Attempt(
        "", "", shown.state, exit=shown.exit, derived=shown.derived, limit=shown.limit
    )
    return _from_accounting(attempt, again=shown.restarts > 0)


# --------------------------------------------------------------------------- the run's own end


def _against_run(verdict: Verdict, view: View, run: Run, now: dt.datetime) -> Verdict:
    """Slurm knows how the script ended, the run knows whether it trained: both must agree."""
    if not verdict.state.finished:
        return verdict
    if verdict.state is not JobState.COMPLETED:
        if run.ended == "completed":
            reason = after_completion(verdict.reason or verdict.state.value)
            return replace(verdict, state=JobState.COMPLETED, reason=reason)
        if verdict.state is JobState.FAILED and run.ended:
            # The run's own line tells more than an exit status does.
            state = JobState.TIMEOUT if run.ended == "timeout" else verdict.state
            return replace(verdict, state=state, reason=run.reason or verdict.reason)
        reason = "; ".join(part for part in (verdict.reason, run.reason) if part)
        return replace(verdict, reason=reason)
    if run.ended == "completed":
        return verdict
    end = view.attempts[-1].end if view.attempts else (view.shown.end if view.shown else None)
    if _young(end, now, FILES_LAG_S):
        return Verdict(JobState.RUNNING, "has ended; its files are on their way")
    if run.ended is None:
        but = "its run did not finish"
    else:
        but = f"its run {run.ended}" + (f": {run.reason}" if run.reason else "")
    return replace(verdict, state=JobState.FAILED, reason=f"Slurm says completed, but {but}")
