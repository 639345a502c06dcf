"""Results from another machine arrive whole, run by run, and replace nothing."""

import gzip
import json
import os
import shutil

import pytest
from click.testing import CliRunner
from fabricate import add_run

from scalebook import contract
from scalebook.cli.command import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.fetch import Fetched, as_text, fetch
from scalebook.launch.rsync import Source

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")

# What sshd does with a command: it joins the words and gives them to a shell.
SSH = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -O) exit 0 ;;
        -o|-l|-p) shift 2 ;;
        --) shift ;;
        *) break ;;
    esac
done
[ "$1" = unreachable ] && { echo "ssh: connect to host: refused" >&2; exit 255; }
shift
cd "$HOME" && exec sh -c "$*"
"""


@pytest.fixture
def there(study_root, tmp_path_factory, monkeypatch):
    """Home directory of the other machine, reached by a stand-in for ssh."""
    home, bin_ = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("bin")
    (bin_ / "ssh").write_text(SSH)
    (bin_ / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    return home


def files(root):
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (root / "results").rglob("*")
        if path.is_file()
    }


def change(root, stem, **attempt):
    path = root / f"results/manifests/{stem}.json"
    document = contract.read_json(path)
    document["attempts"][-1].update(attempt)
    contract.write_json(path, document)


def test_files_are_counted_for_their_own_run():
    logs = ["gpu_util_2", "gpu_util_26"]
    new = [f"results/local/profiling/{name}.log" for name in logs]
    lines = as_text(Fetched(new=new, runs=logs)).splitlines()
    assert lines == ["gpu_util_2: 1 new files", "gpu_util_26: 1 new files"]


@needs_rsync
def test_new_runs_come_whole_and_a_second_call_changes_nothing(study_root, there):
    stem = add_run(there / "study", seed=1)
    add_run(there / "study", seed=2, local=True)
    (there / "study/results/logs").mkdir()
    (there / f"study/results/logs/{stem}.log").write_text("a log\n")
    (there / "study/results/notes.txt").write_text("nobody's")
    kept = add_run(study_root, "fp16", seed=7)
    mine = files(study_root)
    fetched = fetch("me@cluster:study", study_root)
    assert fetched.runs == [stem]
    assert len(fetched.new) == 4
    assert not fetched.left and not fetched.updated and not fetched.running
    now = files(study_root)
    assert {name: now[name] for name in mine} == mine, kept
    assert now[f"results/logs/{stem}.log"][0] == b"a log\n"
    assert not any("notes" in name or "local" in name for name in now)
    again = fetch("me@cluster:study/", study_root)
    assert not again.new and not again.left
    assert files(study_root) == now
    assert len(fetch("me@cluster:~/study", study_root, trials=True).runs) == 1


@needs_rsync
@pytest.mark.parametrize(
    "name", ["my study", "it's", '"quoted"', "$(touch hit)", "a;touch hit", "-rf", "--help", "`x`"]
)
def test_odd_folder_names_reach_no_shell_and_no_option(study_root, there, name):
    stem = add_run(there / name)
    assert fetch(f"me@cluster:{name}", study_root).runs == [stem]
    assert not (there / "hit").exists()
    assert not (study_root / "hit").exists()


@pytest.mark.parametrize(
    "source",
    ["", "cluster", "-oProxyCommand=x:dir", "me@-host:dir", "me@host::module", "a b@host:dir",
     "me@host;x:dir", "rsync://host/dir", "me@host:", "me@host:a*", "me@host:~you/x", "h:a\nb"],
)  # fmt: skip
def test_what_is_no_source_is_refused_in_one_line(source):
    with pytest.raises(UsageError) as caught:
        Source.parse(source)
    assert "\n" not in str(caught.value)


@needs_rsync
def test_ssh_options_are_pairs(study_root):
    with pytest.raises(UsageError, match="KEY=VALUE"):
        fetch("me@cluster:x", study_root, ssh_options=["-v"])


@needs_rsync
def test_what_differs_is_left_on_both_sides(study_root, there):
    theirs = add_run(there / "study", rate=300.0, run_uuid="other")
    mine = add_run(study_root, rate=400.0)
    assert mine == theirs
    before = files(study_root)
    fetched = fetch("me@cluster:study", study_root)
    assert not fetched.runs
    assert files(study_root) == before
    (file, why), *_ = fetched.left.items()
    assert file.endswith(".csv")
    shown = why.rsplit(" ", 1)[1]
    assert (study_root / shown).read_bytes() == (there / "study" / file).read_bytes()


@needs_rsync
def test_a_run_that_goes_on_there_is_waited_for_and_one_that_was_resumed_comes(study_root, there):
    stem = add_run(there / "study", accuracy=(40.0, 50.0))
    change(there / "study", stem, ended=None, end=None)
    assert fetch("me@cluster:study", study_root).running == [stem]
    assert not files(study_root)
    change(there / "study", stem, ended="timeout", end="2026-01-01T01:00:00Z")
    assert fetch("me@cluster:study", study_root).runs == [stem]
    document = contract.read_json(there / f"study/results/manifests/{stem}.json")
    document["attempts"].append({**document["attempts"][-1], "number": 2, "ended": "completed"})
    document["epochs"] = 3
    add_run(there / "study", accuracy=(40.0, 51.0, 52.0))
    contract.write_json(there / f"study/results/manifests/{stem}.json", document)
    fetched = fetch("me@cluster:study", study_root)
    assert f"results/csv/{stem}.csv" in fetched.updated
    assert not fetched.left
    # A copy here that is finished is not changed by an older one there.
    add_run(there / "study", accuracy=(1.0,))
    now = files(study_root)
    assert fetch("me@cluster:study", study_root).left
    assert files(study_root) == now


@needs_rsync
@pytest.mark.parametrize("kind", ["csv", "steps", "manifests", "attempts", "short"])
def test_a_damaged_run_is_left_whole(study_root, there, kind):
    stem = add_run(there / "study")
    good = add_run(there / "study", "fp16")
    results = there / "study/results"
    if kind == "csv":
        (results / f"csv/{stem}.csv").write_text("epoch,val_acc\n1,400\n")
    elif kind == "steps":
        path = results / f"steps/{stem}.csv.gz"
        path.write_bytes(b"\x1f\x8b" + os.urandom(64))
    elif kind == "manifests":
        (results / f"manifests/{stem}.json").write_text("{")
    elif kind == "attempts":
        manifest = results / f"manifests/{stem}.json"
        contract.write_json(manifest, {**contract.read_json(manifest), "attempts": {}})
    else:
        rows = (results / f"csv/{stem}.csv").read_text().splitlines()[:-1]
        (results / f"csv/{stem}.csv").write_text("\n".join(rows) + "\n")
    fetched = fetch("me@cluster:study", study_root)
    assert fetched.runs == [good]
    assert len(fetched.left) == 1
    assert not any(stem in name for name in files(study_root))


@needs_rsync
def test_links_hidden_and_foreign_names_are_not_taken(study_root, there):
    stem = add_run(there / "study")
    secret = there / "secret"
    secret.write_text("epoch,val_acc\n1,4\n")
    csv = there / "study/results/csv"
    (csv / "baseline_1_1gpu_1.csv").symlink_to(secret)
    (csv / f".{stem}.csv.abc").write_text("half")
    (csv / "what is this.csv").write_text("epoch,val_acc\n1,4\n")
    (there / "study/results/logs").symlink_to(there)
    fetched = fetch("me@cluster:study", study_root)
    assert fetched.runs == [stem]
    assert fetched.left.pop("results/csv/what is this.csv")
    links = ["results/csv/baseline_1_1gpu_1.csv", "results/logs"]
    assert fetched.left == dict.fromkeys(links, "a link there: it is not followed")
    assert not (study_root / "results/csv/baseline_1_1gpu_1.csv").exists()


@needs_rsync
def test_nothing_is_written_or_compared_through_a_link_here(study_root, there, tmp_path_factory):
    stem = add_run(there / "study")
    outside = tmp_path_factory.mktemp("outside")
    (study_root / "results").mkdir()
    (study_root / "results/csv").symlink_to(outside)
    fetched = fetch("me@cluster:study", study_root)
    assert not fetched.runs and not list(outside.iterdir())
    assert "leads out of the study" in fetched.left[f"results/csv/{stem}.csv"]


@needs_rsync
def test_a_folder_of_results_that_is_a_link_to_another_disk_is_filled(
    study_root, there, tmp_path_factory
):
    stem = add_run(there / "study")
    (study_root / "results").symlink_to(tmp_path_factory.mktemp("disk"))
    assert fetch("me@cluster:study", study_root).runs == [stem]


@needs_rsync
def test_curves_of_the_link_and_utilisation_logs_come_too(study_root, there):
    results = there / "study/results"
    stem = results / "allreduce/allreduce_7_2cpu_7"
    header = ",".join(contract.ALLREDUCE_COLUMNS)
    contract.write_whole(stem.with_suffix(".csv"), f"{header}\n8,5,1,1,1,0.008,0.008\n")
    contract.write_json(stem.with_suffix(".json"), {"schema": contract.ALLREDUCE_SCHEMA})
    contract.write_whole(results / "profiling/gpu_util_7.log", "node,utilisation\n")
    bad = results / "allreduce/allreduce_8_2cpu_8.csv"
    contract.write_whole(bad, "bytes,time\n8,1\n")
    fetched = fetch("me@cluster:study", study_root)
    assert len(fetched.new) == 3
    assert list(fetched.left) == ["results/allreduce/allreduce_8_2cpu_8.csv"]


@needs_rsync
def test_a_damaged_trace_is_left(study_root, there):
    stem = add_run(there / "study")
    trace = there / f"study/results/profiling/{stem}_rank0.pt.trace.json.gz"
    contract.write_whole(trace, gzip.compress(b"x" * 9000)[:-9])
    assert "gzip" in next(iter(fetch("me@cluster:study", study_root).left.values()))


@needs_rsync
def test_failures_are_one_line(study_root, there):
    for source, words in (("me@unreachable:x", "refused"), ("me@cluster:none", "no folder")):
        with pytest.raises(ScalebookError, match=words) as caught:
            fetch(source, study_root)
        assert "\n" not in str(caught.value)


@needs_rsync
def test_the_command_says_what_is_new(study_root, there):
    stem = add_run(there / "study")
    done = CliRunner().invoke(main, ["fetch", "me@cluster:study", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runs"] == [stem]
    done = CliRunner().invoke(main, ["fetch", "me@cluster:study"])
    assert done.exit_code == 0
    assert "nothing new" in done.output
    add_run(there / "study", rate=1.0)
    done = CliRunner().invoke(main, ["fetch", "me@cluster:study"])
    assert done.exit_code == 1
    assert "differs" in done.output
