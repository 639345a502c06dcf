"""The curves of a job so far: what its first rank noted about twice a second."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from scalebook.launch.job import Job
from scalebook.train.records import POINTS_FILE


@dataclass(frozen=True)
class Point:
    """How a job went at one moment, see `scalebook.train.records.POINTS`."""

    time: float
    epoch: int
    step: int
    images_per_s: float
    train_loss: float | None


def points(job: Job) -> list[Point]:
    """Read the points of a job in the order of its steps; none where nothing was noted.

    What a resume did again takes the place of what it was before, and a torn tail is left out.
    """
    path = job.folder / POINTS_FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found: list[Point] = []
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            point = Point(
                float(row["time"]),
                int(row["epoch"]),
                int(row["step"]),
                float(row["images_per_s"]),
                float(row["train_loss"]) if row["train_loss"] else None,
            )
        except (KeyError, TypeError, ValueError):
            continue
        while found and (found[-1].epoch, found[-1].step) >= (point.epoch, point.step):
            found.pop()
        found.append(point)
    return found
