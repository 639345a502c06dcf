"""A look now and then in the background, which keeps neither the kernel nor a cell waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scalebook.launch.waiting import Backoff

#: Shortest and longest pause between two looks, in seconds; the pause grows while nothing changes.
PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
#: A look takes at most this share of the time, however much there is to look at.
SHARE = 0.1


class Ticker:
    """Looks again and again in a thread of its own, until there is nothing to look at any more.

    Parameters
    ----------
    look : callable
        Looks, shows what there is, and says whether something has changed; None ends the looks.
    name : str
        Of the thread.
    """

    def __init__(self, look: Callable[[], bool | None], name: str) -> None:
        self._look = look
        self._again = threading.Event()
        self._stopped = False
        self._pause = Backoff(time.monotonic, PAUSE_S, LONGEST_PAUSE_S)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def soon(self) -> None:
        """Look at once: somebody has just done something."""
        self._pause.soon()
        self._again.set()

    def stop(self) -> None:
        """Look no more; does not wait for a look that is under way."""
        self._stopped = True
        self._again.set()

    @property
    def is_alive(self) -> bool:
        """Whether it still looks."""
        return self._thread.is_alive() and not self._stopped

    def _run(self) -> None:
        while not self._stopped:
            self._again.clear()
            began = time.monotonic()
            changed = self._look()
            if changed is None:
                return
            self._pause.asked(changed)
            took = time.monotonic() - began
            self._again.wait(max(self._pause.pause_s, took / SHARE))
