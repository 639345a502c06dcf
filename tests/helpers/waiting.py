"""How tests wait: for what happens, and far longer than it takes, for the machine may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable

#: In seconds; whoever waits this long waits in vain.
PATIENCE_S = 300.0


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not in {PATIENCE_S:g} s"
        time.sleep(0.05)
