"""Waiting: the pauses between two looks at something that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

#: By how much a pause grows while nothing changes.
_GROWTH = 1.4


def looks(
    pause_s: float, longest_s: float | None = None, timeout_s: float | None = None
) -> Iterator[None]:
    """Say when to look: at once, then after pauses that grow.

    Parameters
    ----------
    pause_s, longest_s : float
        First and longest pause in seconds; they stay as they are where `longest_s` is left out.
    timeout_s : float, optional
        No look comes later than this.
    """
    end = time.monotonic() + timeout_s if timeout_s is not None else None
    while True:
        yield
        if end is not None and time.monotonic() + pause_s > end:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * _GROWTH, longest_s or pause_s)


class Backoff:
    """When to ask again, without sleeping: soon after a change, ever later while nothing changes.

    Parameters
    ----------
    clock : callable
        Seconds.
    pause_s, longest_s : float
        Shortest and longest pause between two questions.
    """

    def __init__(self, clock: Callable[[], float], pause_s: float, longest_s: float) -> None:
        self._clock = clock
        self._shortest = self._pause = pause_s
        self._longest = longest_s
        self._asked: float | None = None

    @property
    def pause_s(self) -> float:
        """How long to wait from one question to the next."""
        return self._pause

    def due(self) -> bool:
        """Whether the pause is over."""
        return self._asked is None or self._clock() - self._asked >= self._pause

    def asked(self, changed: bool) -> None:
        """Note a question that was asked, and whether its answer was a new one."""
        self._asked = self._clock()
        grown = min(self._longest, self._pause * _GROWTH)
        self._pause = self._shortest if changed else grown

    def soon(self) -> None:
        """Expect a change: the next pause is a short one."""
        self._pause = self._shortest

    def now(self) -> None:
        """Ask at the next look, and soon again."""
        self._asked, self._pause = None, self._shortest
