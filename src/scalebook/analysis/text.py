"""How numbers, counts and lists are written in sentences, tables and figures."""

import math
from collections.abc import Iterable, Sequence


def number(value: float | None, digits: int = 3) -> str:
    """Write a number at `digits` significant digits; whole ones and thousands in full.

    Parameters
    ----------
    value : float or None
        What is missing or infinite becomes a dash.
    digits : int
        Significant digits of what is neither whole nor large.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if float(value).is_integer() or abs(value) >= 10 ** (digits - 1):
        decimals = 0 if float(value).is_integer() or abs(value) >= 10**digits else 1
        return f"{value:,.{decimals}f}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits - 1 - magnitude)}f}"


def with_unit(shown: str, unit: str) -> str:
    """A number as text with its unit, which is singular for one thing: ``1 node``, ``2 nodes``."""
    one_thing = shown == "1" and len(unit) > 3 and unit.endswith("s") and "/" not in unit
    return f"{shown} {unit[:-1] if one_thing else unit}".strip()


def count(n: float, noun: str) -> str:
    """Write a number of things: ``1 run``, ``3 runs``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Write words as ``one, two and three``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def abridged(names: Iterable[str], most: int = 4) -> str:
    """Write names, each once, and count those after the first `most`: ``a, b and 3 more``."""
    names = list(dict.fromkeys(names))
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def seeds(numbers: Iterable[int]) -> str:
    """Write seeds as ``seed 0``, ``seeds 0–2`` or ``seeds 0, 5``; says where none is known."""
    several = sorted(set(numbers))
    if not several:
        return "seed unknown"
    if len(several) == 1:
        return f"seed {several[0]}"
    if several == list(range(several[0], several[-1] + 1)) and len(several) > 2:
        return f"seeds {several[0]}–{several[-1]}"
    return f"seeds {', '.join(map(str, several))}"
