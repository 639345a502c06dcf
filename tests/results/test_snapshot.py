"""What is read once, and when it is read again."""

from __future__ import annotations

import os
from collections import Counter

import fabricate
import pytest
import yaml
from paths import REPOSITORY

from scalebook import results
from scalebook.results import files, snapshots
from scalebook.values import ledger


def test_a_snapshot_stays_the_same_until_a_file_changes(study_root):
    first = results.snapshot()
    assert results.snapshot() is first
    fabricate.add_run(study_root)
    second = results.snapshot()
    assert second is not first and second.study is first.study
    path = study_root / "study.yaml"
    path.write_text(path.read_text().replace("seeds:", "# seeds\nseeds:", 1))
    assert results.snapshot() is not second


def test_what_is_remembered_is_made_again_after_a_change(study_root, monkeypatch, tmp_path):
    calls = []

    @results.remembered
    def stems():
        calls.append(1)
        found = results.runs(kind="measured")["stem"].tolist()
        if len(calls) == 2:
            fabricate.add_run(study_root, seed=2)
            assert results.runs(kind="measured")["stem"].tolist() == found  # of one moment
        return found

    assert stems() == stems() == [] and len(calls) == 1
    fabricate.add_run(study_root)
    assert len(stems()) == 1
    assert len(stems()) == 2 and len(calls) == 3
    monkeypatch.setenv("SCALEBOOK_QUERY_LOG", str(tmp_path / "log.jsonl"))
    stems()
    stems()
    assert len(calls) == 5
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_ledger_parses_each_file_once_and_lists_folders_a_handful_of_times(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    monkeypatch.setattr(files, "_cache", {})
    monkeypatch.setattr("scalebook.results.snapshots._last", None)
    listed, parsed = Counter(), Counter()
    scandir, compose = os.scandir, yaml.compose

    def counted_scandir(path="."):
        listed[str(path)] += 1
        return scandir(path)

    def counted_compose(text, loader):
        parsed[text] += 1
        return compose(text, loader)

    monkeypatch.setattr(os, "scandir", counted_scandir)
    monkeypatch.setattr(yaml, "compose", counted_compose)
    assert ledger()
    assert max(listed.values()) <= 5, listed
    assert set(parsed.values()) <= {1}, parsed
    once = sum(listed.values())
    assert ledger()
    assert sum(listed.values()) <= 2 * once and set(parsed.values()) <= {1}
    # It only looks whether anything has changed.
    assert sum(listed.values()) - once <= len(snapshots.FOLDERS) + 3


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("lr", "-0.1", "-0.1 must be finite and not negative"),
        ("train_time_s", "inf", "inf must be finite and not negative"),
        ("images", "1.5", "1.5 must be a whole number, not negative"),
        ("epoch_time_s", "0", "0 must be positive and finite"),
        ("throughput", "inf", "inf must be positive and finite"),
        ("train_acc", "101", "101 must be a percentage from 0 to 100"),
        ("val_acc", "", "must not be empty"),
        ("train_loss", "x", "'x' is not a number"),
    ],
)
def test_every_column_is_checked_as_the_contract_says(study_root, column, cell, problem):
    stem = fabricate.add_run(study_root)
    path = study_root / f"results/csv/{stem}.csv"
    header, *rows = path.read_text().splitlines()
    cells = rows[1].split(",")
    cells[header.split(",").index(column)] = cell
    path.write_text("\n".join([header, rows[0], ",".join(cells), rows[2]]) + "\n")
    found = results.problems()
    assert [3, column, problem] in found[["row", "column", "problem"]].values.tolist()
