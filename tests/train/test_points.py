"""The curves of a run under way: rates and losses noted without waiting for the device."""

import csv
import math

import pytest
import torch

from scalebook.train.epoch import EpochSums
from scalebook.train.records import POINTS_FILE, Progress


@pytest.fixture
def progress(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(Progress, "_PAUSE_S", 0.0)
    return Progress(True, 2)


def rows(folder):
    with open(folder / POINTS_FILE) as file:
        return [(row["step"], row["train_loss"]) for row in csv.DictReader(file)]


def test_a_point_holds_the_mean_loss_of_its_steps(progress, tmp_path):
    sums = EpochSums(4, torch.device("cpu"))
    for step, loss in enumerate((8.0, 4.0, 2.0, math.nan)):
        sums.add(step, torch.tensor(loss), torch.tensor(1))
    progress.add_point(1, 2, 100.0, sums.peek(0, 2, 4))
    progress.update(now=True)
    progress.add_point(1, 3, 100.0, sums.peek(2, 3, 2))
    progress.add_point(1, 4, 100.0, sums.peek(3, 4, 2))  # no number
    progress.add_point(2, 1, 100.0, sums.peek(0, 1, 0))  # no image of this rank
    progress.update(now=True)
    assert rows(tmp_path) == [("2", "3.000000"), ("3", "1.000000"), ("4", ""), ("1", "")]


class OnItsWay:
    """A loss that a device still computes."""

    is_here = False

    def mean(self):
        assert self.is_here, "nobody waits for a device"
        return 1.5


def test_nobody_waits_for_a_loss_that_is_on_its_way(progress, tmp_path):
    late = OnItsWay()
    progress.add_point(1, 2, 100.0, late)
    progress.update(now=True)
    assert not (tmp_path / POINTS_FILE).exists()
    late.is_here = True
    progress.update(now=True)
    assert rows(tmp_path) == [("2", "1.500000")]


def test_who_reports_nothing_asks_for_no_loss(monkeypatch):
    monkeypatch.delenv("SCALEBOOK_PROGRESS", raising=False)
    assert not Progress(True, 2).active and not Progress(False, 2).active
