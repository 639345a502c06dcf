"""Formats of trace files: each makes a `Trace` of the bytes that one profiler writes.

A format from outside registers as an entry point of the group ``scalebook.trace_formats`` that
names an instance of a `TraceFormat`; the first one that recognises a file reads it, and what
none of them recognises is read as a Chrome trace.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib.metadata import entry_points

from scalebook.traces.trace import Trace

GROUP = "scalebook.trace_formats"


class TraceFormat(ABC):
    """One format of trace files.

    Attributes
    ----------
    name : str
        Of letters, digits and hyphens.
    version : int
        Raised whenever what is read of a file changes; traces that were kept are then read anew.
    """

    name: str
    version: int = 1

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file is of this format.

        Parameters
        ----------
        head : bytes
            Its first bytes, unpacked, up to half a MiB.
        """

    @abstractmethod
    def read(self, pieces: Iterable[bytes], where: str) -> Trace:
        """Read a trace.

        Parameters
        ----------
        pieces : iterable of bytes
            The file, unpacked, in order.
        where : str
            How an error names the file.

        Raises
        ------
        ScalebookError
            If the file is damaged or no trace; one line.
        """


@functools.cache
def registered() -> tuple[TraceFormat, ...]:
    """Formats that were registered from outside, by name."""
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(point.load() for point in found)
