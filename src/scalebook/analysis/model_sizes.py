"""How large published models are: ``data/cited/model_sizes.csv``, a row a model."""

from __future__ import annotations

import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.results import query

FILE = "data/cited/model_sizes.csv"
COLUMNS = ("model", "year", "parameters", "source")


@query
def model_sizes() -> pd.DataFrame:
    """Models by year, each with its parameters and the publication that gives them.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, oldest first; no row where a study has no such file.

    Raises
    ------
    ScalebookError
        One line, if the file is not such a table.
    """
    path = contract.find_root() / FILE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise ScalebookError(f"{FILE}: cannot be read ({error})") from None
    if tuple(table.columns) != COLUMNS:
        raise ScalebookError(f"{FILE}: the columns must be {', '.join(COLUMNS)}")
    for column in ("year", "parameters"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    wrong = table.index[table.isna().any(axis=1) | ~(table["parameters"] > 0)]
    if len(wrong):
        raise ScalebookError(
            f"{FILE}: row {wrong[0] + 1}: every column needs a value, and parameters must be "
            "positive"
        )
    return table.sort_values(["year", "parameters", "model"], ignore_index=True)
