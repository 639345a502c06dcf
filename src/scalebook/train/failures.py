"""Failures as one line, and the watchdog that notices a hang."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scalebook.contract import ScalebookError

if TYPE_CHECKING:
    from scalebook.train.distributed import Ranks

_FULL = {errno.ENOSPC, errno.EDQUOT}

# NumPy says so where a disk fills up while it writes an array, and gives no error number.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")

#: What Gloo, NCCL and PyTorch print where the other end is gone or silent. Their names alone
#: prove nothing: a wrong network interface is an NCCL error, too.
_LOST = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|closed by (remote )?peer|broken pipe|"
    r"socket closed|time[d-]? ?out|remote process exit|ncclRemoteError|failed to recv|"
    r"communicator was aborted|pair (closure|is closed)",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(r"time[d-]? ?out", re.IGNORECASE)


class PeerLost(ScalebookError):
    """Another rank does not answer, or is gone."""


class SharedFailure(ScalebookError):
    """A failure that all ranks know of, so that they end together.

    Parameters
    ----------
    line : str
        The message.
    exit_status : int
        Of the process.
    reports : bool
        Whether this rank is the one that reports it.
    """

    def __init__(self, line: str, exit_status: int, reports: bool) -> None:
        super().__init__(line)
        self.exit_status, self.reports = exit_status, reports


def as_peer_lost(error: BaseException, ranks: Ranks, where: str) -> PeerLost | None:
    """Say a collective's failure in one line, or None if `error` is something else."""
    if ranks.world_size == 1 or not isinstance(error, (RuntimeError, ConnectionError)):
        return None
    if "Duplicate GPU" in str(error):
        return PeerLost(
            f"rank {ranks.rank}, {where}: two ranks of a node were given the same GPU: start at "
            "most one rank for each"
        )
    if not _LOST.search(str(error)):
        return None
    seen = first_line(error)
    if _TIMED_OUT.search(str(error)):
        return PeerLost(
            f"rank {ranks.rank}, {where}: another rank did not answer for {ranks.timeout_s:g} s "
            f"(timeout_s) and seems to hang ({seen}): look at its node, then continue with --resume"
        )
    return PeerLost(
        f"rank {ranks.rank}, {where}: lost contact with another rank, which died or was killed "
        f"({seen}): look at its output and memory, then continue with --resume"
    )


def known_cause(error: BaseException, where: str) -> str | None:
    """One line for a failure that has a known cause, or None.

    Parameters
    ----------
    where : str
        What was being done.
    """
    if isinstance(error, ScalebookError):
        return str(error)
    if isinstance(error, OSError):
        name = f" {error.filename}" if error.filename else ""
        if error.errno in _FULL or _SHORT_WRITE.search(str(error)):
            return f"{where}: the disk is full{name}: free space, then continue with --resume"
        return f"{where}: {error.strerror or first_line(error)}{name}"
    if _compiling(error):
        return (
            f"{where}: torch.compile cannot compile here ({first_line(error)}): set compile=false"
        )
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text:
        return f"{where}: out of memory: lower global_batch, or use more ranks"
    return None


def _compiling(error: BaseException) -> bool:
    """Whether the compiler of torch.compile failed, as where no C++ compiler or no Triton is."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def first_line(error: BaseException) -> str:
    """First line of an exception's message, not too long to be read in one."""
    return (str(error).strip() or "no message").splitlines()[0][:200]


class Watchdog:
    """Ends this process where it makes no progress for a while.

    Gloo gives up on a silent rank by itself; a process that hangs outside a collective, or in
    one of NCCL's, needs to be ended from outside it.

    Parameters
    ----------
    timeout_s : float
        Longest time between two calls of `beat`.
    expired : callable
        Called in the watchdog's own thread; expected to end the process.
    active : bool
        One process alone has nobody to keep waiting: a person can stop it.
    """

    def __init__(self, timeout_s: float, expired: Callable[[], None], active: bool) -> None:
        self._timeout_s, self._expired, self._active = timeout_s, expired, active
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def beat(self) -> None:
        """Tell that there was progress."""
        self._last = time.monotonic()

    def __enter__(self) -> Watchdog:
        self.beat()
        if self._active:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        pause = min(1.0, self._timeout_s / 4)
        while not self._over.wait(pause):
            if time.monotonic() - self._last > self._timeout_s:
                self._expired()
                return
