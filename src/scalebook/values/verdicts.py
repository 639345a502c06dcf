"""How many claims hold and rules are kept, for prose that counts them."""

from collections.abc import Callable, Iterator

from scalebook.analysis.benchmarking_rules import DOI, SIDES, VERDICTS, rules
from scalebook.analysis.checks import CONTRADICTED, HOLDS, UNDETERMINED
from scalebook.analysis.claims import claimed_sentences
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, origin


def verdicts(inputs: Inputs) -> Iterator[Value]:
    """Counts of verdicts.

    Yields
    ------
    Value
        ``claims.holds``, ``claims.contradicted``, ``claims.undetermined``, ``claims.all``;
        ``rules.<reported or measured>.kept``, ``.broken``, ``.partly``, ``.not_applicable``.
    """
    tested, what = claimed_sentences(inputs.checks)["verdict"], "claimed sentences tested"
    for verdict in (HOLDS, CONTRADICTED, UNDETERMINED):
        yield _count(f"claims.{verdict}", (tested == verdict).sum(), what, claimed_sentences)
    yield _count("claims.all", len(tested), what, claimed_sentences)
    table = rules(inputs)
    for side in SIDES:
        own = table[table["side"] == side]["verdict"]
        what = f"rules of Hoefler and Belli (DOI {DOI}) over what was {side}"
        for verdict in VERDICTS:
            key = f"rules.{side}.{verdict.replace(' ', '_')}"
            yield _count(key, (own == verdict).sum(), what, rules)


def _count(key: str, number: int, what: str, function: Callable[..., object]) -> Value:
    return origin("count", function, what=what)(key, float(number))
