"""All-reduce curves: read, joined with what they were measured on, and refused with a reason."""

from __future__ import annotations

import json

import pytest
from fabricate import add_allreduce, add_run

from scalebook import contract, results


def test_curves_come_with_what_they_were_measured_on(study_root):
    add_allreduce(study_root, "mini-open", 2.0)
    stem = add_allreduce(study_root, "mini-1gbit", 0.12)
    add_allreduce(study_root, "mini-200mbit", 0.024, local=True)
    frame = results.allreduce()
    assert tuple(frame.columns) == results.ALLREDUCE_COLUMNS
    assert frame["system"].unique().tolist() == ["mini-1gbit", "mini-open", "mini-200mbit"]
    assert results.allreduce(local=False)["system"].nunique() == 2
    last = frame[frame["stem"] == stem].iloc[-1]
    assert (last["bytes"], last["world_size"], last["nodes"]) == (2**26, 2, 2)
    assert (last["backend"], last["device"], last["link"]) == ("gloo", "cpu", "a virtual link")
    assert last["link_gbit_s"] == 1.0
    assert last["busbw_gb_s"] == pytest.approx(0.12, rel=0.01)
    assert results.problems().empty and results.runs(system="mini-1gbit").empty


def test_no_curve_is_an_empty_table(study_root):
    assert results.allreduce().empty
    assert tuple(results.allreduce().columns) == results.ALLREDUCE_COLUMNS


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bytes,", "size,", "has no column bytes"),
        ("\n4096,20,", "\n4096,many,", "line 3: must hold a number"),
        ("\n4096,20,", "\n4096,20,9e9,", "line 3"),
        ("\n4096,20,", "\n4096,-20,", "line 3: no value may be negative"),
    ],
)
def test_a_wrong_curve_is_left_out_and_named(study_root, old, new, said):
    stem = add_allreduce(study_root)
    path = study_root / f"results/allreduce/{stem}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert results.allreduce().empty
    problem = results.problems().iloc[0]
    assert said in problem["problem"]
    assert "\n" not in problem["problem"] and str(study_root) not in problem["file"]


def test_sizes_must_increase(study_root):
    stem = add_allreduce(study_root)
    path = study_root / f"results/allreduce/{stem}.csv"
    head, first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows, first]) + "\n")
    (problem,) = results.problems().to_dict("records")
    assert problem["file"] == f"results/allreduce/{stem}.csv"
    assert problem["problem"] == "bytes: must increase from row to row"


def test_bandwidth_must_follow_from_latency(study_root):
    stem = add_allreduce(study_root)
    path = study_root / f"results/allreduce/{stem}.csv"
    head, *rows = path.read_text().splitlines()
    rows[-1] = ",".join([*rows[-1].split(",")[:-1], "1.5"])
    path.write_text("\n".join([head, *rows]) + "\n")
    assert "is not bytes / latency" in results.problems()["problem"].iloc[0]


def test_a_file_without_its_other_half_is_named(study_root):
    stem = add_allreduce(study_root)
    about = study_root / f"results/allreduce/{stem}.json"
    text = about.read_text()
    about.unlink()
    assert "measured on" in results.problems()["problem"].iloc[0]
    about.write_text(json.dumps({**json.loads(text), "schema": "other/1"}))
    assert "schema" in results.problems()["problem"].iloc[0]
    about.write_text(json.dumps({**json.loads(text), "world_size": 4}))
    assert "world_size: says 4, the file's name 2" in results.problems()["problem"].iloc[0]
    about.write_text(text)
    about.with_suffix(".csv").unlink()
    assert "curve that is not there" in results.problems()["problem"].iloc[0]


def test_a_runs_command_and_accounting_are_no_problem(study_root):
    stem = add_run(study_root, submitted=["sbatch", "--parsable", "slurm/train.sbatch"])
    files = contract.RunFiles(study_root / "results", stem)
    contract.write_whole(files.sacct, "JobID,State\n1,COMPLETED\n")
    assert results.problems().empty
    assert results.manifest(stem)["submitted"][0] == "sbatch"
    assert len(results.runs(evidence=True)) == 1
