"""Reported numbers that cannot all be true are found, and nothing is decided without a file."""

from __future__ import annotations

import pytest
from fabricate import add_run

from scalebook.analysis import models
from scalebook.analysis.claims import evaluate
from scalebook.values import check


def verdicts(job: str, part: str) -> list[str]:
    table = check()
    found = table[(table["job_id"] == job) & table["statement"].str.contains(part, regex=False)]
    return found["verdict"].tolist()


def test_throughput_and_epoch_time_of_two_gpus_contradict(study_root):
    assert verdicts("2644", "an epoch") == ["holds"]
    assert verdicts("2650", "an epoch") == ["holds"]
    assert verdicts("2649", "20 s an epoch") == ["contradicted"]
    row = check().query("job_id == '2649' and verdict == 'contradicted'").iloc[0]
    assert "100,000 images" in row["computation"] and "2,500 images/s" in row["computation"]
    assert row["decided_by"].startswith("results/csv/baseline_2649_2gpu_2649.csv")


def test_both_readings_of_two_gpus_stand_side_by_side(study_root):
    add_run(study_root, model={"name": "resnet18", "stem": "imagenet", "parameters": 11_181_642})
    table = check().query("job_id == '2649'").set_index("statement")
    sharded = table.loc["read as sharded: 2 ranks share the 50,000 images"]
    unsharded = table.loc["read as unsharded: each of 2 ranks trains on all 50,000 images"]
    assert {sharded["verdict"], unsharded["verdict"]} == {"undetermined"}
    assert "fits 20 s an epoch, fails 5,000 images/s" in sharded["computation"]
    assert "= 5,000 images/s: fits both" in unsharded["computation"]
    assert "fails speed-up 1.12 ×" in unsharded["computation"]
    assert sharded["decided_by"] == unsharded["decided_by"]
    assert "columns images, train_time_s" in sharded["decided_by"]
    network = table[table["claim"] == "ddp-network-limited"].iloc[0]["computation"]
    assert "read as unsharded, 87.9 µs an image are lost" in network
    # 44.7 MB at 10 Gbit/s are 35.8 ms, and that is 124 times 288 µs.
    assert "read as sharded, 288 µs" in network and "124 images at 10 Gbit/s" in network
    assert verdicts("2650", "read as") == []


def test_speed_up_and_efficiency_hold_by_throughput_only(study_root):
    for part in ("speed-up 1.12", "efficiency 56"):
        assert verdicts("2649", part) == ["holds", "contradicted"]
    assert verdicts("2650", "speed-up") == ["holds", "holds"]
    table = check()
    said = table[table["statement"].str.contains("efficiency 56")]["computation"].tolist()
    assert said[1].endswith("27.5 %")


def test_the_cifar_stem_is_beyond_the_device(study_root):
    assert verdicts("2644", "imagenet stem") == ["holds"]
    assert verdicts("2644", "cifar stem") == ["contradicted"]
    assert verdicts("2650", "imagenet stem") == ["holds"]


def test_a_bottleneck_is_not_decided_without_a_trace(study_root):
    table = check()
    row = table[table["statement"].str.contains("batch normalisation")].iloc[0]
    assert row["verdict"] == "undetermined"
    assert "53.2 % is in no named group" in row["computation"]
    assert "trace of job 2915" in row["decided_by"]


def test_the_hours_add_up_and_their_formula_cannot_be_computed(study_root):
    assert verdicts("proposal", "GPU-node-hours") == ["holds"]
    assert verdicts("proposal", "nodes ×") == ["undetermined"]


def test_the_owners_file_is_held_against_the_report(study_root):
    rows = "epoch,val_acc,throughput,epoch_time_s\n1,60,2500,20\n2,74.08,2500,20\n"
    path = study_root / "results/csv/baseline_2649_2gpu_2649.csv"
    path.parent.mkdir(parents=True)
    path.write_text(rows)
    assert verdicts("2649", "throughput 5,000") == ["contradicted"]
    assert verdicts("2649", "epoch_time_s 20") == ["holds"]
    assert verdicts("2649", "final_val_acc 74.08") == ["holds"]


@pytest.mark.parametrize(
    ("columns", "cells", "sentence", "both", "said"),
    [
        ("images,train_time_s", "50000,20", "contradicted", "contradicted", "is 2 times that"),
        ("images,train_time_s", "100000,20", "holds", "holds", "each of 2 ranks trained on all"),
        ("images,train_time_s", "50000,10", "holds", "holds", "a part of each epoch"),
        ("images,train_time_s", "50000,14", "contradicted", "contradicted", "3,571 images/s"),
        ("images,train_time_s", "7,20", "undetermined", "contradicted", "2,500 images/s"),
        ("throughput,epoch_time_s", "2490,20.1", "contradicted", "contradicted", "2,490 images/s"),
        # The file repeats the report: nothing is decided.
        ("throughput,epoch_time_s", "5000,20", "undetermined", "contradicted", "2,500 images/s"),
        ("lr", "0.1", "undetermined", "contradicted", "2,500 images/s"),
    ],
)
def test_the_owners_file_decides_which_reading_holds(
    study_root, columns, cells, sentence, both, said
):
    path = study_root / "results/csv/baseline_2649_2gpu_2649.csv"
    path.parent.mkdir(parents=True)
    path.write_text(f"epoch,val_acc,{columns}\n1,60,{cells}\n2,74.08,{cells}\n")
    assert verdicts("2649", "20 s an epoch") == [both]
    assert verdicts("2649", "train 1.12 times") == [sentence]
    assert verdicts("2649", "56 % efficiency")[0] == sentence
    table = check()
    row = table[table["statement"].str.contains("20 s an epoch")].iloc[0]
    assert said in row["computation"]
    claim = table[table["statement"].str.contains("train 1.12 times")].iloc[0]
    assert ("by the file" in claim["computation"]) == (sentence != "undetermined")


def test_a_rate_counted_in_both_files_is_taken_from_both(study_root):
    folder = study_root / "results/csv"
    folder.mkdir(parents=True)
    head = "epoch,val_acc,images,train_time_s,warmup_images,warmup_time_s\n"
    # Without the warm-up 25 images/s and 100; with it the ratio would be another.
    (folder / "baseline_2649_2gpu_2649.csv").write_text(head + "1,60,50000,25,10000,5\n")
    (folder / "baseline_2644_1gpu_2644.csv").write_text(head + "1,60,50000,20,10000,10\n")
    table = check()
    claim = table[table["statement"].str.contains("train 1.12 times")].iloc[0]
    assert "2,000 images/s / 4,000 images/s = 0.5 ×" in claim["computation"]


def test_another_study_needs_no_code(study_root):
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    (study_root / "data/reported/other.yaml").write_text(
        """
source: a talk
date: "2026-01-01"
system: their-cluster
jobs:
  - job_id: a1
    experiment: one
    configuration: {world_size: 1, dataset: flowers, train_images: 1000, model: vgg11}
    values:
      throughput: {value: 100, unit: images/s}
      epoch_time_s: {value: 10, unit: s}
  - job_id: a4
    experiment: four
    configuration: {world_size: 4, dataset: flowers, train_images: 1000, reference: one}
    values:
      throughput: {value: 300, unit: images/s}
      epoch_time_s: {value: 3.3, unit: s}
      efficiency: {value: 75, unit: "%"}
"""
    )
    assert verdicts("a1", "an epoch") == ["holds"]
    assert verdicts("a4", "efficiency 75 %") == ["holds", "holds"]
    assert verdicts("a1", "vgg11") == ["undetermined", "undetermined"]


def test_nothing_reported_is_an_empty_table(study_root):
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    assert check().empty


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "a.b", "a[0]", "a ** 9 ** 9", "(", "lambda: 1", "1 if a else 2", "'x'",
     "a" + "+a" * 50_000],
)  # fmt: skip
def test_only_arithmetic_is_computed(expression):
    with pytest.raises((ValueError, KeyError)):
        evaluate(expression, {"a": "x"} if expression == "'x'" else {})


def test_arithmetic_is_computed():
    assert evaluate("(a + 2) * b / 4 - 1", {"a": 4.0, "b": 2.0}) == 2.0
    with pytest.raises(KeyError, match="c"):
        evaluate("c * 2", {"a": 1.0})


# --------------------------------------------------------------------------- operations


def test_operations_of_resnet18_on_cifar():
    assert models.training_gflop("resnet18", "imagenet", 32, 10) == pytest.approx(0.222, abs=5e-4)
    assert models.training_gflop("resnet18", "cifar", 32, 10) == pytest.approx(3.33, abs=5e-3)
    assert models.training_gflop("alexnet", "imagenet", 32, 10) is None


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
@pytest.mark.parametrize("size", [32, 65, 224])
def test_operations_agree_with_those_of_the_model_itself(name, size):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from scalebook.train.torchvision_fix import import_torchvision

    torchvision = import_torchvision()
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(num_classes=10)
        images = torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images)
    counted = 3e-9 * counter.get_total_flops()
    assert models.training_gflop(name, "imagenet", size, 10) == pytest.approx(counted, rel=1e-6)
