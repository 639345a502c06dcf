"""No file outside a study is read through a link in it; a folder of results may be a link."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner
from fabricate import add_run

from scalebook import contract, results, study
from scalebook.cli.command import main
from scalebook.contract import ScalebookError, UsageError
from scalebook.publish.runs.content import content
from scalebook.traces.queries import trace_examples, trace_files, trace_speed
from scalebook.values.references import publications

SECRET = "root:$6$secret:19000\n"


@pytest.fixture
def secret(tmp_path_factory):
    file = tmp_path_factory.mktemp("outside") / "shadow"
    file.write_text(SECRET)
    return file


def link(root, name, target):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def listed():
    done = CliRunner().invoke(main, ["runs", "--all"])
    assert "secret" not in done.output and not isinstance(done.exception, OSError)
    return done.output


@pytest.mark.parametrize(
    "name",
    ["csv/{}.csv", "manifests/{}.json", "steps/{}.csv.gz", "logs/{}.log",
     "profiling/gpu_util_7.log", "profiling/x.json", "allreduce/allreduce_8_2cpu_8.csv"],
)  # fmt: skip
def test_a_linked_file_of_results_is_left_out_and_named(study_root, secret, name):
    stem = add_run(study_root)
    name = f"results/{name.format(stem)}"
    link(study_root, name, secret)
    assert f"error: {name}: leads out of the study" in listed()
    assert not trace_files() and "7" not in results.utilisation_files()
    if "manifests" in name:
        assert contract.locate(study_root, stem) is None
    with pytest.raises(UsageError, match="outside the study"):
        trace_speed(name)
    with pytest.raises(ScalebookError, match="no such file"):
        results.utilisation("7")


def test_a_report_shows_no_linked_log(study_root, secret):
    stem = add_run(study_root)
    for suffix in ("log", "sacct.csv"):
        link(study_root, f"results/logs/{stem}.{suffix}", secret)
    run = results.runs(stem=stem).iloc[0].to_dict()
    page = content(run, study_root)["html"]
    assert f"{stem}.log {contract.LEADS_OUT}" in page and "secret" not in page
    assert "None: the run was not started by Slurm" in page


def test_a_linked_folder_of_results_is_left_out_and_named(study_root, tmp_path_factory):
    other = tmp_path_factory.mktemp("another")
    add_run(other)
    (study_root / "results").mkdir()
    (study_root / "results/csv").symlink_to(other / "results/csv")
    (study_root / "results/local").mkdir()
    (study_root / "results/local/profiling").symlink_to(other)
    output = listed()
    assert "error: results/csv: leads out of the study" in output
    assert "error: results/local/profiling: leads out of the study" in output
    assert results.runs(kind=["measured", "imported"]).empty


@pytest.mark.parametrize("folder", [contract.EVIDENCE, contract.TRIALS])
def test_results_may_be_a_link_to_another_disk_but_no_file_in_it(
    study_root, secret, tmp_path_factory, folder
):
    disk = tmp_path_factory.mktemp("disk")
    (study_root / folder).parent.mkdir(exist_ok=True)
    (study_root / folder).symlink_to(disk)
    stem = add_run(study_root, local=folder == contract.TRIALS)
    assert results.runs(stem=stem).shape[0] == 1 and contract.locate(study_root, stem)
    assert "leads out" not in listed()
    (disk / "csv/baseline_5_1gpu_5.csv").symlink_to(secret)
    assert f"error: {folder}/csv/baseline_5_1gpu_5.csv: leads out of the study" in listed()


@pytest.mark.parametrize("name", [".git/config", ".scalebook/jobs/1/output.log"])
def test_no_link_reaches_what_is_hidden_in_the_study(study_root, name):
    (study_root / name).parent.mkdir(parents=True)
    (study_root / name).write_text(SECRET)
    link(study_root, "results/csv/baseline_5_1gpu_5.csv", study_root / name)
    assert "results/csv/baseline_5_1gpu_5.csv: leads out of the study" in listed()


def test_a_link_within_the_study_and_one_to_itself(study_root):
    stem = add_run(study_root)
    copy = study_root / f"results/logs/{stem}.log"
    link(study_root, f"results/logs/{stem}.log", f"../csv/{stem}.csv")
    assert not contract.leads_out(study_root, copy)
    link(study_root, "results/csv/turn.csv", "turn.csv")
    assert "turn.csv" not in listed()


@pytest.mark.parametrize("folder", ["data/reported", "data/systems", "data/cited", "data/examples"])
def test_a_linked_file_of_data_is_left_out_and_named(study_root, secret, folder):
    name = f"{folder}/x.{'json' if folder == 'data/examples' else 'yaml'}"
    link(study_root, name, secret)
    assert f"error: {name}: leads out of the study" in listed()
    assert "x" not in study.load(study_root).machines
    assert list(publications()) == [] and trace_examples() == []


def test_a_linked_folder_of_data_is_left_out_and_named(study_root, tmp_path_factory):
    kept = shutil.move(study_root / "data/reported", tmp_path_factory.mktemp("outside"))
    link(study_root, "data/reported", kept)
    assert "error: data/reported: leads out of the study" in listed()
    assert results.reported().empty


@pytest.mark.parametrize("name", ["study.yaml", "data/plan.yaml"])
def test_what_a_study_declares_is_not_read_through_a_link(study_root, secret, name):
    link(study_root, name, secret)
    with pytest.raises(ScalebookError, match=f"^{name}: leads out of the study") as caught:
        assert study.load(study_root).plan
    assert "secret" not in str(caught.value)


def test_images_on_another_disk_are_no_fault(study_root, secret):
    link(study_root, "data/cifar-10-batches-py", secret.parent)
    assert "leads out" not in listed()
