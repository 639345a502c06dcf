"""Requests to stop: signals set a flag that the work asks for at safe places.

SIGTERM comes from a cancellation or a preemption and leaves a few seconds, SIGUSR1 from Slurm's
``--signal=USR1@120`` before the time limit, SIGINT from the keyboard.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from scalebook import contract
from scalebook.contract import ScalebookError

# How the manifest says that an attempt ended on each signal.
_TIME_LIMIT = {signal.SIGUSR1: "timeout"}
_ENDED = {signal.SIGTERM: "cancelled", signal.SIGINT: "interrupted", **_TIME_LIMIT}

_requested: str | None = None


class Stopped(ScalebookError):
    """The run was asked to stop.

    Parameters
    ----------
    ended : str
        The word for its manifest.
    together : bool
        Whether all ranks stop at this very place, so that they can still talk to each other.
    checkpoint : str or None
        Where the checkpoint lies, as "epoch 2, step 40"; None where this attempt got no further
        than the one it started from.

    Attributes
    ----------
    exit_status : int
        `contract.REQUEUE` where the run got further and only lacks time: it may go on at once.
        Without progress another attempt would end the same way.
    """

    def __init__(self, ended: str, together: bool = False, checkpoint: str | None = None) -> None:
        if ended != "timeout":
            line = f"run {ended}: continue it with --resume"
            line += f" (checkpoint at {checkpoint})" if checkpoint else ""
        elif checkpoint:
            line = (
                f"stopped before the time limit with a checkpoint at {checkpoint}: it goes on when "
                "its job is queued again"
            )
        else:
            line = (
                "stopped before the time limit without having got further: give the job more "
                "time, then continue with --resume"
            )
        super().__init__(line)
        self.ended, self.together = ended, together
        self.exit_status = contract.REQUEUE if ended == "timeout" and checkpoint else 1


def listen(early: bool = False) -> None:
    """Note signals instead of dying at once; a second SIGINT (Ctrl-C) does kill.

    Parameters
    ----------
    early : bool
        Only the one before a time limit, which must not kill a process that still imports torch
        or waits for its peers; the others may.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _TIME_LIMIT if early else _ENDED:
            signal.signal(number, _note)


def ignore_time_limit() -> None:
    """Be deaf to the signal before a time limit: Python on its way out would die of it."""
    if threading.current_thread() is threading.main_thread():
        for number in _TIME_LIMIT:
            signal.signal(number, signal.SIG_IGN)


def requested() -> str | None:
    """``"cancelled"``, ``"interrupted"`` or ``"timeout"`` once asked to stop, else None."""
    return _requested


def check(together: bool = False) -> None:
    """Raise `Stopped` if asked to stop; called where stopping leaves nothing half written."""
    if _requested is not None:
        raise Stopped(_requested, together)


def _note(number: int, frame: FrameType | None) -> None:
    global _requested
    # The first one is the reason; Slurm's SIGTERM at the limit follows its SIGUSR1.
    _requested = _requested or _ENDED[signal.Signals(number)]
    if number == signal.SIGINT:  # launchers may send SIGTERM twice, impatient people Ctrl-C
        signal.signal(number, signal.SIG_DFL)
