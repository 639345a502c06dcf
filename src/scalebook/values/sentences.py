"""Parts that computed sentences are made of: numbers as roles, and questions to the ledger.

A sentence holds no number itself. It names keys, and the page looks them up, so that a reader
can follow each number to its origin in a computed sentence as in a typed one.
"""

from __future__ import annotations

from collections.abc import Mapping

from scalebook.analysis import checking
from scalebook.values.value import Value

#: The numbers a sentence may ask about, by key.
Ledger = Mapping[str, Value]


def value(key: str, spec: str = "", unit: bool = True) -> str:
    """Role that shows the number behind a key.

    Parameters
    ----------
    key : str
        Of the ledger.
    spec : str
        Format, as in ``,.0f``; three significant digits where left out.
    unit : bool
        Show its unit behind it.
    """
    return f"{{value}}`{key}{f'|{spec}' if spec or unit else ''}{'|unit' if unit else ''}`"


def spread(prefix: str, spec: str = "", unit: bool = True) -> str:
    """Median with its interval, as ``25 % (23–26 %)``; the keys are ``prefix.median`` and so on."""
    low, high = value(f"{prefix}.low", spec, False), value(f"{prefix}.high", spec, unit)
    return f"{value(f'{prefix}.median', spec, unit)} ({low}–{high})"


def has(known: Ledger, *keys: str) -> bool:
    """Whether all keys are in the ledger."""
    return all(key in known for key in keys)


def number(known: Ledger, key: str) -> float:
    """The number behind a key that is there."""
    return known[key].value


def agree(known: Ledger, one: str, other: str) -> bool:
    """Whether two numbers are the same to a check of reported ones."""
    return checking.agree(number(known, one), number(known, other))


def below(known: Ledger, one: str, other: str) -> bool:
    """Whether the whole interval of the first quantity lies under that of the second."""
    return number(known, f"{one}.high") < number(known, f"{other}.low")


def apart(known: Ledger, one: str, other: str) -> bool:
    """Whether the intervals of two measured quantities have no value in common.

    Parameters
    ----------
    known : mapping
        The ledger.
    one, other : str
        Prefixes of keys that end in ``.low`` and ``.high``.
    """
    return below(known, one, other) or below(known, other, one)


def measured(known: Ledger, *prefixes: str) -> bool:
    """Whether each quantity has a median with an interval in the ledger."""
    ends = ("median", "low", "high")
    return all(has(known, *(f"{prefix}.{end}" for end in ends)) for prefix in prefixes)


def listed(parts: list[str]) -> str:
    """Words as ``one, two and three``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
