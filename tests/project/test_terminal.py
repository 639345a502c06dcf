"""What others wrote reaches a terminal as text, and never steers it."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from fabricate import add_run
from paths import REPOSITORY
from waiting import PATIENCE_S

from scalebook import contract, launch
from scalebook.cli import parts
from scalebook.cli.command import SECTIONS, main
from scalebook.launch.job import JobState, Progress
from scalebook.launch.watch import describe
from scalebook.train.privacy import printable

#: Clears the screen, writes a title, goes back to the line's start, is a C1 code, turns the text.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\rok\x9b31m\u202e\x7f"
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


def said(*words):
    """What a command prints to a terminal, which keeps escape sequences, and to both streams."""
    done = CliRunner().invoke(main, list(words), color=True)
    assert not STEERING.search(done.output), repr(done.output)
    return done


def test_lines_and_columns_stay_and_all_else_is_shown_escaped():
    assert printable("a\n\tb é 日本 ‘x’") == "a\n\tb é 日本 ‘x’"
    assert printable("\x1b[31m\udcff") == r"\u001b[31m\udcff"
    assert json.loads(printable(json.dumps({"a": HOSTILE}))) == {"a": HOSTILE}


def test_names_of_files_and_what_is_in_manifests(study_root):
    add_run(study_root, seed=1, attempts=[{"ended": "failed", "reason": HOSTILE}])
    add_run(study_root, seed=2, system=HOSTILE)
    (study_root / "results/csv" / f"a{HOSTILE}.csv").write_text("epoch\n1\n")
    os.close(os.open(os.fsencode(study_root / "results/csv") + b"/b\xff.csv", os.O_CREAT))
    output = said("runs", "--all").output
    assert r"\u001b[2J" in output and r"b\udcff.csv" in output
    assert HOSTILE in {run["system"] for run in json.loads(said("runs", "--all", "--json").stdout)}
    assert said("check").exit_code in (0, 1)


def test_what_a_job_printed_and_why_it_ended(study_root, monkeypatch):
    assert said("logs", HOSTILE).exit_code == 2
    job = SimpleNamespace(logs=lambda lines: f"\x1b[31mred\x1b[0m\n{HOSTILE}")
    monkeypatch.setattr(launch, "find", lambda name: job)
    output = said("logs", "t1").output
    assert output.startswith("red\n") and r"\u0007" in output
    line = describe(Progress(), JobState.FAILED, f"OSError: {HOSTILE}")
    assert not STEERING.search(line) and r"\u001b[2J" in line


def test_no_command_writes_past_the_one_place():
    for path in (REPOSITORY / "src/scalebook/cli").glob("*.py"):
        assert "click.echo(" not in path.read_text() or path.name == "parts.py"
        assert not re.search(r"\bprint\(|\bstd(out|err)\.write\(", path.read_text()), path.name


@pytest.mark.parametrize("group", [[], ["data"], ["kernel"], ["trace"]], ids=str)
def test_the_list_of_commands_cuts_no_sentence(group):
    listed = said(*group, "--help").output.partition("--help")[2]
    assert len(listed.splitlines()) > 2 and "..." not in listed


def test_each_command_is_listed_once():
    assert sorted(itertools.chain(*SECTIONS.values())) == sorted(main.commands)


def test_a_file_that_cannot_be_written_is_named_and_not_the_one_beside_it(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        contract.write_whole(tmp_path / "there", "x")
    assert caught.value.filename == str(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_takes_long_says_so_and_what_is_quick_does_not(monkeypatch, capsys):
    said, say = threading.Event(), parts._say
    monkeypatch.setattr(parts, "_say", lambda line: (say(line), said.set()))
    monkeypatch.setattr(parts, "PATIENCE_S", 0.02)
    with parts.working("writing to a file"):
        assert not said.wait(0.2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with parts.working("reading results") as now:
        assert said.wait(PATIENCE_S)
        said.clear()
        now("drawing it \x1b[31m")
        assert said.wait(PATIENCE_S)
        monkeypatch.setattr(parts, "PATIENCE_S", 0.2)
        now("nothing that lasts")
    time.sleep(0.3)
    assert capsys.readouterr().err.splitlines() == [
        "scalebook: reading results …",
        r"scalebook: drawing it \u001b[31m …",
    ]
