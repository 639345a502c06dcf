"""Sentences that follow the data: ``{study-text} NAME`` puts one on a page.

Each is a function of the numbers by key. It chooses its words by comparing them, and names them
as roles, so that the page shows where they come from; `scalebook.values.sentences` has more parts.
"""

from scalebook.values.sentences import Ledger, measured, number, spread


def second_rank(known: Ledger) -> str:
    """Whether the second rank pays."""
    speedup = "two.local.speedup"
    if not measured(known, speedup):
        return "One and two ranks have not been compared yet: `scalebook run --all`."
    if number(known, f"{speedup}.low") > 1:
        verdict = "the second one pays"
    elif number(known, f"{speedup}.high") < 1:
        verdict = "the second one costs more than it brings"
    else:
        verdict = "these few seeds do not tell whether the second one pays"
    return f"Two ranks train {spread(speedup, '.2f', False)} times as fast as one: {verdict}."


SENTENCES = {"second-rank": second_rank}
