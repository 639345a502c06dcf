"""File locks between processes, also of different nodes; standard library only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from scalebook.train.privacy import printable

# Some cluster file systems are mounted without locks. Writing whole files by renaming keeps
# them safe there too; work may then be done twice.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def acquire(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; False if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


@contextlib.contextmanager
def alone(
    path: Path, work: str, look: Callable[[], None] = lambda: None, tell: bool = True
) -> Iterator[None]:
    """Hold a lock file; whoever waits for it says so, and for whom.

    Parameters
    ----------
    path : Path
        The file, which stays.
    work : str
        What is done meanwhile, as ``building the book``.
    look : callable
        Called now and then while waiting; may raise to stop it.
    tell : bool
        Say who is waited for; not among ranks, which wait for one of their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", buffering=0, opener=_no_link) as file:
        if not acquire(file):
            if tell:
                print(f"scalebook: waiting for {_holder(file)}", file=sys.stderr, flush=True)
            while not acquire(file):
                look()
                time.sleep(0.1)
        with contextlib.suppress(OSError):  # a full disk keeps nobody from working
            file.truncate(0)
            since = time.strftime("%H:%M:%S")
            file.write(f"{os.getpid()} {socket.gethostname()} {since} {work}".encode())
        yield


def _no_link(path: str, flags: int) -> int:
    """Open a file, but none that a link leads to: it is about to be emptied."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(
                errno.ELOOP, "is a link, and a lock must be a file: remove it", path
            ) from None
        raise


def _holder(file: IO[bytes]) -> str:
    """Who holds a lock, as they wrote it down; not by the name of a machine, which is private."""
    file.seek(0)
    written = file.read(300).decode(errors="replace")
    process, host, since, work = [*written.split(" ", 3), "", "", "", ""][:4]
    if not work:
        return "another process"
    where = "" if host == socket.gethostname() else " on another machine"
    return printable(f"process {process}{where}, which has been {work} since {since}")
