"""Sentences that follow the data: ``{study-text} NAME`` puts one on a page.

Each is a function of the numbers by key. It compares them, and answers with the case that holds and
its text. The text names numbers as roles, so that the page shows where they come from;
`scalebook.values.sentences` has more parts.
"""

from scalebook.values.sentences import Ledger, Sentence, measured, number, spread


def second_rank(numbers: Ledger) -> Sentence:
    """Whether the second rank pays."""
    speedup = "two.local.speedup"
    if not measured(numbers, speedup):
        return Sentence(
            "not run", "One and two ranks have not been compared yet: `scalebook run --all`."
        )
    case, verdict = "open", "these few seeds do not tell whether the second one pays"
    if number(numbers, f"{speedup}.low") > 1:
        case, verdict = "pays", "the second one pays"
    elif number(numbers, f"{speedup}.high") < 1:
        case, verdict = "costs", "the second one costs more than it brings"
    times = spread(speedup, ".2f", False)
    return Sentence(case, f"Two ranks train {times} times as fast as one: {verdict}.")


SENTENCES = {"second-rank": second_rank}
