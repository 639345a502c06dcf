"""One thing to hand over, as `scalebook check` tells about it."""

from __future__ import annotations

from typing import NamedTuple

OK, MISSING, STALE, WRONG = "ok", "missing", "stale", "wrong"


class Deliverable(NamedTuple):
    """What it is, its status, what was found, what to do about it."""

    name: str
    status: str
    found: str
    mend: str = ""


def about(name: str, lacking: list[str], found: str, mend: str, status: str) -> Deliverable:
    """One row about many things: fine, or the first of those that are not."""
    if not lacking:
        return Deliverable(name, OK, found)
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return Deliverable(name, status, f"{lacking[0]}{more}", mend)
