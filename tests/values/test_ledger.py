"""Where the ledger's numbers come from: files and places, quoted numbers, traces, one key each."""

from __future__ import annotations

import pkgutil
import shutil
from pathlib import Path

import pytest
from fabricate import add_allreduce, add_campaign, add_run, add_trace
from paths import REPOSITORY

from scalebook.contract import ScalebookError
from scalebook.values import Value, keys, ledger, ledger_digest, lookup

LITERATURE = """\
numbers:
  - id: airbench.seconds
    value: 2.59
    unit: s
    bib: somebody2024
    date: 2026-01-31
    note: "time to 94 %, table 1"
"""


def cite(root: Path, text: str = LITERATURE) -> None:
    (root / "data/cited").mkdir(exist_ok=True)
    (root / "data/cited/literature.yaml").write_text(text)
    (root / "book").mkdir(exist_ok=True)
    (root / "book/references.bib").write_text("@misc{somebody2024,\n  title = {T}\n}\n")


# --------------------------------------------------------------------------- files and lines


def test_every_number_names_files_that_are_there_a_place_and_code(study_root):
    add_campaign(study_root, "mini-1gbit")
    add_allreduce(study_root)
    stem = add_run(study_root, "profile", resolved={"training": {"profile": True}})
    add_trace(study_root, f"{stem}_rank0", {"volta_sgemm": 30.0, "bn_fw": 10.0})
    own = study_root / "results/csv/baseline_2649_2gpu_2649.csv"
    own.write_text("epoch,val_acc,images,train_time_s\n1,74.08,50000,20\n")
    cite(study_root)
    shutil.copytree(REPOSITORY / "data/examples", study_root / "data/examples")
    known = ledger()
    assert {"measured", "reported", "modelled", "cited"} == {v.kind for v in known.values()}
    assert known["recorded.2649.rate"].value == 2500
    for key, value in known.items():
        assert value.source and value.code, key
        assert value.where or value.kind == "modelled", key
        assert value.files or key.startswith(("claims.", "rules.")), key
        for file in value.files:
            assert (study_root / file).is_file(), f"{key}: {file}"


def test_the_code_of_every_number_is_there(study_root):
    add_campaign(study_root, "mini-1gbit")
    add_allreduce(study_root)
    shutil.copytree(REPOSITORY / "data/examples", study_root / "data/examples")
    for name in {value.code for value in ledger().values() if value.kind != "cited"}:
        assert callable(pkgutil.resolve_name(name)), name


def test_a_measured_number_names_its_column_and_a_reported_one_its_line(study_root):
    stem = add_run(study_root)
    known = ledger()
    rate = known["baseline.local.throughput.median"]
    assert rate.files == (f"results/csv/{stem}.csv",) and "column throughput" in rate.where
    step = known["baseline.local.step_time_p50_ms.median"]
    assert step.files == (f"results/steps/{stem}.csv.gz",) and "step_time_s" in step.where
    assert known["baseline.local.global_batch"].value == 128
    assert known[f"run.{stem}.throughput"].value == rate.value
    reported = known["reported.2649.throughput"]
    number, _, key = reported.where.partition(": ")
    line = (study_root / reported.files[0]).read_text().splitlines()[int(number[5:]) - 1]
    assert "5000" in line and key == "jobs.2649.values.throughput"
    formula = known["modelled.2649.speedup_by_epoch_time"]
    assert "11 s / 20 s" in formula.where and formula.files == reported.files


# --------------------------------------------------------------------------- quoted numbers


def test_a_number_of_a_publication_says_where_it_was_read(study_root):
    cite(study_root)
    value = lookup("cited.airbench.seconds")
    assert (value.value, value.unit, value.kind) == (2.59, "s", "cited")
    assert "somebody2024" in value.source and "2026-01-31" in value.source
    assert value.where == "line 2: numbers.airbench.seconds"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("somebody2024", "nobody2024", "'nobody2024' is not in book/references.bib"),
        ("    bib: somebody2024\n", "", "give bib"),
        ("2026-01-31", "lately", "'lately' is no day"),
        ("2.59", "fast", "'fast' is not allowed"),
        ("    note:", "    nota:", "unknown key"),
        ("id: airbench.seconds", "id: Air Bench", "'Air Bench' is not allowed"),
    ],
)
def test_a_wrong_entry_is_one_line(study_root, old, new, said):
    cite(study_root, LITERATURE.replace(old, new))
    with pytest.raises(ScalebookError, match=said) as caught:
        ledger()
    assert "data/cited/literature.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_id_twice_is_refused(study_root):
    cite(study_root, LITERATURE + LITERATURE.partition("\n")[2])
    with pytest.raises(ScalebookError, match="'airbench.seconds' is there twice"):
        ledger()


def test_facts_of_machines_carry_source_and_unit(study_root):
    value = lookup("cited.magic-castle.gpu.memory_gb")
    assert (value.text, value.kind) == ("16 GB", "cited")
    assert "read on 2025-11-21" in value.source
    assert value.where == "line 7: gpu.memory_gb"
    assert lookup("cited.magic-castle.gpu.peak_tflops.fp16").text == "65 TFLOP/s"


def test_settings_of_the_study_are_resolved(study_root):
    known = ledger()
    assert known["study.baseline.global_batch"].value == 128
    assert known["study.ddp_2gpu.batch_per_rank"].value == 64
    assert known["study.ddp_weak.global_batch"].value == 256
    assert known["study.seeds"].value == 3
    campaign = "study.campaign.small-cluster"
    assert known[f"{campaign}.train_images"].value == 6144
    assert known[f"{campaign}.ddp_weak.train_images"].value == 12288
    assert known[f"{campaign}.baseline.steps"].value == 48
    assert known[f"{campaign}.baseline.timed_steps"].value == 40


# --------------------------------------------------------------------------- traces


def test_shares_of_our_traces_and_of_published_ones(study_root):
    stem = add_run(study_root, "profile", resolved={"training": {"profile": True}})
    add_trace(study_root, f"{stem}_rank0", {"volta_sgemm_128": 30.0, "bn_fw_tr": 10.0})
    add_trace(study_root, "trial_rank0", {"volta_sgemm_128": 30.0}, local=True)
    shutil.copytree(REPOSITORY / "data/examples", study_root / "data/examples")
    known = ledger()
    assert known[f"trace.{stem}.by_kernel.gemm_share"].value == pytest.approx(75.0)
    assert known[f"trace.{stem}.by_operator.convolution_share"].value == pytest.approx(100.0)
    assert known["trace.profile.local.by_kernel.gemm_share"].value == pytest.approx(75.0)
    assert known[f"trace.{stem}.by_kernel.gemm_share"].kind == "measured"
    example = known["trace.resnet_v100_ddp_rank0.by_operator.convolution_share"]
    assert example.kind == "cited" and "HolisticTraceAnalysis" in example.source
    assert 60 < example.value < 70
    assert not any("trial" in key for key in known)


# --------------------------------------------------------------------------- one key, one number


def test_two_numbers_of_one_key_are_refused(study_root, monkeypatch):
    twin = Value("reported.2644.throughput", 1.0, "", "cited", "nowhere")
    monkeypatch.setattr(keys, "PROVIDERS", (*keys.PROVIDERS, lambda inputs: [twin]))
    with pytest.raises(ScalebookError, match=r"two numbers have the key reported\.2644\.through"):
        ledger()


def test_the_ledger_follows_the_files(study_root):
    stem = add_run(study_root, rate=400.0)
    assert ledger()["baseline.local.throughput.median"].value == pytest.approx(400.0)
    first = ledger_digest()
    add_run(study_root, rate=410.0)
    assert (study_root / f"results/csv/{stem}.csv").is_file()
    assert ledger()["baseline.local.throughput.median"].value == 410.0
    assert ledger_digest() != first and len(ledger_digest(short=True)) == 12


def test_the_digest_ignores_how_an_origin_is_worded(study_root):
    first = ledger_digest()
    report = study_root / "data/reported/magic-castle-2025.yaml"
    report.write_text("# one more line\n" + report.read_text().replace("guide dated", "a guide of"))
    assert ledger_digest() == first
    report.write_text(report.read_text().replace("value: 77.42", "value: 77.420001"))
    assert ledger_digest() == first  # 6 significant digits
    report.write_text(report.read_text().replace("value: 77.420001", "value: 77.43"))
    assert ledger_digest() != first
