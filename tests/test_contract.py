"""Names, places and writing of a run's files."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minislurm import Settings
from scalebook import contract
from scalebook.contract import ScalebookError, Stem, UsageError
from scalebook.launch.job import JobState
from scalebook.train.settings import result_settings


@given(
    experiment=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    job=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True),
    world=st.integers(1, 4096),
    device=st.sampled_from(["gpu", "cpu"]),
)
def test_every_stem_is_read_back_as_it_was_written(experiment, job, world, device):
    stem = Stem(experiment, job, world, device)
    assert Stem.parse(str(stem)) == stem


def test_the_owners_stems_are_read():
    assert Stem.parse("baseline_2649_2gpu_2649") == Stem("baseline", "2649", 2, "gpu")
    assert Stem.parse("ddp_2gpu_7_2cpu_7") == Stem("ddp_2gpu", "7", 2, "cpu")


@pytest.mark.parametrize("text", ["baseline", "baseline_1_1gpu_2", "a_1_0gpu_1", "../x_1_1gpu_1"])
def test_other_names_are_no_stems(text):
    with pytest.raises(ScalebookError, match=r"stem of a run|experiment name"):
        Stem.parse(text)


@pytest.mark.parametrize("job", ["../../etc", "a_b", "", "a b", "$(id)", "x" * 80])
def test_a_job_id_cannot_leave_its_folder(job):
    with pytest.raises(UsageError):
        Stem("quick", job, 1, "cpu")


def test_new_job_ids_are_valid_and_differ_within_a_second():
    ids = {contract.new_job_id() for _ in range(50)}
    assert len(ids) > 45
    assert all(Stem("quick", job, 1, "cpu") for job in ids)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    contract.write_json(path, {"old": 1})

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        contract.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        contract.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_an_attempt_is_closed_once(tmp_path):
    path = tmp_path / "m.json"
    contract.write_json(path, {"attempts": [{"number": 1, "start": "x", "ended": None}]})
    assert contract.close_attempt(path, "killed", "killed by signal 9")
    assert not contract.close_attempt(path, "failed")
    attempt = contract.read_json(path)["attempts"][0]
    assert (attempt["ended"], attempt["reason"]) == ("killed", "killed by signal 9")
    # A run that was given up and went on out of sight knows better.
    assert contract.close_attempt(path, "completed")
    assert not contract.close_attempt(path, "killed")


def test_a_launcher_closes_a_manifest_with_the_end_it_can_tell():
    for state in JobState:
        if state.finished:
            assert state.end in contract.ENDED
    assert {state.upper() for state in contract.ENDED.values()} <= set(JobState.__members__)
    assert JobState.NODE_FAIL.end == "killed" and JobState.TIMEOUT.end == "timeout"


def test_settings_that_change_no_number_do_not_decide():
    resolved = {"seed": 1, "overrides": {"epochs": 3}, "training": {"lr": 0.1, "timeout_s": 9.0}}
    assert result_settings(resolved) == {"seed": 1, "training.lr": 0.1}


def test_a_cell_has_the_decimals_of_its_column():
    assert contract.Column("x", decimals=2).text(1 / 3) == "0.33"
    assert contract.Column("x", decimals=2).text(7) == "7"
    assert contract.Column("x").text(0.25) == "0.25"
    assert contract.Column("x").text(None) == contract.Column("x").text(float("nan")) == ""


def test_a_run_is_where_its_manifest_is(tmp_path):
    assert contract.locate(tmp_path, "a_1_1cpu_1") is None
    trial = contract.RunFiles(tmp_path / contract.TRIALS, "a_1_1cpu_1")
    contract.write_whole(trial.csv, "epoch\n")
    assert contract.locate(tmp_path, "a_1_1cpu_1") is None
    contract.write_json(trial.manifest, {})
    assert contract.locate(tmp_path, "a_1_1cpu_1") == trial


def test_runs_on_the_small_cluster_are_told_apart_by_its_birth():
    described = Settings(link="1gbit").born(subnet=3)
    assert contract.slurm_run_id(described.cluster_name, "17") == f"t{described.birth}-17"
    assert contract.slurm_run_id("lumi", "17", "3") == "17-3"


def test_the_root_is_the_nearest_study_above(tmp_path, monkeypatch):
    monkeypatch.delenv("SCALEBOOK_ROOT", raising=False)
    (tmp_path / "study.yaml").touch()
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert contract.find_root() == tmp_path.resolve()
    (deep / "study.yaml").touch()
    assert contract.find_root() == deep.resolve()
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path / "notebooks"))
    with pytest.raises(ScalebookError, match="holds no study.yaml"):
        contract.find_root()
