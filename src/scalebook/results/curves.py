"""All-reduce curves that came back: size of the message against latency and bandwidth.

A curve is two files that share a stem: ``results/allreduce/<stem>.csv``, one row a message
size, and ``<stem>.json``, what it was measured on.
"""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scalebook.contract import ALLREDUCE_COLUMNS, ALLREDUCE_SCHEMA, ScalebookError, Stem
from scalebook.results import files
from scalebook.results.files import Problem
from scalebook.results.scan import FOLDERS

FOLDER = "allreduce"
LIMIT = 4 * files.MIB

COLUMNS = (
    "stem", "local", "system", "backend", "world_size", "nodes", "device", "link", "link_gbit_s",
    "started", *ALLREDUCE_COLUMNS,
)  # fmt: skip

#: Relative tolerance of the recomputed bandwidth: it is printed rounded.
TOLERANCE = 0.01


class About(BaseModel):
    """What a curve was measured on; further keys are kept out of the table."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_: Literal[ALLREDUCE_SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]
    system: str
    backend: str
    world_size: int = Field(ge=2)
    nodes: int | list[Any] | None = None
    device: Any = None
    link: Any = None
    link_gbit_s: float | None = Field(None, gt=0)
    started: str | None = None


def read_all(root: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the curves of a study, and what is wrong with those that are left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; those under ``results/local`` have ``local`` set.
    list of Problem
        One for each file that is not used.
    """
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for name in FOLDERS:
        folder = root / name / FOLDER
        found = sorted(folder.glob("*.csv")) if folder.is_dir() else []
        stems = {path.stem for path in found}
        for path in found:
            where = files.relative(path, root)
            about = path.with_suffix(".json")
            try:
                known = _about(about, files.relative(about, root))
                curve = files.unchanged(path, _curve, where, known["world_size"])
            except ScalebookError as error:
                problems.append(_problem(error, where, files.relative(about, root)))
                continue
            except FileNotFoundError:  # replaced or removed meanwhile
                continue
            rows += [{**known, "local": name != FOLDERS[0], **row} for row in curve]
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            if path.stem not in stems:
                said = "describes a curve that is not there; copy the .csv as well"
                problems.append(Problem(files.relative(path, root), None, None, said))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(["local", "system", "stem", "bytes"], ignore_index=True), problems


def _about(path: Path, where: str) -> dict[str, Any]:
    if not path.is_file():
        raise ScalebookError(f"{where}: no such file; it says what the curve was measured on")
    return files.unchanged(path, _read_about, where)


def _read_about(path: Path, where: str) -> dict[str, Any]:
    stem = Stem.parse(path.stem)
    try:
        about = About.model_validate(json.loads(files.read_bytes(path, where, LIMIT)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ScalebookError(f"{where}: {key}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ScalebookError(f"{where}: cannot be read as JSON") from None
    if about.world_size != stem.world_size:
        raise ScalebookError(
            f"{where}: world_size: says {about.world_size}, the file's name {stem.world_size}"
        )
    nodes = len(about.nodes) if isinstance(about.nodes, list) else about.nodes
    return {
        "stem": path.stem,
        "system": about.system,
        "backend": about.backend,
        "world_size": about.world_size,
        "nodes": nodes,
        "device": _words(about.device),
        "link": _words(about.link),
        "link_gbit_s": about.link_gbit_s,
        "started": about.started,
    }


def _words(value: Any) -> str | None:
    """A name, whether it was written as text, as a number or as an object that has one."""
    if isinstance(value, dict):
        value = value.get("name")
    return None if value is None else str(value)


def _curve(path: Path, where: str, ranks: int) -> list[dict[str, float]]:
    text = files.read_bytes(path, where, LIMIT).decode("utf-8-sig", errors="replace")
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


def _problem(error: ScalebookError, *names: str) -> Problem:
    """The error as a problem of that file whose name it begins with."""
    name = next((name for name in names if str(error).startswith(name)), names[0])
    return Problem(name, None, None, str(error).removeprefix(name).lstrip(":, "))
