"""What is kept on disk between processes, and that nothing rests on it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fabricate import add_run

from scalebook import results
from scalebook.contract import ScalebookError
from scalebook.results import kept, scan, snapshots
from scalebook.results.kept import Kept


def test_values_are_there_for_the_next_process(tmp_path):
    one = Kept(tmp_path, "sums", "state")
    one.put("a", [1, 2.5, None, "ü"])
    one.save()
    assert Kept(tmp_path, "sums", "state").get("a") == [1, 2.5, None, "ü"]
    assert Kept(tmp_path, "sums", "another").get("a") is None


def test_two_that_write_keep_both(tmp_path):
    one, other = Kept(tmp_path, "sums", "state"), Kept(tmp_path, "sums", "state")
    one.get("a"), other.get("a")
    one.put("a", 1)
    other.put("b", 2)
    one.save()
    other.save(lambda name: name != "gone")
    assert [Kept(tmp_path, "sums", "state").get(name) for name in "ab"] == [1, 2]


@pytest.mark.parametrize("change", ["cut", "turned", "emptied", "garbage", "folder"])
def test_a_damaged_file_counts_as_none(tmp_path, change):
    one = Kept(tmp_path, "sums", "state")
    one.put("a", 12345)
    one.save()
    path = tmp_path / kept.FOLDER / "sums"
    content = path.read_bytes()
    if change == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": content[:-2], "turned": content.replace(b"12345", b"54321"),
                          "emptied": b"", "garbage": b"\xff" * 50}[change])  # fmt: skip
    again = Kept(tmp_path, "sums", "state")
    assert again.get("a") is None
    again.put("a", 1)
    again.save()  # and where it cannot be written, nothing is said


@pytest.mark.parametrize(
    "value", [10**30, {1: 2}, "\udcff", object()], ids=lambda v: type(v).__name__
)
def test_what_json_cannot_hold_is_not_kept(tmp_path, value):
    one = Kept(tmp_path, "sums", "state")
    one.put("bad", value)
    one.put("good", 1)
    one.save()
    again = Kept(tmp_path, "sums", "state")
    assert again.get("bad") is None and again.get("good") == 1


def settle(root: Path) -> None:
    """Wait until the newest file is older than two changes can share one time."""
    newest = max(path.stat().st_ctime_ns for path in (root / "results").rglob("*"))
    time.sleep(max(0.0, (newest + snapshots._SETTLED_NS - time.time_ns()) / 1e9 + 0.05))


def fresh_look(monkeypatch) -> None:
    """As another process would look: nothing is remembered but what is on disk."""
    monkeypatch.setattr(snapshots, "_last", None)


def test_runs_are_summed_up_once(study_root, monkeypatch):
    monkeypatch.setattr(snapshots, "_SETTLED_NS", 20_000_000)
    stem = add_run(study_root, "quick", local=True)
    other = add_run(study_root, "quick", local=True, seed=1)
    settle(study_root)
    before = results.runs()
    read = []
    reading = scan.manifests.read
    monkeypatch.setattr(
        scan.manifests, "read", lambda path, where: read.append(where) or reading(path, where)
    )
    fresh_look(monkeypatch)
    with monkeypatch.context() as nothing_new:
        nothing_new.setattr(snapshots, "tqdm", None)  # no bar is begun, nor the thread of one
        assert results.runs().equals(before) and read == []
    # Only the run whose file has changed is read again, even if it was as long before.
    csv = study_root / f"results/local/csv/{stem}.csv"
    status = csv.stat()
    csv.write_text(csv.read_text().replace("\n", "\n"))
    os.utime(csv, ns=(status.st_atime_ns, status.st_mtime_ns))
    settle(study_root)
    fresh_look(monkeypatch)
    assert results.runs().equals(before)
    assert read == [f"results/local/manifests/{stem}.json"]
    assert other in set(before["stem"])


def test_what_was_changed_just_now_is_not_kept(study_root, monkeypatch):
    monkeypatch.setattr(snapshots, "_SETTLED_NS", 3600 * 10**9)
    add_run(study_root, "quick", local=True)
    assert len(results.runs(kind="measured")) == 1
    assert not list((study_root / kept.FOLDER).glob("*_summed"))


def test_without_a_store_the_answer_is_the_same(study_root, monkeypatch):
    add_run(study_root, "quick", local=True)
    before = results.runs()
    (study_root / ".scalebook").mkdir(exist_ok=True)
    (study_root / kept.FOLDER).write_text("a file where the folder should be")
    fresh_look(monkeypatch)
    assert results.runs().equals(before)


def test_a_run_that_went_is_kept_no_longer(study_root, monkeypatch):
    monkeypatch.setattr(snapshots, "_SETTLED_NS", 20_000_000)
    gone = add_run(study_root, "quick", local=True)
    settle(study_root)
    results.runs()
    for path in (study_root / "results/local").rglob(f"{gone}*"):
        path.unlink()
    add_run(study_root, "quick", local=True, seed=1)
    settle(study_root)
    fresh_look(monkeypatch)
    results.runs()
    text = next((study_root / kept.FOLDER).glob("*_summed")).read_text()
    assert gone not in text and "quick_" in text


def test_an_answer_is_worked_out_once_until_a_file_changes(study_root, monkeypatch):
    monkeypatch.setattr(snapshots, "_SETTLED_NS", 20_000_000)
    asked = []

    def make():
        asked.append(1)
        return len(results.runs(kind="measured"))

    add_run(study_root)
    settle(study_root)
    for _ in range(2):
        fresh_look(monkeypatch)
        assert results.answer("how many", make) == 1
    assert len(asked) == 1
    add_run(study_root, seed=1, local=True)
    settle(study_root)
    assert results.answer("how many", make) == 2 and len(asked) == 2
    sentences = study_root / "book/sentences/parts/one.py"
    sentences.parent.mkdir(parents=True)
    sentences.write_text("")
    fresh_look(monkeypatch)
    results.answer("how many", make)
    assert len(asked) == 3


def test_an_error_is_no_answer_to_keep(study_root):
    def fails():
        raise ScalebookError("not yet")

    for _ in range(2):
        with pytest.raises(ScalebookError, match="not yet"):
            results.answer("fails", fails)
    assert results.answer("fails", lambda: 1) == 1


def test_an_answer_is_of_the_study_as_it_was_loaded(study_root, monkeypatch):
    """Edited between the first look and the first answer: the next look works it out again."""
    monkeypatch.setattr(snapshots, "_SETTLED_NS", 0)
    path = study_root / "study.yaml"

    def make():
        return snapshots.snapshot().study.title

    with results.one_snapshot() as now:
        title = now.study.title
        path.write_text(path.read_text().replace(title, "Another title"))
        assert results.answer("title", make) == title
    fresh_look(monkeypatch)
    assert results.answer("title", make) == "Another title"


def test_facts_that_lie_elsewhere_count(study_root):
    path = study_root / "machines/here.yaml"
    path.parent.mkdir()
    path.write_text("source: none\n")
    study_yaml = study_root / "study.yaml"
    text = study_yaml.read_text()
    assert "\n  local: " in text
    study_yaml.write_text(text.replace("\n  local: {", "\n  local: {facts: machines/here.yaml, "))
    before = snapshots.snapshot()
    assert snapshots.snapshot() is before
    path.write_text("source: another\n")
    assert snapshots.snapshot() is not before


def test_an_answer_whatever_the_files_are_called(study_root):
    """A name that is not UTF-8, and an editor's lock: a link that leads nowhere."""
    (study_root / "data" / os.fsdecode(b"\xff.txt")).write_text("")
    sentences = study_root / "book/sentences"
    sentences.mkdir(parents=True, exist_ok=True)
    (sentences / ".#mine.py").symlink_to("nobody@nowhere.1234")
    assert results.answer("one", lambda: 1) == 1


def test_code_is_that_which_was_imported():
    """A kernel that lives on while files are edited works with what it has."""
    program = "from scalebook.results import kept; print(kept.code.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
