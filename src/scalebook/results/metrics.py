"""What is measured of a run as a whole: a `Metric` for each such column of the catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalebook.results import schema


@dataclass(frozen=True)
class Metric:
    """A number that each run has.

    Attributes
    ----------
    name : str
        Column of `runs`, and part of its keys in the ledger.
    title, unit : str
        How a reader knows it.
    header : str
        Of its column in a table of many runs.
    digits : int
        Decimal places that are shown of one run.
    column : str
        Column of the epochs' CSV that it is made of, and how.
    measure : callable
        Makes it from the rows of the CSV, of which there is one at least; NaN where they do not
        hold it.
    """

    name: str
    title: str
    unit: str
    header: str
    digits: int
    column: str
    measure: Callable[[pd.DataFrame], float]

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})"


def _epoch_time(epochs: pd.DataFrame) -> float:
    known = epochs["epoch_time_s"].dropna() if "epoch_time_s" in epochs else []
    return float(np.median(known)) if len(known) else math.nan


#: By name, in the order of the catalogue's columns.
METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "throughput", "throughput", "images/s", "images/s", 1,
            "throughput, all epochs together", schema.throughput,
        ),
        Metric(
            "epoch_time_s", "median time per epoch", "s", "time per epoch (s)", 2,
            "epoch_time_s, median over the epochs", _epoch_time,
        ),
        Metric(
            "final_val_acc", "final validation accuracy", "%", "validation accuracy (%)", 2,
            "val_acc, last row", lambda epochs: float(epochs["val_acc"].iloc[-1]),
        ),
        Metric(
            "best_val_acc", "best validation accuracy", "%", "best validation accuracy (%)", 2,
            "val_acc, largest", lambda epochs: float(epochs["val_acc"].max()),
        ),
    )
}  # fmt: skip
