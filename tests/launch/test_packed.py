"""Packed runs go on where they stopped; an archive that comes back is read with mistrust."""

import gzip
import io
import json
import os
import tarfile

import pytest
from click.testing import CliRunner
from fabricate import add_run, set_campaigns

from scalebook import contract
from scalebook.cli.command import main
from scalebook.contract import RunFiles, ScalebookError, UsageError
from scalebook.launch import campaign, packed
from scalebook.train.tools import campaign as tool

CAMPAIGN = """
campaigns:
  tiny:
    system: local
    seeds: [0]
    set: {dataset: synthetic, train_images: 32, val_images: 16, image_size: 16, epochs: 1,
          untimed_steps: 0, threads_per_rank: 1, global_batch: 16}
    experiments:
      baseline: {precision: [fp32, bf16]}
"""


@pytest.fixture
def root(study_root):
    set_campaigns(study_root, CAMPAIGN)
    return study_root


def command(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def files(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in (root / "results").rglob("*")
        if path.is_file()
    }


def archive(path, members):
    """An archive of (name or TarInfo, content)."""
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def of_run(there, stem, local=False):
    run = RunFiles(there / ("results/local" if local else "results"), stem)
    return [
        (path.relative_to(run.results).as_posix(), path.read_bytes())
        for path in (run.csv, run.steps, run.manifest)
    ]


@pytest.mark.slow
def test_what_the_budget_left_out_is_run_next_time_and_collected_elsewhere(
    root, tmp_path_factory, monkeypatch, capsys
):
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    for folder in (there, here):
        (folder / "study.yaml").write_text((root / "study.yaml").read_text())
    done = command("run", "--all", "--campaign", "tiny", "--pack", there / "runs.json")
    assert done.exit_code == 0, done.output
    assert "2 of 2 to run" in done.output
    monkeypatch.setenv("SCALEBOOK_ROOT", str(there))
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)  # it is pytest's process
    monkeypatch.setenv("RANK", "3")  # of whatever started the campaign
    call = [str(there / "runs.json"), "--out", str(there / "out.tar.gz"), "--budget", "9m"]
    time = iter([True, False])
    with monkeypatch.context() as short:
        short.setattr(tool.Budget, "allows_another", property(lambda budget: next(time)))
        assert tool.main(call) == 1
    said = capsys.readouterr().out.splitlines()
    assert "[1/2] baseline, seed 0" in said[0] and ": done, " in said[0]
    assert said[1].endswith("precision=bf16: left out, since the budget of 9m is used up")
    assert said[2].endswith("out.tar.gz: 1 runs, 0.0 MB")
    before = files(there)
    assert tool.main(call) == 0
    said = capsys.readouterr().out
    assert ": finished before" in said and "2 runs" in said
    now = files(there)
    assert {name: now[name] for name in before} == before
    monkeypatch.setenv("SCALEBOOK_ROOT", str(here))
    done = command("collect", there / "out.tar.gz")
    assert done.exit_code == 0, done.output
    assert files(here) == now  # trials: the images are generated
    assert all(name.startswith("results/local/") for name in now)
    assert command("collect", there / "out.tar.gz").output == "nothing new\n"
    assert {one.state for one in campaign.plan(here, "local", "tiny")} == {"finished"}
    again = command("run", "--all", "--campaign", "tiny", "--pack", here / "again.json")
    assert again.exit_code == 1 and "nothing is left to run" in again.output


def test_a_run_that_is_cut_is_told_and_the_archive_written(root, monkeypatch, capsys):
    command("run", "--all", "--campaign", "tiny", "--pack", root / "runs.json")
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    call = [str(root / "runs.json"), "--out", str(root / "out.tar.gz"), "--budget", "0.2s"]
    assert tool.main(call) == 1
    said = capsys.readouterr().out
    assert "[1/2]" in said and "done" not in said and "out.tar.gz: " in said
    with tarfile.open(root / "out.tar.gz") as written:
        assert written.getmembers() == []


@pytest.mark.slow
def test_where_the_first_runs_fail_no_other_is_started(root, monkeypatch, capsys):
    command("run", "--all", "--campaign", "tiny", "--pack", "runs.json")
    document = contract.read_json(root / "runs.json")
    for run in document["runs"]:
        run["resolved"]["training"]["model"] = "nothing"
    document["runs"] += [{**run, "job": f"{run['job']}-b"} for run in document["runs"]]
    contract.write_json(root / "runs.json", document)
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    assert tool.main(["runs.json", "--out", "out.tar.gz", "--budget", "9m"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "failed: model 'nothing': torchvision has no such model" in said[0]
    assert said[3].endswith("left out, since the first 3 runs failed")
    document["runs"][1]["job"] = "../x"
    contract.write_json(root / "runs.json", document)
    assert tool.main(["runs.json", "--out", "out.tar.gz", "--budget", "9m"]) == 2
    del document["runs"][1]
    del document["runs"][0]["resolved"]["layout"]
    contract.write_json(root / "runs.json", document)
    assert tool.main(["runs.json", "--out", "out.tar.gz", "--budget", "9m"]) == 2
    assert "runs.json: is no file of packed runs" in capsys.readouterr().err


def test_without_images_nothing_is_measured(root, monkeypatch, capsys):
    command("run", "--all", "--campaign", "tiny", "--set", "dataset=auto", "--pack", "runs.json")
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    assert tool.main(["runs.json", "--out", "out.tar.gz", "--budget", "1m"]) == 1
    assert "holds no images" in capsys.readouterr().err
    assert not (root / "results").exists()


@pytest.mark.parametrize("text", ["8", "0m", "8 m", "-1m", "8d", "1e9s"])
def test_a_budget_is_a_time(text):
    with pytest.raises(UsageError, match="write a time such as 8m"):
        tool.Budget(text)


def test_no_run_is_started_that_may_take_longer_than_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tool.time, "monotonic", lambda: now[0])
    budget = tool.Budget("1m")
    assert budget.allows_another
    with budget.run():
        now[0] = 25.0
    assert budget.allows_another and budget.left_s == 35
    now[0] = 36.0
    assert not budget.allows_another


def test_profiled_runs_are_the_first_to_stay_away_from_an_archive_too_large(
    root, monkeypatch, capsys
):
    stems = [add_run(root, seed=seed) for seed in range(4)]
    runs = [RunFiles(root / "results", stem) for stem in stems]
    for run in runs[:2]:
        contract.write_whole(run.trace(0), os.urandom(40_000))
    contract.write_whole(runs[3].log, os.urandom(40_000))
    for limit, left in ((100_000, [1]), (60_000, [1, 0]), (20_000, [1, 0, 3])):
        monkeypatch.setattr(tool, "LIMIT", limit)
        tool._pack(runs, root / "out.tar.gz")
        assert (root / "out.tar.gz").stat().st_size <= limit
        said = capsys.readouterr().out.splitlines()
        assert [line.rsplit(" ", 1)[1] for line in said[:-1]] == [stems[one] for one in left]


# --------------------------------------------------------------------------- what comes back


def test_the_studys_rules_say_what_may_be_evidence(study_root, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    good = add_run(there, seed=1, local=True)  # it lay among the trials there
    trial = add_run(there, seed=2, dataset={"name": "synthetic"})
    out = archive(there / "a.tar.gz", of_run(there, good, local=True) + of_run(there, trial))
    assert set(packed.collect(out, study_root).runs) == {good, trial}
    assert (study_root / f"results/csv/{good}.csv").is_file()
    assert (study_root / f"results/local/csv/{trial}.csv").is_file()


def test_nothing_here_is_overwritten(study_root, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    stem = add_run(study_root)
    add_run(there, accuracy=(41.0, 42.0, 43.0))
    mine = files(study_root)
    fetched = packed.collect(archive(there / "a.tar.gz", of_run(there, stem)), study_root)
    assert not fetched.runs and "differs from the one here" in str(fetched.left)
    assert files(study_root) == mine


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_members_that_are_no_files_of_a_run_are_left(study_root, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    stem, other = add_run(there), "baseline_7_1gpu_7"
    csv = dict(of_run(there, stem))[f"csv/{stem}.csv"]
    hostile = [
        (f"../csv/{other}.csv", csv),
        (f"/tmp/{other}.csv", csv),
        (f"csv/../../{other}.csv", csv),
        (f"results/csv/{other}.csv", csv),
        (f"local/csv/{other}.csv", csv),
        ("study.yaml", b"name: x\n"),
        (".scalebook/jobs/x/job.json", b"{}"),
        (f"csv/{other}.csv", csv),  # another program's, which would count as reported
        ("profiling/gpu_util_7.log", b"time\n"),
        special(f"logs/{stem}.log", tarfile.SYMTYPE, "/etc/passwd"),
        special(f"logs/{stem}.sacct.csv", tarfile.LNKTYPE, f"csv/{stem}.csv"),
        special(f"profiling/{stem}_rank0.pt.trace.json.gz", tarfile.FIFOTYPE),
        special(f"steps/{other}.csv.gz", tarfile.CHRTYPE),
        special("csv", tarfile.SYMTYPE, str(there)),
    ]
    twice = (f"csv/{stem}.csv", b"epoch\n")
    outside = sorted(there.rglob("*"))
    out = archive(there / "a.tar.gz", [*hostile, *of_run(there, stem), twice])
    done = command("collect", out)
    assert done.exit_code == 1
    assert f"{stem}: 3 new files" in done.output
    assert done.output.count("\nleft: ") == len(hostile) + 1
    assert sorted(files(study_root)) == sorted(f"results/{name}" for name, _ in of_run(there, stem))
    assert files(study_root)[f"results/csv/{stem}.csv"] == csv
    assert sorted(there.rglob("*")) == sorted([*outside, out])


def bomb(path):
    with gzip.open(path, "wb") as file:
        for _ in range(9):
            file.write(bytes(tool.LIMIT))


def long_header(path):
    """Its names alone would fill the memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    path.write_bytes(gzip.compress(info.tobuf() + bytes(4096)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path.write_bytes(b""), "a.tar.gz"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + os.urandom(64)), "damaged"),
        (lambda path: path.write_bytes(gzip.compress(os.urandom(2048))), "no archive of runs"),
        (lambda path: path.write_bytes(bytes(tool.LIMIT + 1)), "a.tar.gz"),
        (bomb, "a.tar.gz"),
        (long_header, "no archive of runs"),
        (lambda path: None, "no such file"),
    ],
)
def test_an_archive_that_is_none_changes_nothing(study_root, tmp_path_factory, make, match):
    path = tmp_path_factory.mktemp("there") / "a.tar.gz"
    make(path)
    with pytest.raises(ScalebookError, match=match):
        packed.collect(path, study_root)
    assert not files(study_root)


def test_an_archive_that_is_cut_changes_nothing(study_root, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    out = archive(there / "a.tar.gz", of_run(there, add_run(there)))
    whole = gzip.decompress(out.read_bytes())
    for data in (out.read_bytes()[:-20], gzip.compress(whole[:700])):
        out.write_bytes(data)
        with pytest.raises(ScalebookError, match=r"a\.tar\.gz: "):
            packed.collect(out, study_root)
        assert not files(study_root)


def test_a_manifest_of_another_shape_is_left_with_its_run(study_root, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    members = dict(of_run(there, stem := add_run(there)))
    for text in ("[]", "{", json.dumps({"stem": "x", "attempts": 3})):
        members[f"manifests/{stem}.json"] = text.encode()
        fetched = packed.collect(archive(there / "a.tar.gz", members.items()), study_root)
        assert fetched.left and not fetched.runs
        assert not files(study_root)
