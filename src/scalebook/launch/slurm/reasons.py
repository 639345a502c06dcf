"""Slurm's words as a person would say them."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal

from scalebook.launch.slurm.records import Exit

MEMORY = "a process needed more memory than the job was given"

# --------------------------------------------------------------------------- waiting

# Slurm's reasons (job_state_reason in slurm.h) as a person would say them.
_REASONS = {
    "Resources": "waiting for nodes to become free",
    "Priority": "jobs of higher priority are before it",
    "Dependency": "waiting for another job to end",
    "DependencyNeverSatisfied": "waits for a job that did not end as it had to, so it never "
    "starts: cancel it",
    "JobHeldUser": "held by its owner; let it go with: scontrol release {job}",
    "JobHeldAdmin": "held by an administrator: ask them",
    "BeginTime": "its start time has not come",
    "JobArrayTaskLimit": "waiting for other tasks of its array",
    "ReqNodeNotAvail": "nodes it needs are down, drained or reserved",
    "NodeDown": "a node it needs is down",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs to run now",
    "PartitionNodeLimit": "asks for more nodes than its partition gives a job: submit it anew "
    "with fewer",
    "PartitionTimeLimit": "asks for more time than its partition gives a job: submit it anew "
    "with less",
    "Reservation": "waiting for its reservation to begin",
    "ReservationDeleted": "its reservation was deleted: cancel it",
    "Licenses": "waiting for a licence",
    "BadConstraints": "no node is what it asks for: submit it anew",
    "InvalidAccount": "its account is not known here: submit it anew with another",
    "AccountNotAllowed": "its account may not use this partition",
    "InvalidQOS": "its QOS is not known here: submit it anew with another",
    "QOSNotAllowed": "its QOS may not be used in this partition",
    "QOSUsageThreshold": "its QOS is used up beyond a threshold",
    "AccountingPolicy": "over a limit of its account",
    "Cleaning": "its last attempt is still being cleaned up",
    "Prolog": "its nodes are being prepared",
    "SystemFailure": "Slurm or a node failed: ask the administrators",
    "launch failed requeued held": "could not be started and is held; look at its nodes, then: "
    "scontrol release {job}",
    "JobHoldMaxRequeue": "was requeued too often and is held; let it go with: scontrol release "
    "{job}",
    "MaxRequeue": "was requeued too often and is held; let it go with: scontrol release {job}",
    "DeadLine": "cannot end before its deadline",
    "NonZeroExitCode": "its last attempt failed",
    "FedJobLock": "the clusters of the federation are agreeing on it",
    "BurstBufferResources": "waiting for burst-buffer space",
    "BurstBufferStageIn": "its files are being copied in",
}
_REASON_PREFIXES = {
    "Nodes required for job are": "nodes it needs are down, drained or reserved",
    "Required nodes not available": "nodes it needs are down, drained or reserved",
    "QOSGrp": "all jobs of its QOS together are at a limit",
    "QOSMax": "over a limit of its QOS",
    "QOSMin": "asks for less than its QOS demands",
    "QOS": "held by a rule of its QOS",
    "AssocGrp": "all jobs of its account together are at a limit",
    "AssocMax": "over a limit of its account or user",
    "Assoc": "held by a rule of its account",
    "MaxMemPerLimit": "asks for more memory than a job may have: submit it anew with less",
    "MaxJobsPer": "over a limit of its account",
    "BurstBuffer": "waiting for a burst buffer",
}


def pending_words(reason: str, job: str) -> str:
    """Why a job waits, in words, with Slurm's own word after them."""
    # Some reasons carry details: "ReqNodeNotAvail, UnavailableNodes:node2".
    word = reason.partition(",")[0].strip().strip("()")
    if word in ("", "None"):
        return ""
    words = _REASONS.get(word)
    if words is None:
        words = next((said for key, said in _REASON_PREFIXES.items() if word.startswith(key)), "")
    if not words:
        return f"Slurm says {word}"
    return words.format(job=job) + ("" if " " in word else f" ({word})")


# --------------------------------------------------------------------------- ended


# What nobody asked for is no limit: Slurm shows an overflowed number where one was moved.
_LIMIT = re.compile(r"(\d{1,3}-)?\d\d(:\d\d){1,2}")


def end_words(state: str, code: Exit, limit: str) -> str:
    """Why a job ended so, where its state alone does not say it."""
    return {
        "COMPLETED": "",
        "FAILED": f"its script {exit_words(code)}" if code.failed else "",
        "CANCELLED": "",
        "TIMEOUT": f"reached its time limit{f' of {limit}' if _LIMIT.fullmatch(limit) else ''}",
        "DEADLINE": "reached its deadline",
        "OUT_OF_MEMORY": MEMORY,
        "NODE_FAIL": "a node was lost, and the job may not be requeued",
        "BOOT_FAIL": "a node did not start",
        "PREEMPTED": "a job of higher priority took its nodes",
        "REVOKED": "another cluster of the federation runs it",
        "LAUNCH_FAILED": "it could not be started",
        "RECONFIG_FAIL": "its nodes could not be set up",
    }[state]


#: Exit code 0:53 is Slurm's mark of a job whose output file could not be opened on the node.
_NO_OUTPUT = 53


def exit_words(code: Exit) -> str:
    """``ended with exit status 9``, or ``was killed by signal 9 (SIGKILL)``."""
    number = code.signal or (code.status - 128 if 128 < code.status < 160 else 0)
    if number == _NO_OUTPUT:
        return "could not open its output file: the node must see its folder (slurm/logs)"
    if not number:
        return f"ended with exit status {code.status}"
    try:
        return f"was killed by signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"was killed by signal {number}"


def whom(user: str) -> str:
    """Who cancelled a job, without a name: it may end up in a committed file."""
    if user in ("0", "root"):
        return "root"
    return "its owner" if user == str(os.getuid()) else "another user"


def clock(moment: dt.datetime, now: dt.datetime) -> str:
    """Local time of day, with the date where it is another day."""
    moment, now = moment.astimezone(), now.astimezone()
    form = "%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M"
    return moment.strftime(form)
