"""How many claims hold and rules are kept, for prose that counts them."""

from __future__ import annotations

from collections.abc import Iterator

from scalebook.analysis.checking import CONTRADICTED, HOLDS, UNDETERMINED
from scalebook.analysis.consistency import sentences
from scalebook.analysis.rules import DOI, SIDES, rules
from scalebook.analysis.ruling import BROKEN, KEPT, NOT_APPLICABLE, PARTLY
from scalebook.values.value import Value


def values() -> Iterator[Value]:
    """Counts of verdicts.

    Yields
    ------
    Value
        ``claims.holds``, ``claims.contradicted``, ``claims.undetermined``, ``claims.all``;
        ``rules.<reported or measured>.kept``, ``.broken``, ``.partly``, ``.not_applicable``.
    """
    found = sentences()["verdict"]
    for verdict in (HOLDS, CONTRADICTED, UNDETERMINED):
        yield _count(f"claims.{verdict}", (found == verdict).sum(), "claimed sentences tested",
                     "consistency.sentences")  # fmt: skip
    yield _count("claims.all", len(found), "claimed sentences tested", "consistency.sentences")
    table = rules()
    for side in SIDES:
        own = table[table["side"] == side]["verdict"]
        for verdict in (KEPT, BROKEN, PARTLY, NOT_APPLICABLE):
            yield _count(
                f"rules.{side}.{verdict.replace(' ', '_')}",
                (own == verdict).sum(),
                f"rules of Hoefler and Belli (DOI {DOI}) over what was {side}",
                "rules.rules",
            )


def _count(key: str, number: int, source: str, code: str) -> Value:
    return Value(key, float(number), "", kind="modelled", source=f"counted: {source}",
                 code=f"scalebook.analysis.{code}")  # fmt: skip
