"""One number with its provenance."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from scalebook.analysis.statistics import Summary
from scalebook.analysis.text import number, with_unit
from scalebook.contract import EVIDENCE, RunFiles
from scalebook.study.document import beside

Kind = Literal["measured", "reported", "modelled", "cited"]

_ORIGINS = beside(__file__)


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
        Dotted name of the function that made it, see `dotted`.
    """

    key: str
    value: float
    unit: str
    kind: Kind
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
        return with_unit(shown, self.unit)


@functools.lru_cache(maxsize=128)
def result_files(
    kind: Literal["csv", "steps", "manifest", "allreduce"], stems: tuple[str, ...]
) -> tuple[str, ...]:
    """Files of runs that are evidence; a reported run without files, with a space, has none."""
    files = [RunFiles(Path(EVIDENCE), stem) for stem in stems if " " not in stem]
    return tuple(getattr(run, kind).as_posix() for run in files)


def origin(
    name: str, function: Callable[..., object], runs: Iterable[str] = (), /, **about: object
) -> partial[Value]:
    """A function that makes values of one origin, with the texts of ``value.yaml``.

    Parameters
    ----------
    name : str
        Of the origin.
    function : callable
        That gives the numbers.
    runs : iterable of str
        Behind them.
    **about
        What the texts of the origin are filled with.
    """
    words, stems = _ORIGINS[name], tuple(runs)
    files = words.get("files", [])
    fixed: dict[str, Any] = {part: words[part] for part in ("kind", "unit") if part in words}
    fixed |= {part: words[part].format(**about) for part in ("source", "where") if part in words}
    fixed["files"] = (
        result_files(words["files"], stems)
        if isinstance(files, str)
        else tuple(file.format(**about) for file in files)
    )
    return partial(Value, **fixed, runs=stems, code=dotted(function))


def dotted(function: Callable[..., object]) -> str:
    """Name of a function for `Value.code`: ``scalebook.analysis.tables.step_table``."""
    return f"{function.__module__}.{function.__qualname__}"


def statistics(
    prefix: str,
    summary: Summary,
    make: Callable[..., Value],
    stats: Iterable[str] = ("median", "low", "high"),
) -> Iterator[Value]:
    """A summary as values: ``<prefix>.median`` with the interval, ``<prefix>.low``, and others.

    Parameters
    ----------
    prefix : str
        Start of their keys.
    summary : Summary
        Without values it gives none.
    make : callable
        Makes a value, such as a partial `Value` that has all else.
    stats : iterable of str
        Attributes of `Summary`.
    """
    for stat in stats if summary.n else ():
        about: dict[str, object] = {"unit": ""} if stat == "n" else {}
        if stat == "median" and summary.n > 1:
            about |= {"low": summary.low, "high": summary.high}
        number = float(getattr(summary, stat))
        yield make(key=f"{prefix}.{stat}", value=number, n=summary.n, **about)


def with_ends(value: Value) -> Iterator[Value]:
    """A value, and the ends of its interval as values of their own, with ``.low`` and ``.high``."""
    yield value
    for end, bound in (("low", value.low), ("high", value.high)):
        if bound is not None:
            yield replace(value, key=f"{value.key}.{end}", value=bound, low=None, high=None)
