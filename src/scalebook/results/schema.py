"""What ``results/csv`` and ``results/steps`` may hold, and reading them.

Our own files follow `scalebook.contract` to the letter. Files of other programs
need ``epoch`` and ``val_acc`` only; what is understood differently from how it
is written there is said in a note.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.results import files
from scalebook.results.files import Problem

CSV_LIMIT = 16 * files.MIB
STEPS_LIMIT = 512 * files.MIB

#: Relative tolerance of the recomputed throughput: the parts are rounded to what is printed.
THROUGHPUT_TOLERANCE = 0.005

_COUNTS = ("epoch", "images", "global_batch", "attempt", "warmup_images")
_ACCURACIES = ("train_acc", "val_acc")
_EMPTY = {"", "nan", "na", "none", "null"}


def _throughput_follows(frame: pd.DataFrame) -> pd.Series:
    """Whether each row's throughput follows from its parts, where all are there."""
    parts = ["throughput", "images", "warmup_images", "train_time_s", "warmup_time_s"]
    if not set(parts) <= set(frame.columns):
        return pd.Series(True, index=frame.index)
    images = frame["images"] - frame["warmup_images"]
    seconds = frame["train_time_s"] - frame["warmup_time_s"]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (images / seconds).where((images > 0) & (seconds > 0))
    # An epoch of warm-up alone has no rate, and then none may be given.
    known = frame[parts[1:]].notna().all(axis=1)
    given = frame["throughput"]
    right = (given - expected).abs() <= THROUGHPUT_TOLERANCE * expected.abs()
    return ~known | right | given.isna()


def _column(check: pa.Check | list[pa.Check] | None = None, required: bool = False) -> pa.Column:
    return pa.Column(checks=check, nullable=not required, required=required)


_PERCENT = pa.Check.in_range(0, 100, error="must be a percentage from 0 to 100")
_NOT_NEGATIVE = pa.Check(lambda column: column >= 0, error="must not be negative")
_POSITIVE = pa.Check(
    lambda column: (column > 0) & np.isfinite(column), error="must be positive and finite"
)
_WHOLE = pa.Check(
    lambda column: (column >= 0) & (column % 1 == 0), error="must be a whole number, not negative"
)

#: One row an epoch, as `read_epochs` returns it. Further columns are kept as they are.
EPOCHS = pa.DataFrameSchema(
    {
        "epoch": _column(
            [
                _WHOLE,
                pa.Check(
                    lambda epoch: epoch.diff().fillna(epoch.iloc[0]) >= 1,
                    error="must increase from row to row",
                ),
                pa.Check(
                    lambda epoch: (epoch == 1) | (np.arange(len(epoch)) > 0),
                    error="must start from 1",
                ),
            ],
            required=True,
        ),
        "val_acc": _column(_PERCENT, required=True),
        "train_acc": _column(_PERCENT),
        "train_loss": _column(),
        "val_loss": _column(),
        "epoch_time_s": _column(_POSITIVE),
        "throughput": _column(_POSITIVE),
        "images": _column(_WHOLE),
        "train_time_s": _column(_NOT_NEGATIVE),
        "warmup_time_s": _column(_NOT_NEGATIVE),
        "val_time_s": _column(_NOT_NEGATIVE),
        "global_batch": _column(_WHOLE),
        "lr": _column(_NOT_NEGATIVE),
        "peak_mem_mb": _column(_NOT_NEGATIVE),
        "attempt": _column(_WHOLE),
        "warmup_images": _column(_WHOLE),
        "loss_scale": _column(),
    },
    checks=pa.Check(
        _throughput_follows,
        name="throughput",
        error="is not (images - warmup_images) / (train_time_s - warmup_time_s)",
    ),
)


@dataclass(frozen=True)
class EpochTable:
    """A CSV of epochs as it was understood.

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
        """How it was understood differently from how it is written."""
        return [problem.problem for problem in self.problems if problem.severity == "note"]


@dataclass
class _Reading:
    """One file on its way from text to a table."""

    where: str
    foreign: bool
    problems: list[Problem] = field(default_factory=list)

    def error(self, problem: str, row: int | None = None, column: str | None = None) -> None:
        self.problems.append(Problem(self.where, row, column, problem))

    def note(self, problem: str, row: int | None = None, column: str | None = None) -> None:
        self.problems.append(Problem(self.where, row, column, problem, "note"))

    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def table(self, frame: pd.DataFrame | None = None) -> EpochTable:
        if frame is None or self.failed():
            frame = pd.DataFrame(columns=["epoch", "val_acc"])
        return EpochTable(frame, tuple(self.problems))


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
        percent, and epochs counted from 0 are counted from 1, each with a note.

    Returns
    -------
    EpochTable
        Accuracies in percent, times in seconds, throughput in images/s.
    """
    reading = _Reading(where, foreign)
    try:
        text = files.read_bytes(path, where, CSV_LIMIT).decode("utf-8-sig")
    except ScalebookError as error:
        reading.error(str(error).removeprefix(f"{where}: "))
        return reading.table()
    except UnicodeDecodeError:
        reading.error("is not text in UTF-8; expected a CSV with a header line")
        return reading.table()
    if not foreign:
        # The writer ends each row with a line break: what follows the last one is being written,
        # or was cut, and may have lost digits.
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        if not text:
            return reading.table()
    header, lines, rows = _split(reading, text)
    if foreign and not rows and not reading.failed():
        reading.error("has a header and no row below it; expected a row an epoch")
    if reading.failed():
        return reading.table()
    frame = _typed(reading, header, lines, rows)
    if reading.failed():
        return reading.table()
    if foreign:
        frame = _understood(reading, frame)
    _check(reading, frame, lines)
    return reading.table(frame)


def _split(reading: _Reading, text: str) -> tuple[list[str], list[int], list[list[str]]]:
    """Header, line number of each row, and rows of equal length."""
    nothing: tuple[list[str], list[int], list[list[str]]] = ([], [], [])
    if not text.strip():
        reading.error("is empty; expected a header line with epoch and val_acc")
        return nothing
    if "\0" in text:
        reading.error("is not text; expected a CSV with a header line")
        return nothing
    first = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=first.count) if any(c in first for c in ",;\t") else ","
    records: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for record in reader:
            if record and any(cell.strip() for cell in record):
                records.append((reader.line_num, [cell.strip() for cell in record]))
    except csv.Error as error:
        reading.error(f"is not a CSV ({error})", reader.line_num)
        return nothing
    header = records.pop(0)[1]
    missing = [name for name in ("epoch", "val_acc") if name not in header]
    if missing:
        found = ", ".join(name[:40] for name in header[:20])
        reading.error(f"has no column {' or '.join(missing)}; found {found}", 1)
        return nothing
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        reading.error("column is there twice", 1, twice[0])
        return nothing
    if delimiter != ",":
        reading.note(f"columns are parted by {'tabs' if delimiter == chr(9) else delimiter}")
        _decimal_commas(reading, [record for _, record in records])
    if records and not text.endswith(("\n", "\r")) and len(records[-1][1]) != len(header):
        reading.note("last line is cut short and was left out", records.pop()[0])
    for line, record in records:
        if record == header:
            reading.error("header is repeated; two runs in one file?", line)
        elif len(record) != len(header):
            reading.error(f"has {len(record)} values, the header {len(header)} columns", line)
    return header, [line for line, _ in records], [record for _, record in records]


def _typed(
    reading: _Reading, header: list[str], lines: list[int], rows: list[list[str]]
) -> pd.DataFrame:
    """Columns as numbers; further ones as text where they are not all numbers."""
    columns: dict[str, object] = {}
    for position, name in enumerate(header):
        cells = [row[position] for row in rows]
        numbers = [_number(cell) for cell in cells]
        wrong = [index for index, number in enumerate(numbers) if number is None]
        if name in contract.CSV_COLUMNS:
            for index in wrong:
                reading.error(f"{cells[index][:40]!r} is not a number", lines[index], name)
        if wrong:
            columns[name or f"column {position + 1}"] = pd.Series(cells, dtype=object)
        else:
            columns[name or f"column {position + 1}"] = np.array(numbers, dtype=float)
    frame = pd.DataFrame(columns)
    for name in set(_COUNTS) & set(frame.columns):
        column = frame[name]
        if column.dtype == float and np.isfinite(column).all() and (column % 1 == 0).all():
            frame[name] = column.astype("int64")
    return frame


#: Numbers as spreadsheets of many countries write them; ``4,460`` alone may be either.
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_SURELY_DECIMAL = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,}))")


def _decimal_commas(reading: _Reading, rows: list[list[str]]) -> None:
    """Read ``55,2`` as 55.2 where columns are parted by something else, and no doubt is left."""
    if not any(_SURELY_DECIMAL.fullmatch(cell) for row in rows for cell in row):
        return
    for row in rows:
        row[:] = [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in row]
    reading.note("numbers are written with a decimal comma")


def _number(cell: str) -> float | None:
    if cell.lower() in _EMPTY:
        return float("nan")
    if "_" in cell:  # which Python takes for a digit separator
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _understood(reading: _Reading, frame: pd.DataFrame) -> pd.DataFrame:
    """Turn what other programs commonly write into what the contract says."""
    if len(frame) and frame["epoch"].iloc[0] == 0:
        frame["epoch"] += 1
        reading.note("epochs are counted from 0; read as counted from 1", None, "epoch")
    skipped = frame["epoch"].diff() > 1
    if skipped.any():
        first = int(skipped.idxmax())
        said = f"{frame['epoch'][first - 1]:g} and {frame['epoch'][first]:g}"
        reading.note(f"epochs between {said} are not there", None, "epoch")
    for name in _ACCURACIES:
        if name not in frame.columns:
            continue
        known = frame[name].dropna()
        # In percent this would be a run that never gets 2 of 100 right: read as a fraction.
        if len(known) and known.between(0, 1).all() and known.max() > 0:
            frame[name] *= 100.0
            reading.note("accuracy is given as a fraction; read as percent", None, name)
    return frame


def _check(reading: _Reading, frame: pd.DataFrame, lines: list[int]) -> None:
    """Put each violation of the schema among the problems, with its line."""
    if frame.empty:
        return
    try:
        EPOCHS.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as failure:
        cases = failure.failure_cases
        seen = set()
        for case in cases.itertuples(index=False):
            whole_row = case.schema_context == "DataFrameSchema"
            column = "throughput" if whole_row else str(case.column)
            line = None if case.index is None or pd.isna(case.index) else lines[int(case.index)]
            check = "must not be empty" if case.check == "not_nullable" else str(case.check)
            if (line, column, check) in seen:
                continue
            seen.add((line, column, check))
            value = "" if line is None else f"{frame.loc[int(case.index), column]:g} "
            reading.error(f"{value}{check}".replace("nan must", "must"), line, column)


def read_steps(path: Path, where: str) -> pd.DataFrame:
    """Read the rows of a run's steps; a torn tail is left out.

    Returns
    -------
    DataFrame
        Columns of `contract.STEP_COLUMNS`; times in seconds.

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
