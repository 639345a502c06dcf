"""Statistics, comparability, scaling, and the ledger of quotable numbers."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from fabricate import add_run
from hypothesis import given
from hypothesis import strategies as st

from scalebook import contract, results
from scalebook.analysis import comparable, scaling, statistics, tables, text
from scalebook.contract import ScalebookError
from scalebook.publish.result_tables import result_table
from scalebook.publish.values import numbers
from scalebook.values import ledger, lookup

# --------------------------------------------------------------------------- statistics


def test_one_value_has_no_interval_and_says_so():
    summary = statistics.summarise([4.0])
    assert (summary.low, summary.median, summary.high, summary.coverage) == (4.0, 4.0, 4.0, 0.0)
    assert summary.interval == "one run, no interval"


@pytest.mark.parametrize(("values_", "coverage"), [([1, 3], 0.5), ([1, 2, 9], 0.75)])
def test_few_values_give_their_range_with_its_true_coverage(values_, coverage):
    summary = statistics.summarise(values_)
    assert (summary.low, summary.high) == (min(values_), max(values_))
    assert summary.coverage == coverage
    assert summary.interval == (
        f"range of {len(values_)} runs, a {100 * coverage:.0f} % interval of the median"
    )


def test_six_values_are_the_first_with_a_95_percent_interval():
    assert "range" in statistics.summarise(range(5)).interval
    assert statistics.summarise(range(6)).interval.startswith("96.9 % interval")


def test_ten_values_drop_the_extremes():
    # Order-statistic interval for n = 10: 2nd to 9th, coverage 0.9785 (standard tables).
    summary = statistics.summarise(range(1, 11))
    assert (summary.low, summary.high) == (2, 9)
    assert summary.coverage == pytest.approx(0.978516, abs=1e-6)


def test_nothing_and_missing_values():
    assert statistics.summarise([]).n == 0
    assert statistics.summarise([]).interval == "no value"
    assert statistics.summarise([None, math.nan, 2.0]).n == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_interval_holds_the_median(values_):
    summary = statistics.summarise(values_)
    assert summary.min <= summary.low <= summary.median <= summary.high <= summary.max
    assert summary.n < 6 or summary.coverage >= 0.95


def steps_frame(rows):
    names = ["attempt", "epoch", "step", "rank", "images", "step_time_s", "data_wait_s", "warmup"]
    return pd.DataFrame(rows, columns=names)


def test_a_step_lasts_as_long_as_its_slowest_rank():
    frame = steps_frame(
        [
            (1, 1, 1, 0, 64, 9.0, 0.0, 1),
            (1, 1, 1, 1, 64, 9.0, 0.0, 1),
            (1, 1, 2, 0, 64, 0.1, 0.0, 0),
            (1, 1, 2, 1, 64, 0.3, 0.1, 0),
        ]
    )
    summary = statistics.step_summary(frame)
    assert summary["steps"] == 1
    assert summary["step_time_p50_ms"] == pytest.approx(300)
    assert summary["data_wait_share"] == pytest.approx(0.1 / 0.4)
    assert summary["load_balance"] == pytest.approx(0.2 / 0.3)


def test_stalls_show_and_a_repeated_epoch_counts_once():
    quick = [(2, 1, step, 0, 64, 0.1, 0.0, 0) for step in range(1, 10)]
    frame = steps_frame([(1, 1, 1, 0, 64, 50.0, 0.0, 0), *quick, (2, 1, 10, 0, 64, 1.1, 0.0, 0)])
    summary = statistics.step_summary(frame)
    assert summary["steps"] == 10
    assert summary["stall_ratio"] == pytest.approx(2.0)


def test_only_warm_up_steps_is_no_number():
    summary = statistics.step_summary(steps_frame([(1, 1, 1, 0, 64, 0.1, 0.0, 1)]))
    assert summary["steps"] == 0
    assert math.isnan(summary["stall_ratio"])


# --------------------------------------------------------------------------- comparability


def test_every_condition_but_the_studied_ones_counts():
    base = {"system": "local", "torch": "2.13.0", "precision": "fp32", "world_size": 1}
    assert comparable.differences(base, {**base, "precision": "fp16", "world_size": 2}) == []
    for name in comparable.COMPARABLE:
        assert len(comparable.differences(base, {**base, name: "other"})) == 1


def test_what_only_one_side_tells_is_a_difference():
    said = comparable.differences({"torch": "2.13.0"}, {"torch": None})
    assert said == ["torch version (2.13.0 and unknown)"]


def test_a_ratio_between_unlike_runs_is_refused_and_says_why(study_root):
    add_run(study_root, "ddp_2gpu", world=2, versions={"torch": "2.0.1"})
    add_run(study_root)
    assert scaling.scaling_table().query("kind == 'measured'").empty
    reasons = scaling.refused()
    assert "torch version (2.0.1 and 2.13.0)" in reasons["reason"].iloc[0]


def test_a_missing_reference_is_named(study_root):
    add_run(study_root, "ddp_2gpu", world=2)
    assert scaling.refused()["reason"].tolist() == ["no measured run of baseline on local"]


def test_repetitions_are_those_that_differ_in_seed_only(study_root):
    for seed in (0, 1, 2):
        add_run(study_root, seed=seed, rate=400 + seed)
    add_run(study_root, seed=3, global_batch=256)
    measured = [c for c in comparable.configurations(results.runs()) if c.kind == "measured"]
    assert sorted(len(one.runs) for one in measured) == [1, 3]
    three = next(one for one in measured if len(one.runs) == 3)
    assert three.source == "3 runs of baseline on local (seeds 0–2), cifar10-jpeg, torch 2.13.0"


def test_trials_and_generated_images_stay_out_of_documents(study_root):
    add_run(study_root, seed=0)
    add_run(study_root, seed=1, local=True)
    runs = comparable.documented()
    assert (runs["kind"] != "reported").sum() == 1
    frame = results.runs(evidence=True)
    generated = frame.assign(dataset="synthetic", stem="other")
    both = comparable.documented(pd.concat([frame, generated]))
    assert both["dataset"].tolist() == ["cifar10-jpeg"]
    assert comparable.documented(generated)["dataset"].tolist() == ["synthetic"]


def test_a_profiled_run_is_no_measurement_of_speed(study_root):
    stem = add_run(study_root, resolved={"training": {"profile": True}})
    assert results.runs(stem=stem)["profiled"].tolist() == [True]
    assert "measured" not in comparable.documented()["kind"].tolist()


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [([], "seed unknown"), ([4, 4], "seed 4"), ([2, 0, 1], "seeds 0–2"), ([5, 0], "seeds 0, 5")],
)
def test_seeds_are_written_short(numbers, shown):
    assert text.seeds(numbers) == shown


# --------------------------------------------------------------------------- scaling


def test_formulas_by_hand():
    assert scaling.speedup(5000, 4460) == pytest.approx(1.1211, abs=1e-4)
    assert scaling.speedup(20, 11, more_is_better=False) == pytest.approx(0.55)
    assert scaling.efficiency(1.12, 2) == pytest.approx(56.0)
    assert scaling.efficiency(6.0, 16, 2) == pytest.approx(75.0)


def test_ratios_are_paired_by_block(study_root):
    # Unpaired, the ranges overlap; paired, each block gains exactly half.
    for seed, rate in enumerate((100.0, 200.0, 300.0)):
        add_run(study_root, seed=seed, rate=rate, epoch_time=1e4 / rate)
        add_run(study_root, "ddp_2gpu", seed, 1.5 * rate, world=2, epoch_time=1e4 / rate / 1.25)
    rows = scaling.scaling_table().query("kind == 'measured'").set_index("basis")
    rate, epoch = rows.loc["throughput"], rows.loc["time per epoch"]
    ends = (rate["speedup"], rate["speedup_low"], rate["speedup_high"])
    assert ends == pytest.approx((1.5, 1.5, 1.5))
    assert rate["pairing"] == "by block" and rate["n"] == 3
    assert rate["efficiency"] == pytest.approx(75.0)
    assert epoch["efficiency"] == pytest.approx(62.5)
    assert rate["reference_value"] == pytest.approx(200.0) and rate["scaling"] == "strong"


def test_other_blocks_give_the_widest_ratio_the_intervals_allow(study_root):
    for seed, rate in ((0, 100.0), (1, 110.0)):
        add_run(study_root, seed=seed, rate=rate)
        add_run(study_root, "ddp_2gpu", seed + 5, 2 * rate, world=2)
    rows = scaling.scaling_table().query("kind == 'measured' and basis == 'throughput'")
    row = rows.iloc[0]
    assert row["pairing"] == "of medians"
    assert row["speedup_low"] == pytest.approx(200 / 110)
    assert row["speedup_high"] == pytest.approx(220 / 100)


def test_more_ranks_on_the_same_processors_is_said(study_root):
    add_run(study_root, threads_per_rank=2)
    add_run(study_root, "ddp_2gpu", world=2, threads_per_rank=1)
    rows = scaling.scaling_table().query("kind == 'measured'")
    assert rows["note"].str.contains("same 2 processor threads").all()


def test_precision_has_a_speed_up_but_no_efficiency(study_root):
    rows = scaling.scaling_table().query("experiment == 'fp16' and basis == 'throughput'")
    assert rows["speedup"].iloc[0] == pytest.approx(7600 / 4460)
    assert math.isnan(rows["efficiency"].iloc[0])


def test_weak_scaling_is_the_ratio_of_throughput_per_rank():
    per_rank = (800 / 2) / (500 / 1)
    assert scaling.efficiency(scaling.speedup(800, 500), 2) == pytest.approx(100 * per_rank)


# --------------------------------------------------------------------------- tables


def test_tables_are_there_without_any_run(study_root):
    for file in (study_root / "data/reported").iterdir():
        file.unlink()
    assert tables.configuration_table().empty
    assert tables.step_table().empty
    assert scaling.scaling_table().empty and scaling.refused().empty
    assert {key.split(".")[0] for key in ledger()} <= {"cited", "study", "plan", "claims", "rules"}


def test_a_damaged_step_file_leaves_the_other_runs(study_root):
    good = add_run(study_root, seed=0)
    bad = add_run(study_root, seed=1)
    (study_root / f"results/steps/{bad}.csv.gz").write_bytes(b"no gzip")
    assert tables.step_table()["stem"].tolist() == [good]


# --------------------------------------------------------------------------- ledger


def test_a_measured_number_says_where_it_comes_from(study_root):
    stems = tuple(add_run(study_root, seed=seed, rate=480 + 10 * seed) for seed in range(3))
    value = lookup("baseline.local.throughput.median")
    assert (value.value, value.unit, value.kind, value.n) == (490.0, "images/s", "measured", 3)
    assert (value.low, value.high) == (480.0, 500.0)
    assert value.source == (
        "3 runs of baseline on local (seeds 0–2), cifar10-jpeg, torch 2.13.0; range of 3 runs, "
        "a 75 % interval of the median"
    )
    assert value.text == "490 images/s"
    assert set(value.runs) == set(stems)
    assert lookup("baseline.local.throughput.n").text == "3"


def test_scaling_is_in_the_ledger_by_both_bases(study_root):
    add_run(study_root, rate=400, epoch_time=100.0)
    add_run(study_root, "ddp_2gpu", rate=600, world=2, epoch_time=80.0)
    known = ledger()
    assert known["ddp_2gpu.local.speedup.median"].value == pytest.approx(1.5)
    assert known["ddp_2gpu.local.efficiency.median"].text == "75.0 %"
    assert known["ddp_2gpu.local.speedup_by_epoch_time.median"].value == 1.25


def test_rungs_of_a_ladder_are_told_apart_by_their_ranks(study_root):
    add_run(study_root, rate=400)
    add_run(study_root, "ddp_2gpu", rate=600, world=2)
    add_run(study_root, "ddp_2gpu", rate=800, world=4, job_id="t-four")
    known = ledger()
    assert known["ddp_2gpu.local.ranks_2.efficiency.median"].value == pytest.approx(75)
    assert known["ddp_2gpu.local.ranks_4.efficiency.median"].value == pytest.approx(50)
    assert "ddp_2gpu.local.efficiency.median" not in known
    numbers.cache_clear()  # kept for a build: of another test's study
    rows = result_table()
    assert rows.loc[rows["Ranks"] == "4", "Efficiency, %"].iloc[0].text == "50"


def test_reported_numbers_keep_their_digits(study_root):
    value = lookup("reported.2644.final_val_acc")
    assert (value.text, value.kind) == ("77.42 %", "reported")
    assert "2644" in value.source and "2025-11-21" in value.source
    assert lookup("modelled.2649.efficiency_by_epoch_time").text == "27.5 %"


def test_ambiguous_evidence_is_refused_and_says_what_differs(study_root):
    add_run(study_root, seed=0)
    add_run(study_root, seed=1, versions={"torch": "2.0.1"})
    with pytest.raises(ScalebookError, match="ambiguous.*torch version"):
        lookup("baseline.local.throughput.median")
    assert not any(key.startswith("baseline.local.") for key in ledger())


def test_evidence_of_two_batch_sizes_is_ambiguous_too(study_root):
    add_run(study_root, seed=0)
    add_run(study_root, seed=1, global_batch=256)
    with pytest.raises(ScalebookError, match=r"global_batch \(128 and 256\)"):
        lookup("baseline.local.throughput.median")


def test_a_missing_key_names_near_ones(study_root):
    with pytest.raises(ScalebookError, match=r"near matches: reported\.2644\.throughput"):
        lookup("reported.2644.troughput")
    with pytest.raises(ScalebookError, match="scalebook run baseline --system local"):
        lookup("baseline.local.throughput.median")
    for key in ("", "x", "reported", "a.b.c.d.e", "baseline.local"):
        with pytest.raises(ScalebookError, match="no number"):
            lookup(key)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (4460.0, "4,460"), (489.6, "489.6"), (77.416, "77.4"), (0.2221, "0.222"), (1.0, "1"),
        (0.0, "0"), (math.nan, "–"), (12345.6, "12,346"), (1.704, "1.70"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_for_reading(number, shown):
    assert text.number(number) == shown


def test_steps_must_add_up_to_their_epochs(study_root):
    header = "epoch,val_acc,epoch_time_s,images,train_time_s,warmup_time_s,warmup_images"
    rows = "1,40,9,8,5.0,1.0,4\n2,41,9,8,4.0,0.0,0"
    steps = "\n".join([
        ",".join(contract.STEP_COLUMNS),
        "1,1,1,0,2,1.0,0,1", "1,1,1,1,2,0.9,0,1",  # warm-up
        "1,1,2,0,2,3.5,0,0", "1,1,2,1,2,4.0,0,0",  # the second rank took longer
        "1,2,1,0,4,4.0,0,0", "1,2,1,1,4,3.0,0,0", "",
    ])  # fmt: skip
    stem = add_run(study_root, accuracy=(40.0, 41.0))
    files = contract.RunFiles(study_root / "results", stem)
    contract.write_whole(files.csv, f"{header}\n{rows}\n")
    contract.write_whole(files.steps, steps)
    assert tables.steps_that_disagree([stem]) == {}
    contract.write_whole(files.steps, steps.replace("1,2,1,0,4,4.0", "1,2,1,0,4,4.1"))
    assert tables.steps_that_disagree([stem]) == {
        stem: "epoch 2: its steps took 4.100 s for 8 images, the epoch 4.000 s for 8"
    }
    contract.write_whole(files.steps, steps.replace("1,1,2,1,2,4.0", "1,1,2,1,1,4.0"))
    assert "for 3 images" in tables.steps_that_disagree([stem])[stem]
    # Of an epoch that tells no images or seconds nothing can be said.
    contract.write_whole(files.csv, f"{header}\n{rows.replace('8,4.0', ',4.0')}\n")
    contract.write_whole(files.steps, steps.replace("1,2,1,0,4,4.0", "1,2,1,0,4,4.1"))
    assert tables.steps_that_disagree([stem]) == {}
    contract.write_whole(files.csv, "epoch,val_acc\n1,40\n2,41\n")
    assert tables.steps_that_disagree([stem]) == {}


def test_the_unit_of_one_thing_is_singular():
    shown = [text.with_unit(*pair) for pair in (("1", "nodes"), ("2", "nodes"), ("1", "images/s"))]
    assert shown == ["1 node", "2 nodes", "1 images/s"]
    assert text.with_unit("1", "ms") == "1 ms" and text.with_unit("1", "") == "1"
