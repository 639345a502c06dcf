"""One number with its provenance, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """One number and its provenance.

    Attributes
    ----------
    key : str
        Its name in prose.
    value : float
        The number, in `unit`.
    unit : str
        ``"images/s"``, ``"s"``, ``"%"`` …; empty for a ratio or a count.
    kind : {"measured", "reported", "modelled", "cited"}
        Whether a run, a file in ``data/reported``, a formula, or a publication gave it.
    source : str
        One phrase for the reader.
    n : int
        Number of values behind it.
    low, high : float or None
        Interval of the median; None where there is none.
    runs : tuple of str
        Stems, or job ids of reported runs.
    files : tuple of str
        The files it was read from, relative to the study's root.
    where : str
        Place within those files: a column, a key, a row.
    code : str
        Dotted name of the function that made it, such as ``scalebook.analysis.scaling_table``.
    """

    key: str
    value: float
    unit: str
    kind: str
    source: str
    n: int = 1
    low: float | None = None
    high: float | None = None
    runs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    where: str = ""
    code: str = ""

    @property
    def text(self) -> str:
        """The number as prose shows it, with its unit: ``4,460 images/s``, ``77.42 %``.

        A reported number keeps its digits, any other is rounded to three.
        """
        shown = f"{self.value:,.6g}" if self.kind == "reported" else number(self.value)
        return f"{shown} {self.unit}".strip()


def result_files(folder: str, stems: Iterable[str], suffix: str) -> tuple[str, ...]:
    """Files of runs below ``results``; a reported run without files, with a space, has none."""
    return tuple(f"results/{folder}/{stem}{suffix}" for stem in stems if " " not in stem)


def number(value: float, digits: int = 3) -> str:
    """A number at `digits` significant digits; whole ones and thousands in full, with commas."""
    if value is None or not math.isfinite(value):
        return "–"
    if float(value).is_integer() or abs(value) >= 10 ** (digits - 1):
        decimals = 0 if float(value).is_integer() or abs(value) >= 10**digits else 1
        return f"{value:,.{decimals}f}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits - 1 - magnitude)}f}"
