"""The twelve rules of Hoefler and Belli as a checklist over a study.

*Scientific Benchmarking of Parallel Computing Systems*, SC15, DOI 10.1145/2807591.2807644; the
rules in our words. A side is either what was reported or what was measured. Verdicts: kept,
broken, partly, or not applicable where a side has nothing the rule speaks of. They are worked out
from the contents of the study in `rules_reported` and `rules_measured`; a rule about how numbers
are formed names the function that forms them.
"""

from __future__ import annotations

import pandas as pd

from scalebook.analysis import rules_measured, rules_reported
from scalebook.analysis.ruling import NOT_APPLICABLE, Ruling

DOI = "10.1145/2807591.2807644"

#: The rules, in few words.
RULES = {
    1: "A speed-up says what its base case is, and how fast that is",
    2: "A reason is given where only a part of a benchmark or of the machine is used",
    3: "Costs are averaged arithmetically, rates harmonically",
    4: "Ratios are not averaged; the costs or rates behind them are",
    5: "It is said whether values vary; if they do, with a confidence interval",
    6: "A normal distribution is not assumed without a check",
    7: "Values that vary are compared by statistics, not by eye",
    8: "It is considered whether a mean or median is what matters, or a percentile",
    9: "All factors, their levels and the whole set-up are documented",
    10: "How parallel time was measured, synchronised and summed up is told",
    11: "An upper bound of performance is shown where there is one",
    12: "Plots show as much of the data as they can; lines join only what may be interpolated",
}

SIDES = {"reported": rules_reported.rulings, "measured": rules_measured.rulings}

COLUMNS = ("number", "rule", "side", "verdict", "where")

#: Columns of `rules_table` for a reader.
RULE_HEADERS = {
    "number": "rule",
    "rule": "in short",
    "reported": "reported",
    "reported_where": "where",
    "measured": "measured",
    "measured_where": "where",
}


def rules() -> pd.DataFrame:
    """Each rule for each side of the study.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: ``side`` is ``"reported"`` or ``"measured"``; ``where`` names what
        shows it.
    """
    rows = []
    for side, rulings in SIDES.items():
        found = rulings()
        nothing = Ruling(NOT_APPLICABLE, f"nothing is {side}")
        for n, text in RULES.items():
            ruling = found[n] if found else nothing
            rows.append((n, text, side, ruling.verdict, ruling.where))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rules_table() -> pd.DataFrame:
    """One row a rule, both sides beside each other; columns of `RULE_HEADERS`."""
    table = rules()
    wide = {"number": list(RULES), "rule": list(RULES.values())}
    for side in SIDES:
        rows = table[table["side"] == side].set_index("number")
        wide[side] = [rows.loc[n, "verdict"] for n in RULES]
        wide[f"{side}_where"] = [rows.loc[n, "where"] for n in RULES]
    return pd.DataFrame(wide, columns=list(RULE_HEADERS))
