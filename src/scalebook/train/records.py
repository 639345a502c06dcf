"""The live files of a run: a CSV row an epoch, step times, the log, the progress file.

CSV, steps and log are appended durably; a torn tail is dropped by the reader and by `cut`.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import math
import os
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalebook import contract
from scalebook.contract import EPOCHS, STEPS, Column, RunFiles

if TYPE_CHECKING:
    from scalebook.train.epoch import LossOnItsWay

#: ``progress.csv`` among a job's private notes, a row about every half second of training: when
#: (seconds since 1970), how far, the rate of all ranks and the first rank's mean loss since the
#: row before, empty where it had not come from the device in time. Rows of a resumed run may go
#: back to where its checkpoint was.
POINTS = (
    Column("time", "s", 3),
    Column("epoch"),
    Column("step"),
    Column("images_per_s", "images/s", 1),
    Column("train_loss", decimals=6),
)
POINTS_FILE = "progress.csv"


def append_epoch(files: RunFiles, row: dict[str, Any]) -> None:
    """Add one row to ``results/csv/<stem>.csv``, with the header where the file is new."""
    _append(files.csv, _lines(EPOCHS, [row], header=not _has_content(files.csv)).encode())


def append_steps(files: RunFiles, rows: Iterable[dict[str, Any]]) -> None:
    """Add rows to ``results/steps/<stem>.csv.gz`` as one gzip member."""
    text = _lines(STEPS, rows, header=not _has_content(files.steps))
    _append(files.steps, gzip.compress(text.encode(), mtime=0))


def append_log(files: RunFiles, text: str) -> None:
    """Add lines to ``results/logs/<stem>.log``."""
    _append(files.log, f"{text}\n".encode())


def cut(files: RunFiles, epoch: int) -> None:
    """Drop rows of epochs later than `epoch`, and torn tails.

    Used by a resume: what its checkpoint does not know of is done again. Columns that came into
    the contract since the run began are empty in the rows that stay.
    """
    if files.csv.exists():
        lines = files.csv.read_bytes().decode(errors="replace").splitlines(keepends=True)
        contract.write_whole(files.csv, _up_to(lines, epoch, EPOCHS))
    if files.steps.exists():
        kept = _up_to(_gzip_lines(files.steps), epoch, STEPS)
        contract.write_whole(files.steps, gzip.compress(kept.encode(), mtime=0) if kept else b"")


def _gzip_lines(path: Path) -> list[str]:
    """Lines as far as they can be read; the last one may be torn."""
    lines = []
    torn = (EOFError, gzip.BadGzipFile, zlib.error)
    with gzip.open(path) as file, contextlib.suppress(*torn):
        for line in file:
            lines.append(line.decode(errors="replace"))
    return lines


def _up_to(lines: list[str], epoch: int, columns: tuple[Column, ...]) -> str:
    """Header and whole rows up to `epoch`."""
    if not lines or not lines[0].endswith("\n"):
        return ""
    header = lines[0].rstrip("\n").split(",")
    names = [column.name for column in columns]
    out = [",".join(names) + "\n"]
    for line in lines[1:]:
        cells = line.rstrip("\n").split(",")
        row = dict(zip(header, cells))
        whole = line.endswith("\n") and len(cells) == len(header)
        if whole and row.get("epoch", "").isdigit() and int(row["epoch"]) <= epoch:
            out.append(",".join(row.get(name, "") for name in names) + "\n")
    return "".join(out)


def _lines(columns: tuple[Column, ...], rows: Iterable[dict[str, Any]], header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([column.text(row[column.name]) for column in columns])
    return out.getvalue()


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Progress:
    """Rewrites the file named by ``SCALEBOOK_PROGRESS`` about twice a second.

    Beside it grows a file with a row a moment, see `POINTS`.

    Parameters
    ----------
    active : bool
        Only rank 0 reports.
    epochs : int
        Epochs of the run.
    """

    _PAUSE_S = 0.5
    #: Points of a curve lie further apart the longer the run: some thousand in a day.
    _POINTS = 2000

    def __init__(self, active: bool, epochs: int) -> None:
        path = os.environ.get("SCALEBOOK_PROGRESS")
        self._path = Path(path) if active and path else None
        self._start = time.monotonic()
        self._written = self._newest_point = -math.inf
        self._waiting: list[tuple[dict[str, Any], LossOnItsWay]] = []
        self._state: dict[str, Any] = {
            "phase": "data", "epoch": 0, "epochs": epochs, "step": 0, "steps": 0,
            "images_per_s": None, "val_acc": None,
        }  # fmt: skip

    @property
    def active(self) -> bool:
        """Whether anybody reads what is reported here."""
        return self._path is not None

    def add_point(self, epoch: int, step: int, images_per_s: float, loss: LossOnItsWay) -> None:
        """Add a point to the curves, as soon as its loss is here."""
        moment = time.monotonic()
        apart = max(self._PAUSE_S, (moment - self._start) / self._POINTS)
        if moment - self._newest_point < apart:
            return
        self._newest_point = moment
        row = {"time": time.time(), "epoch": epoch, "step": step, "images_per_s": images_per_s}
        self._waiting.append((row, loss))

    def _write_points(self) -> None:
        rows = []
        while self._waiting and self._waiting[0][1].is_here:
            row, loss = self._waiting.pop(0)
            rows.append({**row, "train_loss": loss.mean()})
        if not rows or self._path is None:
            return
        path = self._path.with_name(POINTS_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = _lines(POINTS, rows, header=not _has_content(path))
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)

    def update(self, now: bool = False, **state: Any) -> None:
        """Remember `state`; write it if it is time, or at once where `now` is set."""
        if self._path is None:
            return
        self._state.update(state)
        moment = time.monotonic()
        if not now and moment - self._written < self._PAUSE_S:
            return
        self._written = moment
        # Whole, but not synced to disk: that would take longer than a training step.
        with contextlib.suppress(OSError):  # a progress bar must not end a run
            self._write_points()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".progress.")
            with os.fdopen(handle, "w") as file:
                json.dump(self._state, file)
            os.replace(temporary, self._path)
