"""What files in ``results/csv`` and ``results/steps`` may hold, and how they are read.

Our own files follow `scalebook.contract` to the letter. Files of other programs
need ``epoch`` and ``val_acc`` only; what is understood differently from how it
is written there stands in a note.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.results import files
from scalebook.results.files import Problem
from scalebook.study.document import decoded

CSV_LIMIT = 16 * files.MIB
STEPS_LIMIT = 512 * files.MIB

#: Relative tolerance of the recomputed throughput: the parts are rounded to what is printed.
THROUGHPUT_TOLERANCE = 0.005

#: Columns that every file has, without a gap.
REQUIRED = ("epoch", "val_acc")
#: What a `contract.Column.check` asks of each value that is there, and how a problem words it.
CHECKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "whole": (lambda x: (x >= 0) & (x % 1 == 0), "must be a whole number, not negative"),
    "percent": (lambda x: (x >= 0) & (x <= 100), "must be a percentage from 0 to 100"),
    "positive": (lambda x: (x > 0) & np.isfinite(x), "must be positive and finite"),
    "not negative": (lambda x: (x >= 0) & np.isfinite(x), "must be finite and not negative"),
}

_EMPTY = {"", "nan", "na", "none", "null"}


@dataclass(frozen=True)
class EpochTable:
    """A CSV of epochs as it was read.

    Attributes
    ----------
    frame : DataFrame
        One row an epoch; empty where a problem of severity ``"error"`` was found.
    problems : tuple of Problem
        Errors and notes.
    """

    frame: pd.DataFrame
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> list[Problem]:
        """The problems for which the file is not used."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def notes(self) -> list[str]:
        """Where it was read differently from what it says."""
        return [problem.problem for problem in self.problems if problem.severity == "note"]


class _Unusable(Exception):
    """The file is so wrong that there is no use in reading on."""


@dataclass
class _Problems:
    """What is wrong with one file, and where it was read differently from what it says."""

    where: str
    found: list[Problem] = field(default_factory=list)

    def error(self, problem: str, row: int | None = None, column: str | None = None) -> None:
        self.found.append(Problem(self.where, row, column, problem))

    def note(self, problem: str, row: int | None = None, column: str | None = None) -> None:
        self.found.append(Problem(self.where, row, column, problem, "note"))

    def stop(self, problem: str, row: int | None = None, column: str | None = None) -> NoReturn:
        self.error(problem, row, column)
        raise _Unusable

    def stop_if_any(self) -> None:
        if any(problem.severity == "error" for problem in self.found):
            raise _Unusable


def read_epochs(path: Path, where: str, foreign: bool = False) -> EpochTable:
    """Read and check one CSV of epochs; nothing is raised for a bad one.

    Parameters
    ----------
    path : Path
        The file.
    where : str
        How problems name it.
    foreign : bool
        Whether another program wrote it: accuracies given as fractions are then turned into
        percent, epochs counted from 0 are counted from 1, and an epoch's rows of training and of
        validation are joined, each with a note.

    Returns
    -------
    EpochTable
        Accuracies in percent, times in seconds, throughput in images/s.
    """
    problems = _Problems(where)
    try:
        frame = _read(path, problems, foreign)
        problems.stop_if_any()
    except _Unusable:
        frame = pd.DataFrame(columns=list(REQUIRED))
    return EpochTable(frame, tuple(problems.found))


def _read(path: Path, problems: _Problems, foreign: bool) -> pd.DataFrame:
    try:
        text = decoded(files.read_bytes(path, problems.where, CSV_LIMIT))
    except ScalebookError as error:
        problems.stop(str(error).removeprefix(f"{problems.where}: "))
    except UnicodeDecodeError:
        problems.stop("is not text in UTF-8; expected a CSV with a header line")
    if not foreign:
        # The writer ends each row with a line break: what follows the last one is being written,
        # or was cut, and may have lost digits.
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        if not text:
            raise _Unusable
    header, lines, rows = _split(problems, text)
    if foreign and not rows:
        problems.stop("has a header and no row below it; expected a row an epoch")
    frame = _typed(problems, header, lines, rows)
    written = frame
    if foreign:
        frame = _understood(problems, frame)

    def wrong(column: str, rows: Any, rule: str) -> None:
        """Report these rows of a column, each by its line and by what is written there."""
        for index in frame.index[rows]:
            value = float(written[column][index])
            message = rule if np.isnan(value) else f"{value:g} {rule}"
            problems.error(message, lines[index], column)

    if not frame.empty:
        _check_values(frame, wrong)
        if foreign:
            frame = _joined(problems, frame, written, lines)
        _check_rows(frame, wrong)
    return frame.reset_index(drop=True) if foreign else frame


def _split(problems: _Problems, text: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Header, line number of each row, and rows of equal length."""
    if not text.strip():
        problems.stop("is empty; expected a header line with epoch and val_acc")
    if "\0" in text:
        problems.stop("is not text; expected a CSV with a header line")
    first = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=first.count) if any(c in first for c in ",;\t") else ","
    records: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for record in reader:
            if record and any(cell.strip() for cell in record):
                records.append((reader.line_num, [cell.strip() for cell in record]))
    except csv.Error as error:
        problems.stop(f"is not a CSV ({error})", reader.line_num)
    header = records.pop(0)[1]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = ", ".join(name[:40] for name in header[:20])
        problems.stop(f"has no column {' or '.join(missing)}; found {found}", 1)
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        problems.stop("column is there twice", 1, twice[0])
    if delimiter != ",":
        problems.note(f"columns are parted by {'tabs' if delimiter == chr(9) else delimiter}")
        _decimal_commas(problems, [record for _, record in records])
    if records and not text.endswith(("\n", "\r")) and len(records[-1][1]) != len(header):
        problems.note("last line is cut short and was left out", records.pop()[0])
    for line, record in records:
        if record == header:
            problems.error("header is repeated; two runs in one file?", line)
        elif len(record) != len(header):
            problems.error(f"has {len(record)} values, the header {len(header)} columns", line)
    problems.stop_if_any()
    return header, [line for line, _ in records], [record for _, record in records]


def _typed(
    problems: _Problems, header: list[str], lines: list[int], rows: list[list[str]]
) -> pd.DataFrame:
    """Columns as numbers; further ones as text where they are not all numbers."""
    checks = {column.name: column.check for column in contract.EPOCHS}
    columns: dict[str, Any] = {}
    for position, name in enumerate(header):
        cells = [row[position] for row in rows]
        numbers = [_number(cell) for cell in cells]
        wrong = [index for index, number in enumerate(numbers) if number is None]
        for index in wrong if name in checks else ():
            problems.error(f"{cells[index][:40]!r} is not a number", lines[index], name)
        values = np.array(numbers, dtype=float) if not wrong else pd.Series(cells, dtype=object)
        if checks.get(name) == "whole" and not wrong and np.all(np.isfinite(values)):
            values = values.astype("int64") if np.all(values % 1 == 0) else values
        columns[name or f"column {position + 1}"] = values
    problems.stop_if_any()
    return pd.DataFrame(columns)


#: Numbers as spreadsheets of many countries write them; ``4,460`` alone may be either.
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_SURELY_DECIMAL = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,}))")


def _decimal_commas(problems: _Problems, rows: list[list[str]]) -> None:
    """Read ``55,2`` as 55.2 where columns are parted by something else, and no doubt is left."""
    if not any(_SURELY_DECIMAL.fullmatch(cell) for row in rows for cell in row):
        return
    for row in rows:
        row[:] = [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in row]
    problems.note("numbers are written with a decimal comma")


def _number(cell: str) -> float | None:
    if cell.lower() in _EMPTY:
        return float("nan")
    if "_" in cell:  # which Python takes for a digit separator
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _understood(problems: _Problems, frame: pd.DataFrame) -> pd.DataFrame:
    """Turn what other programs commonly write into what the contract says."""
    frame = frame.copy()
    given = frame["epoch"].dropna()
    if len(given) and given.iloc[0] == 0:
        frame["epoch"] += 1
        problems.note("epochs are counted from 0; read as counted from 1", None, "epoch")
    skipped = given.diff() > 1
    if skipped.any():
        first = int(np.flatnonzero(skipped)[0])
        between = f"{given.iloc[first - 1]:g} and {given.iloc[first]:g}"
        problems.note(f"epochs between {between} are not there", None, "epoch")
    for column in contract.EPOCHS:
        if column.check != "percent" or column.name not in frame.columns:
            continue
        known = frame[column.name].dropna()
        # In percent this would be a run that never gets 2 of 100 right: read as a fraction.
        if len(known) and known.between(0, 1).all() and known.max() > 0:
            frame[column.name] *= 100.0
            problems.note("accuracy is given as a fraction; read as percent", None, column.name)
    return frame


def _joined(
    problems: _Problems, frame: pd.DataFrame, written: pd.DataFrame, lines: list[int]
) -> pd.DataFrame:
    """One row an epoch, where training and validation have rows of their own.

    PyTorch Lightning writes so: each row leaves the other's columns empty. A joined row keeps
    the index of the one with ``val_acc``.
    """
    validated = frame["val_acc"].notna()
    if validated.all() or not (frame["epoch"].dropna().diff() == 0).any():
        return frame
    problems.stop_if_any()
    own = frame["epoch"].where(validated).dropna()  # epochs with val_acc, by row
    for rows, problem in (
        (own.index[own.duplicated()], "has several rows with val_acc; expected one an epoch"),
        (own.index[:1][own[:1] != frame["epoch"].min()], "is the first with val_acc; expected all"),
    ):
        if len(rows):
            epoch = f"{written['epoch'][rows[0]]:g}"
            problems.stop(f"{epoch} {problem}", lines[int(rows[0])], "epoch")
    problems.note("training and validation have rows of their own; joined into one an epoch")
    by_epoch = frame.mask(frame == "").groupby("epoch", sort=False)
    for name, several in by_epoch.nunique().gt(1).any().items():
        if several and name in contract.CSV_COLUMNS:
            problems.note("has several values in an epoch; the last is taken", None, str(name))
    alone = np.flatnonzero(~frame["epoch"].isin(own))
    if len(alone):
        count = "1 row was" if len(alone) == 1 else f"{len(alone)} rows were"
        problems.note(f"{count} left out, this one first: no val_acc of its epoch", lines[alone[0]])
    # The last value that is there of each column.
    joined = by_epoch.last().loc[own].reset_index().set_index(own.index)
    return joined[list(frame.columns)].astype({"epoch": "int64"})


def _check_values(frame: pd.DataFrame, wrong: Callable[[str, Any, str], None]) -> None:
    """Report each value that its column forbids, by `wrong`."""
    for column in contract.EPOCHS:
        if column.check and column.name in frame.columns:
            holds, rule = CHECKS[column.check]
            own = frame[column.name].to_numpy(dtype=float)
            with np.errstate(invalid="ignore"):
                wrong(column.name, ~np.isnan(own) & ~holds(own), rule)


def _check_rows(frame: pd.DataFrame, wrong: Callable[[str, Any, str], None]) -> None:
    """Report each row that contradicts itself or the one before, by `wrong`."""
    names = [column.name for column in contract.EPOCHS if column.name in frame.columns]
    values = {name: frame[name].to_numpy(dtype=float) for name in names}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in REQUIRED:
            wrong(name, np.isnan(values[name]), "must not be empty")
        epoch = values["epoch"]
        wrong("epoch", np.diff(epoch, prepend=0) < 1, "must increase from row to row")
        wrong("epoch", (epoch != 1) & (np.arange(len(epoch)) == 0), "must start from 1")
        if {"throughput", *_PARTS} <= set(values):
            rule = "is not (images - warmup_images) / (train_time_s - warmup_time_s)"
            wrong("throughput", ~_throughput_follows(values), rule)


_PARTS = ("images", "warmup_images", "train_time_s", "warmup_time_s")


def _throughput_follows(values: dict[str, Any]) -> Any:
    """Whether each row's throughput follows from its parts, where all are there."""
    given = values["throughput"]
    images, seconds = timed(values)
    # An epoch of warm-up alone has no rate, and then none may be given.
    expected = np.where((images > 0) & (seconds > 0), images / seconds, np.nan)
    known = ~np.isnan(images) & ~np.isnan(seconds)
    right = np.abs(given - expected) <= THROUGHPUT_TOLERANCE * np.abs(expected)
    return ~known | right | np.isnan(given)


def timed(epochs: Mapping[str, Any] | pd.DataFrame) -> tuple[Any, Any]:
    """Images and seconds of each epoch that count for a rate: those of warm-up steps do not."""
    images, seconds = (np.asarray(epochs[name], dtype=float) for name in _PARTS[::2])
    if all(name in epochs for name in _PARTS):
        images = images - np.asarray(epochs["warmup_images"], dtype=float)
        seconds = seconds - np.asarray(epochs["warmup_time_s"], dtype=float)
    return images, seconds


def throughput(epochs: pd.DataFrame) -> float:
    """Images/s of a run: ``Σ(images - warmup_images) / Σ(train_time_s - warmup_time_s)``.

    Of a file that does not tell them, the median of its own column; NaN where it has none.
    """
    if all(name in epochs for name in _PARTS[::2]):
        images, seconds = timed(epochs)
        known = (images > 0) & (seconds > 0)
        if known.any():
            return float(images[known].sum() / seconds[known].sum())
    return float(epochs["throughput"].median()) if "throughput" in epochs else float("nan")


def read_steps(path: Path, where: str) -> pd.DataFrame:
    """Read the rows of a run's steps; a torn tail is left out.

    Returns
    -------
    DataFrame
        Columns of `contract.STEPS`; times in seconds.

    Raises
    ------
    ScalebookError
        If the file is damaged or lacks a column.
    """
    data = files.read_bytes(path, where, STEPS_LIMIT)
    if data.startswith(files.GZIP_MAGIC):
        data = files.gunzip(data, where, STEPS_LIMIT, torn=True)
    data = data[: data.rfind(b"\n") + 1]
    if not data:
        return pd.DataFrame(columns=list(contract.STEP_COLUMNS))
    try:
        frame = pd.read_csv(io.BytesIO(data))
    except (ValueError, pd.errors.ParserError) as error:
        raise ScalebookError(f"{where}: is not a CSV of steps ({error})".splitlines()[0]) from None
    missing = [name for name in contract.STEP_COLUMNS if name not in frame.columns]
    if missing:
        raise ScalebookError(f"{where}: has no column {', '.join(missing)}")
    wrong = [n for n in contract.STEP_COLUMNS if not pd.api.types.is_numeric_dtype(frame[n])]
    if wrong:
        raise ScalebookError(f"{where}, {wrong[0]}: holds something that is not a number")
    return frame
