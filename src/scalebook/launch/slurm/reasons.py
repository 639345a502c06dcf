"""What Slurm's words for states and reasons mean, in plain English."""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import re

from scalebook.launch.job import JobState
from scalebook.launch.processes import killed_by
from scalebook.launch.slurm.records import Exit
from scalebook.study.document import beside

MEMORY = "a process needed more memory than the job was given"

# --------------------------------------------------------------------------- states

#: States of a job that is still in the queue; of a waiting one Slurm gives a reason besides.
ALIVE = {
    "PENDING": (JobState.PENDING, ""),
    "REQUEUED": (JobState.PENDING, "requeued"),
    "REQUEUE_FED": (JobState.PENDING, "requeued on another cluster of the federation"),
    "REQUEUE_HOLD": (
        JobState.PENDING,
        "requeued and held; let it go with: scontrol release {job}",
    ),
    "SPECIAL_EXIT": (
        JobState.PENDING,
        "requeued and held after a special exit status; let it go with: scontrol release {job}",
    ),
    "RESV_DEL_HOLD": (JobState.PENDING, "held because its reservation was deleted"),
    "SUSPENDED": (JobState.SUSPENDED, "Slurm has suspended it; it goes on by itself"),
    "STOPPED": (JobState.SUSPENDED, "stopped by a signal; it keeps its nodes"),
    "RUNNING": (JobState.RUNNING, ""),
    "COMPLETING": (JobState.RUNNING, "ending: its nodes are being cleaned up"),
    "CONFIGURING": (JobState.RUNNING, "its nodes are starting"),
    "RESIZING": (JobState.RUNNING, "its nodes are changing"),
    "SIGNALING": (JobState.RUNNING, "being signalled"),
    "STAGE_OUT": (JobState.RUNNING, "its files are being copied out"),
}
#: States of a job that has ended.
ENDS = {
    "COMPLETED": (JobState.COMPLETED, ""),
    "FAILED": (JobState.FAILED, "{script}"),
    "CANCELLED": (JobState.CANCELLED, ""),
    "TIMEOUT": (JobState.TIMEOUT, "reached its time limit{limit}"),
    "DEADLINE": (JobState.TIMEOUT, "reached its deadline"),
    "OUT_OF_MEMORY": (JobState.OUT_OF_MEMORY, MEMORY),
    "NODE_FAIL": (JobState.NODE_FAIL, "a node was lost, and the job may not be requeued"),
    "BOOT_FAIL": (JobState.NODE_FAIL, "a node did not start"),
    "PREEMPTED": (JobState.PREEMPTED, "a job of higher priority took its nodes"),
    "REVOKED": (JobState.CANCELLED, "another cluster of the federation runs it"),
    "LAUNCH_FAILED": (JobState.FAILED, "it could not be started"),
    "RECONFIG_FAIL": (JobState.FAILED, "its nodes could not be set up"),
}
#: States of an attempt after which Slurm queued the job again.
REQUEUED = {
    "NODE_FAIL": "requeued after a node was lost",
    "PREEMPTED": "requeued after a job of higher priority took its nodes",
    "REQUEUED": "requeued",
    "BOOT_FAIL": "requeued after a node did not start",
}

# What nobody asked for is no limit: Slurm shows an overflowed number where one was moved.
_LIMIT = re.compile(r"(\d{1,3}-)?\d\d(:\d\d){1,2}")


def end_reason(state: str, code: Exit, limit: str) -> str:
    """Why a job ended so, where its state alone does not tell it."""
    return ENDS[state][1].format(
        script=f"its script {exit_text(code)}" if code.failed else "",
        limit=f" of {limit}" if _LIMIT.fullmatch(limit) else "",
    )


#: Exit code 0:53 is Slurm's mark of a job whose output file could not be opened on the node.
_NO_OUTPUT = 53


def exit_text(code: Exit) -> str:
    """``ended with exit status 9``, or ``was killed by signal 9 (SIGKILL)``."""
    number = code.signal or (code.status - 128 if 128 < code.status < 160 else 0)
    if number == _NO_OUTPUT:
        return "could not open its output file: the node must see its folder (slurm/logs)"
    if not number:
        return f"ended with exit status {code.status}"
    return f"was {killed_by(number)}"


def canceller(user: str) -> str:
    """Who cancelled a job, without a name: it may end up in a committed file."""
    if user in ("0", "root"):
        return "root"
    return "its owner" if user == str(os.getuid()) else "another user"


def local_time(moment: dt.datetime, now: dt.datetime) -> str:
    """Local time of day, with the date where it is another day."""
    moment, now = moment.astimezone(), now.astimezone()
    form = "%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M"
    return moment.strftime(form)


# --------------------------------------------------------------------------- waiting


_REASONS: dict[str, str] = beside(__file__)


def waiting_reason(reason: str, job: str) -> str:
    """Why a job waits, in plain English, with Slurm's own word after it."""
    # Some reasons carry details: "ReqNodeNotAvail, UnavailableNodes:node2".
    word = reason.partition(",")[0].strip().strip("()")
    if word in ("", "None"):
        return ""
    for name, text in _REASONS.items():
        if fnmatch.fnmatchcase(word, name):
            return text.format(job=job) + ("" if " " in word else f" ({word})")
    return f"Slurm says {word}"
