"""A verdict on one rule, and what shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

KEPT, BROKEN, PARTLY, NOT_APPLICABLE = "kept", "broken", "partly", "not applicable"


class Ruling(NamedTuple):
    """Verdict, and where in the study it shows."""

    verdict: str
    where: str


def listed(names: Iterable[str], most: int = 4) -> str:
    """Names in a row, the rest counted."""
    names = list(dict.fromkeys(names))
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
