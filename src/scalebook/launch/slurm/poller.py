"""One gentle watcher of Slurm for all jobs of a process.

However many jobs are followed, a look is one squeue; those that have left the queue share one
sacct. The pauses grow while nothing changes, and while nobody answers.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterable

from scalebook.launch.slurm import commands as commands
from scalebook.launch.slurm import records as records
from scalebook.launch.slurm.commands import Ask, ControllerAway, NoAccounting, NoSlurm, SlurmError
from scalebook.launch.slurm.records import Attempt, Queued, Shown
from scalebook.launch.slurm.states import ENDS, Accounting, View

#: Shortest and longest pause between two questions of one kind, in seconds.
PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
#: How long the name of the cluster that answers is believed.
_CLUSTER_S = 60.0
#: How many jobs one question names at most.
_JOBS_AT_ONCE = 500


class Backoff:
    """When to ask again: soon after a change, ever later while everything stays as it is."""

    def __init__(self, clock: Callable[[], float], pause_s: float, longest_s: float) -> None:
        self._clock = clock
        self._shortest = self._pause = pause_s
        self._longest = longest_s
        self._asked: float | None = None

    def due(self) -> bool:
        """Whether the pause is over."""
        return self._asked is None or self._clock() - self._asked >= self._pause

    def asked(self, changed: bool) -> None:
        """Note a question that was asked, and whether its answer was a new one."""
        self._asked = self._clock()
        grown = min(self._longest, self._pause * 1.4)
        self._pause = self._shortest if changed else grown

    def soon(self) -> None:
        """Expect a change: the next pause is a short one."""
        self._pause = self._shortest

    def now(self) -> None:
        """Ask at the next look."""
        self._asked = None


class Poller:
    """Asks Slurm about jobs and remembers the answers.

    Parameters
    ----------
    ask : callable
        Runs one of Slurm's commands.
    clock : callable
        Seconds, for the pauses.
    pause_s, longest_s : float
        Shortest and longest pause between two questions of one kind.
    """

    def __init__(
        self,
        ask: Ask = commands.ask,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_S,
        longest_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.RLock()
        self._jobs: dict[str, None] = {}

        self._queue: dict[str, Queued] = {}
        self._listed: set[str] = set()  # arrays and jobs that the newest squeue was asked about
        self._queue_pause = Backoff(clock, pause_s, longest_s)

        self._attempts: dict[str, tuple[Attempt, ...]] = {}
        self._accounted: set[str] = set()  # jobs that the newest sacct was asked about
        self._accounting = Accounting.ON
        self._accounting_pause = Backoff(clock, pause_s, longest_s)

        self._shown: dict[str, Shown | None] = {}
        self._shown_pauses: dict[str, Backoff] = {}
        self._new_pause = lambda: Backoff(clock, pause_s, longest_s)

        self._cluster: str | None = None
        self._cluster_asked: float | None = None
        self._configured: tuple[int, int] | None = None
        self._away_since: dt.datetime | None = None
        self._no_slurm = ""

    # ----------------------------------------------------------------- what is followed

    def follow(self, job: str) -> None:
        """Ask about this job too, from the next look on."""
        with self._lock:
            self._jobs[job] = None

    def forget(self, job: str) -> None:
        """Ask no more about a job that has ended."""
        with self._lock:
            self._jobs.pop(job, None)

    def expect_change(self, at_once: bool = False) -> None:
        """Take a short pause next, or none: something has just happened, such as a job's end."""
        with self._lock:
            self._queue_pause.soon()
            self._accounting_pause.soon()
            if at_once:
                self._queue_pause.now()

    # ----------------------------------------------------------------- looks

    def look(self, job: str, cluster: str | None = None) -> View:
        """Everything known about a job, as fresh as the pauses allow.

        Parameters
        ----------
        job : str
            Slurm's number of the job, with the task of an array (``17_3``).
        cluster : str, optional
            ``ClusterName`` where it was submitted; on another one the number means another job.
        """
        with self._lock:
            self.follow(job)
            self._refresh_queue(job)
            if self._no_slurm:
                return View(elsewhere=self._no_slurm)
            if cluster and self._cluster and cluster != self._cluster:
                return View(elsewhere=f"cluster {cluster} does not answer here, "
                            f"{self._cluster} does")  # fmt: skip
            queued = self._queue.get(job)
            known = self._attempts.get(job, ())
            if self._away_since:
                return View(queued, known, self._shown.get(job), away_since=self._away_since)
            if queued is None or queued.state in ENDS or _was_requeued(queued):
                self._refresh_accounting(job)
                known = self._attempts.get(job, ())
                if self._accounting is not Accounting.ON or not _has_ended(known):
                    self._refresh_shown(job)
            return View(queued, known, self._shown.get(job), self._accounting)

    def cluster_now(self) -> str | None:
        """``ClusterName`` as the controller says it this moment.

        Raises
        ------
        ControllerAway
            If none answers.
        """
        with self._lock:
            self._cluster_asked = None
            self._refresh_cluster()
            return self._cluster

    # ----------------------------------------------------------------- questions

    def _refresh_queue(self, job: str) -> None:
        """Ask squeue about all jobs, if it is time or `job` is new to it."""
        if not self._queue_pause.due() and _number(job) in self._listed:
            return
        jobs = {_number(one) for one in self._jobs}
        try:
            self._refresh_cluster()
            found = self._in_parts(commands.squeue, jobs, records.parse_squeue)
        except NoSlurm as error:
            self._no_slurm = f"{error}"
        except (ControllerAway, SlurmError):
            self._no_slurm = ""
            if self._away_since is None:
                self._away_since = dt.datetime.now().astimezone()
        else:
            changed = found != self._queue or bool(self._away_since)
            self._queue, self._listed = found, jobs
            self._away_since, self._no_slurm = None, ""
            self._queue_pause.asked(changed)
            if changed:
                self._accounting_pause.soon()
            return
        self._listed = jobs
        self._cluster_asked = None
        self._queue_pause.asked(changed=False)

    def _refresh_accounting(self, job: str) -> None:
        """Ask sacct about every job that is not plainly alive, if it is time."""
        queued, known = self._queue.get(job), self._attempts.get(job)
        # Of a job that ran again, what is known may be the end of an earlier attempt.
        if queued and queued.state in ENDS and known and known[-1].state == queued.state:
            return
        if not self._accounting_pause.due() and job in self._accounted:
            return
        wanted = {
            one
            for one in self._jobs
            if (queued := self._queue.get(one)) is None
            or queued.state in ENDS
            or _was_requeued(queued)
        }
        before = {one: self._attempts.get(one, ()) for one in wanted}
        try:
            numbers = {_number(one) for one in wanted}
            self._attempts.update(self._in_parts(commands.sacct, numbers, records.parse_sacct))
            self._accounting = Accounting.ON
        except NoAccounting:
            self._accounting = Accounting.OFF
        except (ControllerAway, SlurmError):
            self._accounting = Accounting.AWAY
        self._accounted = wanted
        self._accounting_pause.asked(
            changed=any(self._attempts.get(one, ()) != was for one, was in before.items())
        )

    def _refresh_shown(self, job: str) -> None:
        """Ask the controller itself about one job, if it is time."""
        pause = self._shown_pauses.setdefault(job, self._new_pause())
        if not pause.due():
            return
        before = self._shown.get(job)
        try:
            self._shown[job] = records.parse_scontrol_job(self._ask(commands.scontrol_job(job)))
        except SlurmError:
            # The controller forgets a job some minutes after its end; what it said is still true.
            self._shown.setdefault(job, None)
        except ControllerAway:
            return
        pause.asked(changed=self._shown[job] != before)

    def _refresh_cluster(self) -> None:
        now = self._clock()
        configured = _configuration()
        if (
            self._cluster_asked is None
            or now - self._cluster_asked > _CLUSTER_S
            or configured != self._configured
        ):
            self._configured = configured
            said = self._ask(commands.scontrol_config())
            name = records.parse_cluster(said)
            if name != self._cluster:
                # The same numbers mean other jobs there.
                self._queue, self._attempts, self._shown = {}, {}, {}
            self._cluster, self._cluster_asked = name, now

    def _in_parts(
        self,
        question: Callable[[list[str]], list[str]],
        jobs: Iterable[str],
        parse: Callable[[str], dict],
    ) -> dict:
        """Answers about many jobs; a job that is unknown to Slurm is just not among them."""
        names = sorted(jobs, key=int)
        found: dict = {}
        for start in range(0, len(names), _JOBS_AT_ONCE):
            try:
                said = self._ask(question(names[start : start + _JOBS_AT_ONCE]))
            except commands.UnknownJob:
                continue
            found.update(parse(said))
        return found


def _number(job: str) -> str:
    """Number of the job, or of the array that a task belongs to."""
    return job.partition("_")[0]


def _has_ended(attempts: tuple[Attempt, ...]) -> bool:
    return bool(attempts) and attempts[-1].state in ENDS


def _was_requeued(queued: Queued) -> bool:
    """Whether a waiting job may have run before: a requeued one waits for a time to come."""
    return queued.state == "PENDING" and queued.reason == "BeginTime"


def _configuration() -> tuple[int, int] | None:
    """Changes when another cluster is set up under the same name."""
    try:
        found = os.stat(os.environ["SLURM_CONF"])
    except (KeyError, OSError):
        return None
    return found.st_ino, found.st_mtime_ns


_POLLERS: dict[str | None, Poller] = {}


def shared() -> Poller:
    """The one poller of this process for the cluster that ``SLURM_CONF`` names."""
    return _POLLERS.setdefault(os.environ.get("SLURM_CONF"), Poller())
