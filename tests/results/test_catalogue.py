"""The catalogue: what is a run, what is evidence, what is wrong."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paths import REPOSITORY

from scalebook import contract, results, study
from scalebook.contract import RunFiles, ScalebookError, Stem, UsageError
from scalebook.results import reports


def csv_text(epochs: int = 3, rate: float = 400.0) -> str:
    """Rows as the training process writes them."""
    lines = [",".join(contract.CSV_COLUMNS)]
    for epoch in range(1, epochs + 1):
        images, warm = 50_000, 2_560
        train, warm_s = (images - warm) / rate + 9.0, 9.0
        row = [epoch, 1.5, 40 + epoch, 1.4, 42.5 + epoch, train + 5, rate, images, round(train, 3),
               warm_s, 5.0, 128, 0.1, 812.5, 1, warm, ""]  # fmt: skip
        lines.append(",".join(str(cell) for cell in row))
    return "\n".join(lines) + "\n"


def manifest(stem: Stem, **changes) -> dict:
    document = {
        "schema": contract.MANIFEST_SCHEMA, "stem": str(stem), "run_uuid": "u-1",
        "job_id": stem.job_id, "experiment": stem.experiment, "system": "local", "seed": 0,
        "resolved": {"scaling": None, "reference": None, "layout": {"nodes": 1}},
        "command": ["python"], "code": {"commit": None, "dirty": False},
        "versions": {"torch": "2.13.0"}, "backend": "gloo", "threads_per_rank": 1,
        "nodes": [{"index": 0, "cpu": "Some CPU", "cores": 2, "memory_gb": 24}], "devices": [],
        "dataset": {"name": "cifar10", "sha256": "ab", "train_images": 50000, "subset": False},
        "model": {"name": "resnet18", "stem": "imagenet", "parameters": 1},
        "world_size": stem.world_size, "global_batch": 128, "batch_per_rank": 128, "epochs": 3,
        "precision": "fp32",
        "attempts": [{"number": 1, "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z",
                      "ended": "completed", "reason": "", "first_epoch": 1, "scheduler": None}],
    }  # fmt: skip
    return {**document, **changes}


def add_run(root: Path, job: str = "t1", experiment: str = "baseline", world: int = 1,
            local: bool = False, text: str | None = None, **changes) -> str:  # fmt: skip
    stem = Stem(experiment, job, world, "cpu")
    files = RunFiles(root / ("results/local" if local else "results"), str(stem))
    contract.write_json(files.manifest, manifest(stem, **changes))
    contract.write_whole(files.csv, csv_text() if text is None else text)
    return str(stem)


def attempt(ended: str | None, start: str = "2026-01-01T00:00:00Z") -> list[dict]:
    return [{"number": 1, "start": start, "end": None, "ended": ended, "reason": "why"}]


def measured() -> pd.DataFrame:
    return results.runs(kind="measured")


def test_a_finished_run_is_a_row_with_its_measures(study_root):
    stem = add_run(study_root)
    frame = measured()
    assert tuple(frame.columns) == results.RUN_COLUMNS
    (row,) = frame.to_dict("records")
    assert row["stem"] == stem and row["status"] == "finished" and row["evidence"]
    assert row["throughput"] == pytest.approx(400.0) and row["epochs_done"] == 3
    assert row["final_val_acc"] == 45.5 == row["best_val_acc"]
    assert row["device_name"] == "Some CPU" and row["seed"] == 0 and row["scaling"] is None
    assert list(results.epochs(stem)["epoch"]) == [1, 2, 3]
    assert results.manifest(stem)["run_uuid"] == "u-1"
    assert results.problems().empty


def test_throughput_counts_all_epochs_together_without_warm_up(study_root):
    columns = "epoch,val_acc,throughput,images,train_time_s,warmup_time_s,warmup_images"
    slow_first = "1,40,50.0,1000,22,2,0\n2,41,100.0,1000,10,0,0\n3,42,100.0,1000,10,0,0\n"
    add_run(study_root, text=f"{columns}\n{slow_first}")
    assert measured()["throughput"].tolist() == [pytest.approx(3000 / 40)]  # no median: 100


def test_of_a_file_that_counts_no_images_the_median_rate_is_taken():
    table = pd.DataFrame({"epoch": [1, 2, 3], "throughput": [50.0, 100.0, 110.0]})
    assert results.throughput(table) == 100.0
    only_images = table.assign(images=1000, train_time_s=[20.0, 10.0, 10.0])
    assert results.throughput(only_images) == 3000 / 40
    assert np.isnan(results.throughput(table[["epoch"]]))


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        ({}, True),
        ({"local": True}, False),
        ({"experiment": "quick"}, False),
        ({"system": "elsewhere"}, False),
        ({"dataset": {"name": "synthetic", "subset": False}}, False),
        ({"dataset": {"name": "cifar10", "subset": True}}, False),
        ({"epochs": 2, "text": csv_text(2)}, False),
        ({"attempts": attempt("failed")}, False),
        ({"attempts": attempt(None)}, False),
        ({"text": csv_text(2)}, False),
    ],
)
def test_evidence_is_what_a_rule_of_the_study_takes(study_root, change, evidence):
    add_run(study_root, **change)
    assert measured()["evidence"].tolist() == [evidence]
    assert len(results.runs(evidence=True)) == evidence


@pytest.mark.parametrize(
    ("datasets", "real", "generated"),
    [("[]", True, False), ("[cifar10]", True, False), ("[synthetic]", False, True)],
)
def test_generated_images_are_evidence_only_where_a_rule_names_them(
    study_root, datasets, real, generated
):
    path = study_root / "study.yaml"
    declared = path.read_text().partition("evidence:")[0]
    path.write_text(f"{declared}evidence:\n- {{datasets: {datasets}}}\n")
    add_run(study_root, "t1")
    add_run(study_root, "t2", dataset={"name": "synthetic", "subset": False})
    assert measured()["evidence"].tolist() == [real, generated]
    # Where a training process puts them is decided in the same way.
    allowed = study.resolve(study.load(study_root), "baseline", "local")["evidence_datasets"]
    taken = [contract.takes_dataset(allowed, name) for name in ("cifar10", "synthetic")]
    assert taken == [real, generated]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"attempts": attempt(None)}, "running"),
        ({"attempts": attempt("killed")}, "killed"),
        ({"attempts": attempt("completed"), "text": csv_text(2)}, "incomplete"),
        ({"attempts": attempt("completed"), "text": csv_text(3)[:-4]}, "incomplete"),
        ({"attempts": attempt("completed"), "text": ""}, "incomplete"),
    ],
)
def test_status_says_how_the_run_stands(study_root, change, status):
    add_run(study_root, **change)
    assert measured()["status"].tolist() == [status]
    # A run that ended some other way is no problem of the files.
    assert (len(results.problems()) > 0) == (status == "incomplete")


def test_a_live_csv_loses_its_torn_last_line_only(study_root):
    stem = add_run(study_root, text=csv_text(3)[:-4], attempts=attempt(None))
    assert list(results.epochs(stem)["epoch"]) == [1, 2]
    assert results.problems().empty


def test_newest_is_by_start_and_passes_over_what_is_not_finished(study_root):
    assert results.newest() is None
    old = add_run(study_root, "t1", attempts=attempt("completed", "2026-01-01T00:00:00Z"))
    add_run(study_root, "t2", attempts=attempt(None, "2026-03-01T00:00:00Z"))
    trial = add_run(
        study_root, "t3", "quick", local=True, attempts=attempt("completed", "2026-02-01T00:00:00Z")
    )
    assert results.newest() == trial
    assert results.newest("baseline") == old
    assert results.newest("fp16") is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("csv", b"\xff\xfe\x00binary\x00", "not text"),
        ("csv", b"epoch,val_acc\n1,50\n2,oops\n3,52\n", "line 3, val_acc: 'oops' is not a number"),
        ("csv", b"epoch,val_acc\n1,50\n2,151\n3,52\n", "line 3, val_acc: 151 must be a percentage"),
        ("csv", b"epoch,val_acc\n1,50\n1,51\n3,52\n", "line 3, epoch: 1 must increase"),
        ("csv", b"epoch,val_acc\n2,50\n3,51\n4,52\n", "line 2, epoch: 2 must start from 1"),
        ("csv", b"epoch,val_acc\n1,50\nepoch,val_acc\n2,5\n", "line 3: header is repeated"),
        ("csv", b"epoch,val_acc,val_acc\n1,50,50\n", "line 1, val_acc: column is there twice"),
        ("csv", b"epoch,accuracy\n1,50\n", "has no column val_acc; found epoch, accuracy"),
        ("csv", b"epoch,val_acc\n1,50,7\n", "line 2: has 3 values, the header 2 columns"),
        ("csv", b"epoch,val_acc\n1,\n", "line 2, val_acc: must not be empty"),
        ("csv", b'epoch,val_acc\n1,"' + b"x" * 200_000, "not a CSV"),
        ("manifest", b"{", "cannot be read as JSON"),
        ("manifest", b"[" * 100_000, "cannot be read as JSON"),
        ("manifest", b"{}", "schema: Field required"),
    ],
)
def test_a_bad_file_is_named_and_the_others_stay_usable(study_root, name, content, said):
    good = add_run(study_root, "t1")
    bad = add_run(study_root, "t2")
    files = RunFiles(study_root / "results", bad)
    path = files.csv if name == "csv" else files.manifest
    path.write_bytes(content + (b"\n" if name == "csv" else b""))
    (problem,) = results.problems().itertuples(index=False)
    whole = problem.file
    whole += f" line {problem.row}" if problem.row else ""
    whole += f", {problem.column}" if problem.column else ""
    assert said in f"{whole}: {problem.problem}"
    assert problem.file == path.relative_to(study_root).as_posix()
    assert results.runs(evidence=True)["stem"].tolist() == [good]
    with pytest.raises(ScalebookError) as raised:
        results.epochs(bad) if name == "csv" else results.manifest(bad)
    assert "\n" not in str(raised.value) and str(study_root) not in str(raised.value)


def test_throughput_must_follow_from_its_parts(study_root):
    stem = add_run(study_root, text=csv_text().replace(",400.0,", ",800.0,", 1))
    (problem,) = results.problems().itertuples(index=False)
    assert (problem.row, problem.column) == (2, "throughput")
    assert "warmup_images" in problem.problem
    assert measured()["status"].tolist() == ["incomplete"]
    with pytest.raises(ScalebookError, match=r"results/csv/.*line 2, throughput"):
        results.epochs(stem)


@pytest.mark.parametrize(
    ("key", "value"),
    [("stem", "fp16_t1_1cpu_t1"), ("experiment", "fp16"), ("world_size", 2), ("job_id", "t2")],
)
def test_manifest_and_file_name_must_agree(study_root, key, value):
    path = study_root / "results/manifests" / f"{add_run(study_root)}.json"
    contract.write_json(path, {**contract.read_json(path), key: value})
    assert measured().empty
    assert results.problems()["problem"][0].startswith(f"{key}: says {value!r}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolved.training", 1),
        ("resolved.overrides", ["lr=1"]),
        ("resolved.layout", "one node"),
        ("attempts.0.scheduler", "slurm"),
        ("code", ["a commit"]),
        ("versions.torch", ["2.13"]),
        ("nodes.0.cpu", ["a processor"]),
    ],
)
def test_a_part_of_a_manifest_of_another_kind_is_named(study_root, key, value):
    path = study_root / "results/manifests" / f"{add_run(study_root)}.json"
    document = contract.read_json(path)
    *parents, last = key.split(".")
    part = document
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
    part[last] = value
    contract.write_json(path, document)
    assert measured().empty
    kind = "string" if key in ("versions.torch", "nodes.0.cpu") else "dictionary"
    assert results.problems()["problem"][0] == f"{key}: Input should be a valid {kind}"


def test_the_same_run_in_both_folders_is_said(study_root):
    add_run(study_root)
    add_run(study_root, local=True)
    assert measured()["local"].tolist() == [False]
    assert results.problems()["file"].tolist() == ["results/local/csv/baseline_t1_1cpu_t1.csv"]


def test_steps_survive_several_members_and_a_torn_tail(study_root):
    stem = add_run(study_root)
    path = study_root / "results/steps" / f"{stem}.csv.gz"
    path.parent.mkdir(parents=True)
    first = ",".join(contract.STEP_COLUMNS) + "\n1,1,1,0,128,0.25,0.01,1\n"
    second = gzip.compress(b"1,1,2,0,128,0.20,0.01,0\n" * 400)
    path.write_bytes(gzip.compress(first.encode()) + second)
    assert len(results.steps(stem)) == 401
    path.write_bytes(gzip.compress(first.encode()) + second[:-9])
    assert len(results.steps(stem)) == 1
    path.write_bytes(b"\x1f\x8b not gzip at all")
    with pytest.raises(ScalebookError, match="damaged"):
        results.steps(stem)


def test_unknown_columns_and_runs_are_said(study_root):
    with pytest.raises(UsageError, match="no column 'colour'"):
        results.runs(colour="red")
    with pytest.raises(ScalebookError, match="scalebook runs"):
        results.epochs("../../etc/passwd")
    with pytest.raises(ScalebookError, match="only reported, without curves"):
        results.epochs("baseline_2644_1gpu_2644")


# ------------------------------------------------------------------------- foreign files


OWNERS = "results/csv/baseline_2644_1gpu_2644.csv"


def drop(root: Path, text: str | bytes, name: str = OWNERS) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_file_of_a_reported_job_joins_it(study_root):
    drop(study_root, "epoch,val_acc,note\n1,55.25,a\n2,77.42,b\n")
    (row,) = results.runs(kind="imported").to_dict("records")
    assert row["experiment"] == "baseline" and row["device_name"] == "NVIDIA Tesla T4"
    assert row["status"] == "finished" and row["evidence"] and "imported" in row["note"]
    assert np.isnan(row["throughput"]) and row["final_val_acc"] == 77.42
    assert list(results.epochs(row["stem"]).columns) == ["epoch", "val_acc", "note"]
    # What was claimed stays beside it, apart.
    assert results.runs(kind="reported", job_id="2644")["throughput"].tolist() == [4460.0]


def test_a_run_is_found_beside_a_file_that_another_program_named(study_root):
    reported = study_root / "data/reported/magic-castle-2025.yaml"
    listed = reported.read_text().replace(OWNERS, "results/csv/theirs.csv")
    reported.write_text(listed)
    drop(study_root, "epoch,val_acc\n1,55.25\n", "results/csv/theirs.csv")
    ours = add_run(study_root)
    assert results.find("t1") == ours == results.find("baseline_t")
    assert results.find("theirs") == "theirs" == results.find("2644")


def test_the_job_decides_what_the_file_is_of(study_root):
    drop(study_root, "epoch,val_acc\n1,50\n", "results/csv/baseline_2649_2gpu_2649.csv")
    row = results.runs(kind="imported").iloc[0]
    assert row["experiment"] == "ddp_2gpu" and row["nodes"] == 2


@pytest.mark.parametrize(
    ("text", "expected", "note"),
    [
        ("epoch,val_acc\n1,0.5525\n2,0.7742\n", 77.42, "fraction"),
        ("epoch,val_acc\n0,55\n1,77.42\n", 77.42, "counted from 0"),
        ("epoch;val_acc\r\n1;55\r\n2;77.42\r\n", 77.42, "parted by ;"),
        ("\ufeffepoch,val_acc\n1,55\n2,77.42", 77.42, None),
        ("epoch, val_acc \n1, 55\n\n2, 77.42\n", 77.42, None),
        ("epoch,val_acc\n1,55\n2,77.42\n3", 77.42, "cut short"),
        ("epoch,val_acc\n1,55\n5,77.42\n", 77.42, "between 1 and 5 are not there"),
    ],
)
def test_common_ways_of_others_are_understood_and_said(study_root, text, expected, note):
    drop(study_root, text)
    row = results.runs(kind="imported").iloc[0]
    assert row["final_val_acc"] == pytest.approx(expected) and row["epochs_done"] == 2
    problems = results.problems()
    assert (problems["severity"] == "note").all() and len(problems) == (note is not None)
    if note:
        assert note in row["note"] and note in problems["problem"][0]


LIGHTNING = (Path(__file__).parent.parent / "recorded/files/lightning.csv").read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_rows_of_training_and_of_validation_are_one_epoch(study_root, encoding):
    drop(study_root, LIGHTNING.encode(encoding))
    row = results.runs(kind="imported").iloc[0]
    epochs = results.epochs(row["stem"])
    assert epochs["epoch"].tolist() == [1, 2, 3] and epochs["step"].tolist() == [97, 195, 293]
    assert epochs["val_acc"].tolist() == pytest.approx([41.23, 55.33, 61.01])
    assert epochs["train_loss"].tolist() == [1.80, 1.31, 1.10]
    assert "joined into one an epoch" in row["note"]
    assert (results.problems()["severity"] == "note").all()


def test_of_several_rows_of_training_the_last_counts_and_rows_without_epoch_are_left_out(
    study_root,
):
    drop(
        study_root,
        "epoch,step,train_loss,val_acc\n,0,,\n0,5,1.2,\n0,7,1.1,\n0,9,,41\n1,12,1.0,\n1,19,,55\n",
    )
    epochs = results.epochs(results.runs(kind="imported")["stem"].item())
    assert epochs["train_loss"].tolist() == [1.1, 1.0] and epochs["val_acc"].tolist() == [41, 55]
    problems = results.problems()
    told = problems["problem"].str.cat(sep=" ")
    assert "the last is taken" in told and "1 row was left out" in told
    assert set(problems["row"].dropna()) == {2} and (problems["severity"] == "note").all()


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("0,1,\n0,,50\n0,,51\n1,,52\n", 4, "0 has several rows with val_acc"),
        ("0,1,\n1,1,\n1,,51\n", 4, "1 is the first with val_acc; expected all"),
        ("0,1,50\n1,1,51\n1,1,52\n", 4, "1 must increase from row to row"),
        ("0,1,50\n2,1,0.5\n1,1,52\n", 4, "1 must increase from row to row"),
        ("0,1,0.5\n1,-1,0.5\n", 3, "-1 must be positive"),
    ],
)
def test_an_error_quotes_the_line_and_the_epoch_of_the_file(study_root, text, row, said):
    drop(study_root, f"epoch,epoch_time_s,val_acc\n{text}")
    problems = results.problems()
    error = problems[problems["severity"] == "error"].iloc[0]
    assert (error["row"], said) == (row, error["problem"][: len(said)])


def test_decimal_commas_are_read_where_they_can_be_nothing_else(study_root):
    drop(study_root, "epoch;val_acc;throughput\n1;55,2;4,460\n2;77,42;4,470\n")
    row = results.runs(kind="imported").iloc[0]
    assert row["final_val_acc"] == 77.42 and row["throughput"] == pytest.approx(4.465)
    assert "decimal comma" in row["note"]
    # 4,460 alone may be four thousand: the file is refused rather than read wrong.
    drop(study_root, "epoch;val_acc;throughput\n1;55;4,460\n")
    problems = results.problems()
    assert "'4,460' is not a number" in problems[problems["severity"] == "error"]["problem"].item()


@pytest.mark.parametrize(
    ("text", "said"),
    [("epoch,val_acc\n", "no row below it"), ("epoch,val_acc\n1,1_0\n", "'1_0' is not a number")],
)
def test_what_holds_no_epoch_is_said(study_root, text, said):
    drop(study_root, text)
    assert results.runs(kind="imported", status="finished").empty
    assert said in results.problems()["problem"].item()


def test_our_own_accuracies_are_never_taken_for_fractions(study_root):
    rows = csv_text().splitlines()
    table = [line.split(",") for line in rows]
    for line in table[1:]:
        line[4] = "0.5"
    stem = add_run(study_root, text="\n".join(",".join(line) for line in table) + "\n")
    assert results.epochs(stem)["val_acc"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("baseline_9999_1gpu_9999.csv", "reports job 9999"),
        ("notes.csv", "not the stem of a run"),
        ("baseline_2644_4gpu_2644.csv", "says 4gpu"),
    ],
)
def test_unmatched_files_are_listed_never_aggregated(study_root, name, said):
    drop(study_root, "epoch,val_acc\n1,50\n", f"results/csv/{name}")
    assert results.runs(kind=["imported", "measured"]).empty
    assert said in results.problems()["problem"][0]


# ------------------------------------------------------------------------- reported numbers


def test_every_reported_number_is_there(study_root):
    frame = results.reported()
    value = {(row.job_id, row.metric): row.value for row in frame.itertuples()}
    assert value["2644", "throughput"] == 4460 and value["2649", "throughput"] == 5000
    assert value["2650", "epoch_time_s"] == 6.6 and value["2649", "efficiency"] == 56
    shares = {"batch_norm": 18.0, "gemm": 15.1, "convolution": 13.7, "other": 53.2}
    assert {name: value["2915", f"share.{name}"] for name in shares} == shares
    hours = ("strong_scaling", "weak_scaling", "optimisation", "contingency", "total")
    assert [value["proposal", f"{name}_hours"] for name in hours] == [160, 192, 50, 100, 500]
    assert set(frame["date"]) == {"2025-11-21"}
    rows = results.runs(kind="reported")
    assert set(rows["job_id"]) == {"2644", "2649", "2650", "2915"} and not rows["evidence"].any()
    assert results.claims()["id"].is_unique


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    experiment: fp16", "    experimnt: fp16", "jobs.2.experimnt: unknown key"),
        ("system: magic-castle", "colour: red", "colour: unknown key; allowed are"),
        ("system: magic-castle", "", "system: is missing"),
        ("claims:\n", "colour: red\nclaims:\n", "colour: unknown key; allowed are source, date"),
        ("{value: 4460, unit", "{value: many, unit", "jobs.0.values.throughput.value: 'many'"),
        ('    job: "2915"\n', '    job: "7"\n', "names job '7'"),
        ('job_id: "2650"', 'job_id: "2649"', "'2649' is there twice"),
        ("jobs:\n", "jobs: [\n", "not valid YAML"),
    ],
)
def test_a_wrong_reported_file_is_one_line_and_harms_no_other(study_root, old, new, said):
    good = study_root / reports.FOLDER / "magic-castle-2025.yaml"
    text = good.read_text()
    assert old in text
    bad = good.with_name("wrong.yaml")
    bad.write_text(text.replace(old, new, 1))
    (problem,) = results.problems().itertuples(index=False)
    assert problem.file == "data/reported/wrong.yaml"
    assert said in problem.problem and "\n" not in problem.problem
    assert len(results.runs(kind="reported")) == 4


# ------------------------------------------------------------------------- answers


def test_answers_do_not_depend_on_where_the_study_lies(study_root, tmp_path_factory, monkeypatch):
    add_run(study_root)
    add_run(study_root, "t2", text="epoch,val_acc\n1,bad\n")
    names = ("runs", "problems", "reported", "claims", "newest")
    before = [results.answer_digest(name, {}) for name in names]
    clone = tmp_path_factory.mktemp("some where") / "clone"
    shutil.copytree(study_root, clone)
    monkeypatch.setenv("SCALEBOOK_ROOT", str(clone))
    assert [results.answer_digest(name, {}) for name in names] == before


def test_only_a_changed_answer_changes_its_digest(study_root):
    stem = add_run(study_root)
    asked = {"evidence": True, "experiment": "baseline"}
    before = results.answer_digest("runs", asked)
    rows = results.answer_digest("epochs", {"stem": stem})
    for path in (study_root / "results").rglob("*.*"):
        path.touch()
    assert results.answer_digest("runs", asked) == before
    add_run(study_root, "t9", "quick", attempts=attempt(None, "2026-05-01T00:00:00Z"))
    assert results.answer_digest("runs", asked) == before
    assert results.answer_digest("newest", {}) == results.digest(stem)
    add_run(study_root, "t1", text=csv_text(3, rate=401.0))
    assert results.answer_digest("runs", asked) != before
    assert results.answer_digest("epochs", {"stem": stem}) != rows


def test_what_has_not_changed_is_not_read_again(study_root, monkeypatch):
    for number in range(150):
        add_run(study_root, f"t{number}")
    assert len(measured()) == 150
    monkeypatch.setattr(pd, "read_csv", lambda *_: pytest.fail("read again"))
    for number in range(50):
        assert len(results.epochs(f"baseline_t{number}_1cpu_t{number}"))


def test_committed_results_are_sound(monkeypatch):
    """The repository's own results and reported numbers hold no error."""
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    problems = results.problems()
    assert problems[problems["severity"] == "error"].empty, problems.to_string()
    assert json.dumps(results.reported().to_dict("records"))
