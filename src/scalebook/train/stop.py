"""Requests to stop: signals set a flag that the work asks for at safe places."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from scalebook.contract import ScalebookError

# How the manifest says that an attempt ended on each signal. SIGUSR1, which Slurm can
# send before a time limit, would get its own flag here and be asked for at step ends.
_ENDED = {signal.SIGTERM: "cancelled", signal.SIGINT: "interrupted"}

_requested: str | None = None


class Stopped(ScalebookError):
    """The run was asked to stop; `ended` is the word for its manifest."""

    def __init__(self, ended: str) -> None:
        super().__init__(f"run {ended}: continue it with --resume")
        self.ended = ended


def listen() -> None:
    """Note SIGTERM and SIGINT instead of dying at once; a second SIGINT (Ctrl-C) does kill."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDED:
            signal.signal(number, _note)


def requested() -> str | None:
    """``"cancelled"`` or ``"interrupted"`` once asked to stop, else None."""
    return _requested


def check() -> None:
    """Raise `Stopped` if asked to stop; called where stopping leaves nothing half written."""
    if _requested is not None:
        raise Stopped(_requested)


def forget() -> None:
    """Take signals as the process did before; for tests that run several trainings."""
    global _requested
    _requested = None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _note(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = _ENDED[signal.Signals(number)]
    if number == signal.SIGINT:  # launchers may send SIGTERM twice, impatient people Ctrl-C
        signal.signal(number, signal.SIG_DFL)
