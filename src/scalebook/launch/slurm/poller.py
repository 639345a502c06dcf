"""One gentle watcher of Slurm for all jobs of a process.

However many jobs are followed, a look is one squeue; those that have left the queue share one
sacct. One pause stands between two looks: it grows while nothing changes and while nobody answers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from scalebook.launch.slurm import commands, records
from scalebook.launch.slurm.commands import Ask, ControllerAway, NoAccounting, NoSlurm, SlurmError
from scalebook.launch.slurm.reasons import ENDS
from scalebook.launch.slurm.records import Attempt, Queued, Shown
from scalebook.launch.slurm.states import Accounting, View
from scalebook.launch.waiting import Backoff

#: Shortest and longest pause between two looks, in seconds.
PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
#: How long the name of the cluster that answers is believed.
_CLUSTER_S = 60.0
#: How many jobs one question names at most.
_JOBS_AT_ONCE = 500

_Record = TypeVar("_Record")


class Poller:
    """Asks Slurm about jobs and remembers the answers.

    Parameters
    ----------
    ask : callable
        Runs one of Slurm's commands.
    clock : callable
        Seconds, for the pause.
    pause_s, longest_s : float
        Shortest and longest pause between two looks.
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
        self._pause = Backoff(clock, pause_s, longest_s)
        self._jobs: set[str] = set()

        # What is known, and about which jobs each question was asked at the newest look.
        self._queue: dict[str, Queued] = {}
        self._attempts: dict[str, tuple[Attempt, ...]] = {}
        self._shown: dict[str, Shown] = {}
        self._asked_queue: set[str] = set()  # numbers: those of arrays stand for their tasks
        self._asked_accounting: set[str] = set()
        self._asked_controller: set[str] = set()

        self._accounting = Accounting.ON
        self._away_since: dt.datetime | None = None
        self._no_slurm = ""
        self._cluster: str | None = None
        self._cluster_asked: float | None = None
        self._configured: tuple[int, int] | None = None

    # ----------------------------------------------------------------- what is followed

    def follow(self, job: str) -> None:
        """Ask about this job too, from the next look on."""
        with self._lock:
            self._jobs.add(job)

    def forget(self, job: str) -> None:
        """Ask no more about a job that has ended."""
        with self._lock:
            self._jobs.discard(job)

    def expect_change(self) -> None:
        """Take a short pause next: something has just happened, such as a job's end."""
        with self._lock:
            self._pause.soon()

    def cancel(self, job: str) -> None:
        """End a job, which may have ended already, and look at once what became of it.

        Raises
        ------
        ControllerAway
            If nobody answers.
        """
        with contextlib.suppress(commands.UnknownJob):
            self._ask(commands.scancel(job))
        with self._lock:
            self._pause.now()

    # ----------------------------------------------------------------- looks

    def look(self, job: str, cluster: str | None = None) -> View:
        """Everything there is to know about a job, as fresh as the pause allows.

        Parameters
        ----------
        job : str
            Slurm's number of the job, with the task of an array (``17_3``).
        cluster : str, optional
            ``ClusterName`` where it was submitted; on another one the number means another job.
        """
        with self._lock:
            self.follow(job)
            if self._pause.due() or _number(job) not in self._asked_queue:
                self._ask_queue()
            if self._no_slurm:
                its = f"cluster {cluster}" if cluster else "its cluster"
                return View(elsewhere=f"{its} does not answer here ({self._no_slurm})")
            if cluster and self._cluster and cluster != self._cluster:
                return View(
                    elsewhere=f"cluster {cluster} does not answer here, {self._cluster} does"
                )
            if self._away_since is None and self._may_have_ended(job):
                if job not in self._asked_accounting and not self._end_is_known(job):
                    self._ask_accounting()
                if self._accounting is not Accounting.ON or not self._has_ended(job):
                    self._ask_controller(job)
            away = self._away_since
            return View(
                self._queue.get(job),
                self._attempts.get(job, ()),
                self._shown.get(job),
                # Nobody was asked whether there is accounting.
                Accounting.ON if away else self._accounting,
                away,
            )

    def cluster_now(self) -> str | None:
        """``ClusterName`` as the controller says it this moment.

        Raises
        ------
        ControllerAway
            If none answers.
        """
        with self._lock:
            self._cluster_asked = None
            self._ask_cluster()
            return self._cluster

    # ----------------------------------------------------------------- questions

    def _ask_queue(self) -> None:
        """Begin a new look: ask squeue about all jobs."""
        before, was_away = self._queue, self._away_since
        self._asked_queue = {_number(job) for job in self._jobs}
        self._asked_accounting, self._asked_controller = set(), set()
        self._no_slurm = ""
        try:
            self._ask_cluster()
            self._queue = self._ask_about(self._asked_queue, commands.squeue, records.parse_squeue)
            self._away_since = None
        except NoSlurm as error:
            self._no_slurm = str(error)
        except (ControllerAway, SlurmError):
            self._away_since = self._away_since or dt.datetime.now().astimezone()
        away = bool(self._no_slurm or self._away_since)
        if away:
            self._cluster_asked = None
        self._pause.asked(changed=not away and (bool(was_away) or self._queue != before))

    def _ask_accounting(self) -> None:
        """Ask sacct about every job that is not plainly alive."""
        self._asked_accounting = {job for job in self._jobs if self._may_have_ended(job)}
        numbers = {_number(job) for job in self._asked_accounting}
        try:
            found = self._ask_about(numbers, commands.sacct, records.parse_sacct)
            self._accounting = Accounting.ON
        except NoAccounting:
            self._accounting = Accounting.OFF
        except (ControllerAway, SlurmError):
            self._accounting = Accounting.AWAY
            self._pause.asked(changed=False)  # the question may have taken long
        else:
            ours = self._asked_accounting & set(found)
            if any(self._attempts.get(job) != found[job] for job in ours):
                self._pause.soon()
            self._attempts.update(found)

    def _ask_controller(self, job: str) -> None:
        """Ask the controller itself about one job, once at a look."""
        if job in self._asked_controller:
            return
        self._asked_controller.add(job)
        # It forgets a job some minutes after its end; what it told before is still true.
        try:
            shown = records.parse_scontrol_job(self._ask(commands.scontrol_job(job)))
        except (ControllerAway, SlurmError):
            return
        if shown and shown != self._shown.get(job):
            self._shown[job] = shown
            self._pause.soon()

    def _ask_cluster(self) -> None:
        now = self._clock()
        configured = _configuration()
        if (
            self._cluster_asked is None
            or now - self._cluster_asked > _CLUSTER_S
            or configured != self._configured
        ):
            self._configured = configured
            name = records.parse_setting(self._ask(commands.scontrol_config()), "ClusterName")
            if name != self._cluster:
                # The same numbers mean other jobs there.
                self._queue, self._attempts, self._shown = {}, {}, {}
            self._cluster, self._cluster_asked = name, now

    def _ask_about(
        self,
        numbers: Iterable[str],
        question: Callable[[list[str]], list[str]],
        parse: Callable[[str], dict[str, _Record]],
    ) -> dict[str, _Record]:
        """Answers about many jobs; a job that is unknown to Slurm is just not among them."""
        names = sorted(numbers, key=int)
        found: dict[str, _Record] = {}
        for start in range(0, len(names), _JOBS_AT_ONCE):
            try:
                answer = self._ask(question(names[start : start + _JOBS_AT_ONCE]))
            except commands.UnknownJob:
                continue
            found.update(parse(answer))
        return found

    def _may_have_ended(self, job: str) -> bool:
        """Whether a job is not plainly alive: a requeued one, too, waits for a time to come."""
        queued = self._queue.get(job)
        return (
            queued is None
            or queued.state in ENDS
            or (queued.state == "PENDING" and queued.reason == "BeginTime")
        )

    def _end_is_known(self, job: str) -> bool:
        """Whether accounting has the end that the queue shows, not that of an earlier attempt."""
        queued, attempts = self._queue.get(job), self._attempts.get(job, ())
        if queued is None or not attempts:
            return False
        return queued.state in ENDS and queued.state == attempts[-1].state

    def _has_ended(self, job: str) -> bool:
        attempts = self._attempts.get(job, ())
        return bool(attempts) and attempts[-1].state in ENDS


def _number(job: str) -> str:
    """Number of the job, or of the array that a task belongs to."""
    return job.partition("_")[0]


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
