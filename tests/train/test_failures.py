"""Ranks that die, hang or are told to stop: all of them end, one line says why."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
import torch
import train_helpers as helpers
from waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.slow

LONG = {"world_size": 2, "epochs": 100_000, "model": "tinynet_plain", "warmup_epochs": 0.0}


def training(root, world_size=2, **changes):
    """Start ranks and wait until two epochs are written."""
    helpers.study(root, **{**LONG, **changes})
    processes = helpers.start_ranks(root, world_size, SCALEBOOK_JOB_ID="8")

    def two_epochs():
        assert all(process.poll() is None for process in processes), helpers.finish(processes)
        files = list(root.glob("results/local/csv/*.csv"))
        return files and files[0].read_text().count("\n") > 3

    wait_until(two_epochs)
    return processes


def ended(root) -> dict:
    return helpers.manifest(root)["attempts"][-1]


def told(outcomes) -> list[str]:
    lines = [line for _, _, errors in outcomes for line in errors.splitlines()]
    assert not any("Traceback" in line for line in lines), lines
    return [line for line in lines if line.startswith("scalebook.train:")]


def test_killed_rank_ends_the_other(tmp_path):
    processes = training(tmp_path)
    processes[1].kill()
    outcomes = helpers.finish(processes)
    assert outcomes[0][0] == 1
    (line,) = told(outcomes)
    # Rank 1 may be missed within an epoch or at its checkpoint.
    assert re.search(r"rank 0, (checkpoint of )?epoch \d+: lost contact with another rank", line)
    assert ended(tmp_path)["ended"] == "failed" and "lost contact" in ended(tmp_path)["reason"]
    assert "lost contact" in helpers.only(tmp_path, "results/local/logs/*.log").read_text()


def test_killed_first_rank(tmp_path):
    """The rank that writes the files is gone; another one closes the manifest."""
    processes = training(tmp_path)
    processes[0].kill()
    outcomes = helpers.finish(processes)
    assert outcomes[1][0] == 1 and len(told(outcomes)) == 1
    assert ended(tmp_path)["ended"] == "failed"


def test_hung_rank_is_given_up(tmp_path):
    processes = training(tmp_path, timeout_s=15.0)
    os.kill(processes[1].pid, signal.SIGSTOP)
    _, errors = processes[0].communicate(timeout=PATIENCE_S)
    processes[1].kill()
    processes[1].communicate()
    assert processes[0].returncode == 1
    (line,) = [text for text in errors.splitlines() if text.startswith("scalebook.train:")]
    assert "for 15 s (timeout_s)" in line
    assert ended(tmp_path)["ended"] == "failed" and "timeout_s" in ended(tmp_path)["reason"]


def test_rank_that_never_starts_is_given_up(tmp_path):
    helpers.study(tmp_path, **{**LONG, "timeout_s": 3.0})
    processes = helpers.start_ranks(tmp_path, 2)
    processes[1].kill()
    outcomes = helpers.finish(processes)
    assert outcomes[0][0] == 1
    (line,) = told(outcomes)
    assert "could not join the 2 ranks within 3 s" in line


def test_fault_on_one_rank_is_told_once(tmp_path):
    """The rank that failed says why; the other one is quiet, and overwrites nothing of it."""
    helpers.study(tmp_path, **LONG)
    processes = helpers.start_ranks(
        tmp_path, 2, TRAIN_TEST_FAULT="1", TRAIN_TEST_SLOW_MANIFEST="0", SCALEBOOK_JOB_ID="8"
    )
    outcomes = helpers.finish(processes)
    assert [status for status, *_ in outcomes] == [1, 1]
    (line,) = told(outcomes)
    assert "ZeroDivisionError" in line and "epoch 1" in line
    assert "ZeroDivisionError" in ended(tmp_path)["reason"]
    assert "Traceback" in helpers.only(tmp_path, "results/local/logs/*.log").read_text()


def test_full_disk_is_told_once_and_no_rank_is_missed(tmp_path):
    helpers.study(tmp_path, **{**LONG, "epochs": 2})
    outcomes = helpers.finish(helpers.start_ranks(tmp_path, 2, TRAIN_TEST_FULL_DISK="1"))
    assert [status for status, _, _ in outcomes] == [1, 1]
    (line,) = told(outcomes)
    assert "checkpoint of epoch 1: the disk is full" in line
    assert "the disk is full" in ended(tmp_path)["reason"]


def test_no_step_of_another_rank_lasts_as_long_as_the_checkpoint(tmp_path):
    """Rank 0 writes it between two epochs; the others must not take the wait for training."""
    helpers.study(tmp_path, **{**LONG, "epochs": 2})
    processes = helpers.start_ranks(tmp_path, 2, TRAIN_TEST_SLOW_DISK="6")
    assert [status for status, _, _ in helpers.finish(processes)] == [0, 0]
    later = [step for step in helpers.steps(tmp_path) if step["epoch"] != "1"]
    assert max(float(step["step_time_s"]) for step in later) < 4


def test_what_fails_on_the_first_rank_alone_is_one_line_of_all(tmp_path):
    helpers.study(tmp_path, **LONG)
    # The program itself: PyTorch's C++ half adds nothing either.
    processes = helpers.start_ranks(
        tmp_path, 2, "--resume", "tiny_5_2cpu_5", program=["-m", "scalebook.train"]
    )
    outcomes = helpers.finish(processes)
    assert [status for status, _, _ in outcomes] == [1, 1]
    said = "".join(errors for _, _, errors in outcomes)
    assert said == (
        "scalebook.train: --resume: there is no run tiny_5_2cpu_5 in results: start it without\n"
    )


def test_damaged_data_ends_all_ranks(tmp_path):
    from image_folders import pictures

    folder = pictures(tmp_path / "data" / "insects")
    (folder / "train" / "bee" / "1.png").write_bytes(b"nothing")
    helpers.study(tmp_path, source="auto", train_images=None, val_images=None, world_size=2)
    outcomes = helpers.finish(helpers.start_ranks(tmp_path, 2))
    assert [status for status, *_ in outcomes] == [1, 1]
    (line,) = told(outcomes)
    assert "train/bee/1.png: is no picture" in line
    assert ended(tmp_path)["ended"] == "failed"
    assert len(helpers.manifest(tmp_path)["devices"]) == 2


def test_hung_first_rank_is_given_up(tmp_path):
    """It also keeps the store by which the others agree on who reports."""
    processes = training(tmp_path, timeout_s=15.0)
    os.kill(processes[0].pid, signal.SIGSTOP)
    _, errors = processes[1].communicate(timeout=PATIENCE_S)
    processes[0].kill()
    processes[0].communicate()
    assert processes[1].returncode == 1
    assert "for 15 s (timeout_s)" in errors and "Traceback" not in errors
    assert ended(tmp_path)["ended"] == "failed"


def test_dataset_missing_on_one_node(tmp_path):
    from image_folders import pictures

    pictures(tmp_path / "here" / "data" / "insects")
    there = helpers.study(tmp_path / "there")
    for shared in ("results", "checkpoints"):
        (there / shared).symlink_to(tmp_path / "here" / shared)
    root = helpers.study(
        tmp_path / "here", source="auto", train_images=None, val_images=None, world_size=2
    )
    elsewhere = {1: {"SCALEBOOK_ROOT": str(tmp_path / "there")}}
    outcomes = helpers.finish(helpers.start_ranks(root, 2, of_rank=elsewhere))
    assert [status for status, *_ in outcomes] == [1, 1]
    (line,) = told(outcomes)
    assert "data: holds no images" in line and "scalebook data get" in line
    assert ended(root)["ended"] == "failed" and "holds no images" in ended(root)["reason"]


@pytest.mark.parametrize("together", [True, False])
def test_cancelled_ranks_stop_at_the_same_step(tmp_path, together):
    processes = training(tmp_path)
    for process in processes:
        process.send_signal(signal.SIGTERM)
        if not together:
            time.sleep(0.5)
    outcomes = helpers.finish(processes)
    assert [status for status, *_ in outcomes] == [1, 1]
    (line,) = told(outcomes)
    assert "run cancelled: continue it with --resume" in line
    assert ended(tmp_path)["ended"] == "cancelled"


def test_three_ranks_resume_bit_equal(tmp_path):
    """Continued after a crash: the same as without; three ranks could round in another order."""
    states, tables = [], []
    for name in ("whole", "parts"):
        root = helpers.study(tmp_path / name, world_size=3)  # with dropout, drawn by each rank
        if name == "parts":
            outcomes = helpers.finish(
                helpers.start_ranks(root, 3, SCALEBOOK_JOB_ID="8", TRAIN_TEST_DIE_AFTER="1")
            )
            assert [status for status, *_ in outcomes] == [9, 1, 1]
            assert len(helpers.rows(root)) == 2  # one more than the checkpoint knows
            arguments = ["--resume"]
        else:
            arguments = []
        outcomes = helpers.finish(helpers.start_ranks(root, 3, *arguments, SCALEBOOK_JOB_ID="8"))
        assert [status for status, *_ in outcomes] == [0, 0, 0], outcomes
        states.append(helpers.parameters(root))
        tables.append(
            [
                [row[c] for c in ("epoch", "train_loss", "train_acc", "val_loss", "val_acc")]
                for row in helpers.rows(root)
            ]
        )
    assert tables[0] == tables[1]
    for key, values in states[0].items():
        assert torch.equal(values, states[1][key]), key
