"""File locks between processes, also of different nodes; standard library only."""

from __future__ import annotations

import errno
import fcntl
from typing import IO, Any

# Some cluster file systems are mounted without locks. Writing whole files by renaming keeps
# them safe there too; work may then be done twice.
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def acquire(file: IO[Any], wait: bool) -> bool:
    """Lock an open file until it is closed.

    Parameters
    ----------
    wait : bool
        Wait for a process that holds it.

    Returns
    -------
    bool
        False if another process holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
