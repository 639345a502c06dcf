"""One digest for all numbers, so that a document says from which of them it was made."""

from __future__ import annotations

#: Characters of a digest that are shown.
SHORT = 12


def ledger_digest(short: bool = False) -> str:
    """SHA-256 over every number that the documents can use.

    A number counts by key, value, unit, kind, interval and n, at 6 significant digits; how its
    origin is worded does not. The numbers are those of the study in which this is called.

    Parameters
    ----------
    short : bool
        Only the first `SHORT` characters, as the documents show it.
    """
    from scalebook.results import queries
    from scalebook.values import ledger

    rows = {
        key: [value.value, value.unit, value.kind, value.low, value.high, value.n]
        for key, value in ledger().items()
    }
    digest = queries.digest(rows)
    return digest[:SHORT] if short else digest
