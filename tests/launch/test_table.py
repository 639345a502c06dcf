"""The table of jobs: one source of rows for terminal, notebook and programs."""

import io
import json

import pytest
from click.testing import CliRunner

from scalebook import launch, study
from scalebook.cli import jobs as commands
from scalebook.cli import parts
from scalebook.cli.command import main
from scalebook.launch import JobState
from scalebook.launch.job import Progress
from scalebook.launch.local import LocalJob
from scalebook.launch.processes import killed_by
from scalebook.launch.table import HEADERS, JobRow, JobTable
from scalebook.launch.watch import glance

HALF = Progress("train", 2, 4, 5, 10, images_per_s=1234.5, val_acc=61.24, remaining_s=125)


@pytest.fixture
def job(study_root, monkeypatch):
    """A job whose state and progress are what a test sets."""
    resolved = study.resolve(study.load(), "quick", "local", device="cpu")
    folder = LocalJob.new_folder(resolved, study_root)
    LocalJob.write_notes(folder, "2026-01-02T03:04:05Z", pid=1, pid_created=1.0)
    shown = {"state": JobState.RUNNING, "progress": HALF, "reason": "", "asked": 0}

    def state(self):
        shown["asked"] += 1
        return shown["state"]

    monkeypatch.setattr(LocalJob, "state", state)
    monkeypatch.setattr(LocalJob, "progress", lambda self: shown["progress"])
    monkeypatch.setattr(LocalJob, "reason", lambda self: shown["reason"])
    return LocalJob(folder.name, study_root), shown


def cells(job) -> dict[str, str]:
    named = JobRow.of(job).cells()
    assert tuple(named) == HEADERS
    return {name: text for name, text in named.items() if text}


def test_a_row_says_what_holds_in_the_state(job):
    one, shown = job
    known = {"job": one.id, "experiment": "quick", "system": "local"}
    numbers = {"images/s": "1,234", "accuracy (%)": "61.2"}
    running = {"state": "running", "progress": "epoch 2/4", "left": "2:05"}
    assert cells(one) == known | numbers | running
    shown["progress"] = Progress("train", 2, 4, 5, 10, 9.0, None, 99.0, silent_s=65.0)
    running = {"state": "running", "progress": "epoch 2/4, no progress reported for 1:05"}
    assert cells(one) == known | running
    # What there is of progress is of an attempt before.
    shown |= {"state": JobState.PENDING, "reason": "waits for resources", "progress": HALF}
    assert cells(one) == known | {"state": "pending", "reason": "waits for resources"}
    assert JobRow.of(one).fraction == 0
    shown |= {"state": JobState.CANCELLED, "reason": "cancelled"}
    assert cells(one) == known | numbers | {"state": "cancelled", "progress": "epoch 2/4"}
    shown |= {"state": JobState.COMPLETED, "reason": ""}
    assert cells(one) == known | numbers | {"state": "completed"}


def test_what_has_ended_is_asked_for_once_until_it_is_resumed(job):
    one, shown = job
    table = JobTable()
    for _ in range(3):
        assert table.rows()[0].progress == "epoch 2/4"
    shown["state"] = JobState.FAILED
    before = shown["asked"]
    for _ in range(3):
        assert table.rows()[0].finished
    assert shown["asked"] == before + 1
    LocalJob.write_notes(one.folder, "2026-01-02T04:04:05Z", pid=2, pid_created=1.0)
    shown["state"] = JobState.RUNNING
    assert not table.rows()[0].finished


def test_an_end_of_which_accounting_may_know_more_is_asked_for_again(job, monkeypatch):
    _, shown = job
    monkeypatch.setattr(LocalJob, "settled", False)
    shown |= {"state": JobState.FAILED, "reason": "exit status 9"}
    table = JobTable()
    assert table.rows()[0].reason == "exit status 9"
    monkeypatch.setattr(LocalJob, "settled", True)
    shown |= {"state": JobState.OUT_OF_MEMORY, "reason": "more memory than it asked for"}
    assert table.rows()[0].state == JobState.OUT_OF_MEMORY.value
    shown["state"] = JobState.FAILED
    assert table.rows()[0].state == JobState.OUT_OF_MEMORY.value


def test_damaged_notes_are_named_and_hide_no_other_job(job):
    one, _ = job
    broken = one.folder.parent / "t1-broken"
    broken.mkdir()
    (broken / "job.json").write_text("{")
    table = JobTable()
    assert [row.job for row in table.rows()] == [one.id]
    assert len(table.damaged) == 1 and "t1-broken" in table.damaged[0]


def test_the_table_is_watched_until_all_have_ended(job, monkeypatch):
    one, shown = job
    progress = [HALF, HALF, Progress("done", 4, 4, 10, 10, 900.0, 70.0, 0.0)]

    def looks(_):
        for moment in progress:
            shown["progress"] = moment
            shown["state"] = JobState.COMPLETED if moment.phase == "done" else JobState.RUNNING
            yield
        raise AssertionError("it is looked at after its end")

    monkeypatch.setattr("scalebook.launch.waiting.looks", looks)
    done = CliRunner().invoke(main, ["status", "--watch"])
    assert done.exit_code == 0, done.output
    # A file gets the table at each change of a state, and no column that says nothing.
    header, first, again, last = done.stdout.splitlines()
    assert header.split() == [*["job", "experiment", "system", "state", "progress", "images/s"],
                              "accuracy", "(%)", "left"]  # fmt: skip
    assert "running" in first and "epoch 2/4" in first and "left" not in again
    assert "completed" in last and one.id in last
    wrong = CliRunner().invoke(main, ["status", "--watch", "--json"])
    assert wrong.exit_code == 2 and "--json" in wrong.stderr
    [row] = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)
    assert (row["images_per_s"], row["val_acc"], row["fraction"]) == (900.0, 70.0, 1.0)


@pytest.mark.parametrize("columns", [40, 80])
def test_in_a_terminal_the_table_takes_its_own_place(job, monkeypatch, columns):
    one, _ = job
    monkeypatch.setattr(parts, "_terminal_width", lambda: columns)
    monkeypatch.setenv("LINES", "24")
    written = io.StringIO()
    written.isatty = lambda: True
    monkeypatch.setattr(parts.sys, "stdout", written)
    shown = parts.Redrawn()
    for _ in range(2):
        shown.show([JobRow.of(one).cells()], None)
    first, again = written.getvalue().split("\x1b[J")[1:]
    lines, _, back = first.rpartition("\n")
    # No line is wider than the terminal, so that as many are gone over as it has.
    height = len(lines.splitlines())
    assert max(map(len, lines.splitlines())) <= columns and back == f"\x1b[{height}F"
    assert again == f"{lines}\n" and one.id in lines
    assert ("progress: epoch 2/4" in lines) == (columns == 40)


def test_ctrl_c_ends_the_looking_alone(job, monkeypatch):
    one, _ = job

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.Redrawn, "show", lambda *_: interrupted(one))
    assert CliRunner().invoke(main, ["status", "--watch"]).exit_code == 0
    assert launch.find(one.id).state() is JobState.RUNNING


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        ("waiting", "starting"),
        ("data", "preparing data"),
        ("all-reduce", "measuring the all-reduce"),
    ],
)
def test_what_a_run_does_before_its_first_epoch_is_shown(phase, where):
    assert glance(Progress(phase), JobState.RUNNING)[0] == where


def test_a_signal_without_a_name_has_its_number():
    assert killed_by(9) == "killed by signal 9 (SIGKILL)"
    assert killed_by(40) == "killed by signal 40"
