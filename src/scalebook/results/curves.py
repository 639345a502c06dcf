"""All-reduce curves that came back: size of the message against latency and bandwidth.

A curve is two files that share a stem: ``results/allreduce/<stem>.csv``, one row a message
size, and ``<stem>.json``, what it was measured on.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from scalebook.contract import (
    ALLREDUCE_COLUMNS,
    ALLREDUCE_SCHEMA,
    EVIDENCE,
    TRIALS,
    RunFiles,
    ScalebookError,
    Stem,
)
from scalebook.results import files
from scalebook.results.files import Problem
from scalebook.results.snapshots import Snapshot
from scalebook.study.document import decoded

LIMIT = 4 * files.MIB

#: Columns of `results.allreduce` before those of the file.
ABOUT = (
    "stem", "local", "system", "backend", "world_size", "nodes", "device", "link", "link_gbit_s",
    "started",
)  # fmt: skip
COLUMNS = (*ABOUT, *ALLREDUCE_COLUMNS)

#: Relative tolerance of the recomputed bandwidth: it is printed rounded.
TOLERANCE = 0.01


class About(BaseModel):
    """What a curve was measured on; further keys are kept out of the table."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_: Literal[ALLREDUCE_SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]  # a constant
    system: str
    backend: str
    world_size: int = Field(ge=2)
    nodes: int | None = None
    device: str | None = None
    link: str | None = None
    link_gbit_s: float | None = Field(None, gt=0)
    started: str | None = None


def read_all(snapshot: Snapshot) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the curves of a study, and what is wrong with those that are left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; those of trials have ``local`` set.
    list of Problem
        One for each file that is not used.
    """
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for folder in (EVIDENCE, TRIALS):
        for name in snapshot.names(f"{folder}/allreduce"):
            path = RunFiles(Path(folder), Path(name).stem).allreduce
            about = path.with_suffix(".json")
            if name.endswith(".json") and not snapshot.holds(path):
                problem = "describes a curve that is not there; copy the .csv as well"
                problems.append(Problem(about.as_posix(), None, None, problem))
            if not name.endswith(".csv"):
                continue
            try:
                if not snapshot.holds(about):
                    raise ScalebookError(
                        f"{about.as_posix()}: no such file; it says what the curve was measured on"
                    )
                measured_on = snapshot.read(_read_about, about)
                curve = snapshot.read(_read_curve, path, measured_on["world_size"])
            except ScalebookError as error:
                problems.append(Problem.of(error, path.as_posix(), about.as_posix()))
                continue
            except FileNotFoundError:  # replaced or removed meanwhile
                continue
            rows += [{**measured_on, "local": folder == TRIALS, **row} for row in curve]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["local", "system", "stem", "bytes"], ignore_index=True), problems


def _read_about(path: Path, where: str) -> dict[str, Any]:
    stem = Stem.parse(path.stem)
    about = files.checked(About, files.read_json(path, where, LIMIT), where)
    if about.world_size != stem.world_size:
        raise ScalebookError(
            f"{where}: world_size: says {about.world_size}, the file's name {stem.world_size}"
        )
    return {**about.model_dump(include=set(ABOUT)), "stem": path.stem}


def _read_curve(path: Path, where: str, ranks: int) -> list[dict[str, float]]:
    text = decoded(files.read_bytes(path, where, LIMIT), "replace")
    lines = csv.DictReader(io.StringIO(text))
    missing = [name for name in ALLREDUCE_COLUMNS if name not in (lines.fieldnames or ())]
    if missing:
        raise ScalebookError(f"{where}: has no column {', '.join(missing)}")
    rows = [_row(f"{where} line {n}", line, ranks) for n, line in enumerate(lines, 2)]
    if not rows:
        raise ScalebookError(f"{where}: holds no row; the measurement did not end")
    if any(after["bytes"] <= before["bytes"] for before, after in zip(rows, rows[1:])):
        raise ScalebookError(f"{where}, bytes: must increase from row to row")
    return rows


def _row(where: str, line: dict[str, str], ranks: int) -> dict[str, float]:
    try:
        row = {name: float(line[name]) for name in ALLREDUCE_COLUMNS}
    except (TypeError, ValueError):
        raise ScalebookError(f"{where}: must hold a number in each column") from None
    if not all(math.isfinite(value) and value >= 0 for value in row.values()):
        raise ScalebookError(f"{where}: no value may be negative or infinite")
    if not row["bytes"] or not row["latency_us"]:
        raise ScalebookError(f"{where}: bytes and latency_us must be positive")
    if not row["latency_low_us"] <= row["latency_us"] <= row["latency_high_us"]:
        raise ScalebookError(f"{where}, latency_us: must lie between its quartiles")
    expected = row["bytes"] / row["latency_us"] / 1e3 * 2 * (ranks - 1) / ranks
    if abs(row["busbw_gb_s"] - expected) > TOLERANCE * expected + 5e-4:
        raise ScalebookError(
            f"{where}, busbw_gb_s: is not bytes / latency · 2 (n - 1) / n with {ranks} ranks"
        )
    return {**row, "bytes": int(row["bytes"]), "repetitions": int(row["repetitions"])}
