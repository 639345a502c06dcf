"""Weak scaling with growing images, and a parallel step taken apart."""

from __future__ import annotations

import math

import pytest
from fabricate import STEP_MS, add_allreduce, add_campaign
from study_sentences import proposal

from scalebook import analysis, results
from scalebook.analysis import Evidence, comparable, link_model, scaling, step_parts
from scalebook.values import ledger, lookup


def rows_of(table, **equal):
    for name, value in equal.items():
        table = table[table[name] == value]
    return table.to_dict("records")


# --------------------------------------------------------------------------- weak scaling


def test_weak_efficiency_by_hand(study_root):
    add_campaign(study_root, "mini-1gbit")
    by_rate, by_time = rows_of(
        scaling.scaling_table(), experiment="ddp_weak", system="mini-1gbit", kind="measured"
    )
    # Throughput per rank: 2 × 128 images in 560 ms against 128 in 300 ms.
    assert by_rate["efficiency"] == pytest.approx(100 * 300 / 560, rel=0.01)
    times = results.runs(system="mini-1gbit").groupby("experiment")["epoch_time_s"].median()
    scaled = (times["baseline"] / 13824) / (times["ddp_weak"] / 27648)
    assert by_time["efficiency"] == pytest.approx(100 * scaled / 2, rel=0.01)
    assert by_time["scaling"] == "weak" and by_time["n"] == 3 and by_time["pairing"] == "by block"


def test_only_images_in_proportion_to_the_ranks_may_differ(study_root):
    stems = add_campaign(study_root, "mini-open")
    weak, base = stems[9], stems[0]
    runs = results.runs()
    assert rows_of(scaling.scaling_table(runs), experiment="ddp_weak")
    for column, value in (("train_images", 20000), ("dataset", "cifar10"), ("torch", "2.0")):
        frame = runs.copy()
        frame.loc[frame["experiment"] == "ddp_weak", column] = value
        assert not rows_of(scaling.scaling_table(frame), experiment="ddp_weak")
        assert "ddp_weak" in scaling.refused(frame)["experiment"].tolist()
    # Strong scaling keeps its images.
    sides = (comparable.configurations(runs[runs["stem"] == stem])[0] for stem in (weak, base))
    found = comparable.differences(*(side.settings for side in sides))
    assert "training images (27648 and 13824)" in found


def test_weak_scaling_on_the_same_images_is_as_before():
    # T_1 p_1 / (T_p p) with equal images.
    assert scaling.efficiency(scaling.speedup(60, 100, False), 2) == pytest.approx(100 * 100 / 120)


def test_partial_epochs_leave_comparisons_of_whole_trainings(study_root):
    add_campaign(study_root, "mini-open", seeds=(0,))
    runs = comparable.documented()
    assert len(comparable.whole(runs)) == (runs["kind"] == "reported").sum()
    only = runs[runs["kind"] != "reported"]
    assert len(comparable.whole(only)) == len(only)


# --------------------------------------------------------------------------- overheads


def test_a_step_is_taken_apart_seed_by_seed(study_root):
    add_campaign(study_root, "mini-1gbit")
    (row,) = rows_of(step_parts.overheads(), scaling="strong")
    # Seeds are 0, 2 and 4 ms slower on every side.
    assert row["n"] == 3 and row["control"] == "ddp_1node" and row["reason"] == ""
    assert row["step_ms"] == pytest.approx(402, abs=0.1)
    assert row["compute_ms"] == pytest.approx(302 / 2, abs=0.1)
    assert row["parallel_ms"] == pytest.approx(192 - 151, abs=0.1)
    assert (row["parallel_ms_low"], row["parallel_ms_high"]) == pytest.approx((40, 42), abs=0.1)
    assert row["network_ms"] == pytest.approx(210, abs=0.1)
    assert row["overhead_ms"] == pytest.approx(251, abs=0.1)


def test_the_physical_limit_is_named(study_root):
    # 11,181,642 FP32 gradients, two ranks: each sends them once over the link.
    assert step_parts.transfer_ms(11_181_642, 2, 1.0) == pytest.approx(357.8, abs=0.1)
    assert step_parts.transfer_ms(11_181_642, 4, 1.0) == pytest.approx(1.5 * 357.8, abs=0.2)
    for system in ("mini-open", "mini-200mbit"):
        add_campaign(study_root, system)
    table = step_parts.overheads()
    (slow,) = rows_of(table, scaling="strong", system="mini-200mbit")
    assert slow["transfer_ms"] == pytest.approx(1789, abs=1)
    (open_link,) = rows_of(table, scaling="strong", system="mini-open")
    assert math.isnan(open_link["transfer_ms"])


def test_a_control_on_another_system_is_none(study_root):
    add_campaign(study_root, "mini-open")
    without = {name: ms for name, ms in STEP_MS.items() if name != "ddp_1node"}
    add_campaign(study_root, "mini-1gbit", without)
    (row,) = rows_of(step_parts.overheads(), scaling="strong", system="mini-1gbit")
    assert row["control"] == "" and math.isnan(row["network_ms"])
    assert row["overhead_ms"] == pytest.approx(251, abs=0.1)
    assert row["reason"] == (
        "no control on mini-1gbit: 2 ranks on 1 node with the same global batch of 128; "
        "one on another system is not comparable"
    )


def test_weak_scaling_has_its_whole_overhead(study_root):
    add_campaign(study_root, "mini-1gbit")
    (row,) = rows_of(step_parts.overheads(), scaling="weak")
    assert row["compute_ms"] == pytest.approx(302, abs=0.1)
    assert row["overhead_ms"] == pytest.approx(260, abs=0.1)
    assert "no control on mini-1gbit" in row["reason"]


def test_other_threads_share_no_computation(study_root):
    add_campaign(study_root, "mini-1gbit")
    runs = results.runs(evidence=True)
    runs.loc[runs["experiment"] == "baseline", "threads_per_rank"] = 2
    (row,) = rows_of(step_parts.overheads(runs), scaling="strong")
    assert row["reason"] == "differs from baseline in threads per rank (1 and 2)"
    assert math.isnan(row["compute_ms"]) and row["step_ms"] == pytest.approx(402, abs=0.1)


def test_runs_without_steps_have_no_parts(study_root):
    add_campaign(study_root, "mini-1gbit")
    for path in (study_root / "results/steps").iterdir():
        path.unlink()
    (row,) = rows_of(step_parts.overheads(), scaling="strong")
    assert row["reason"].startswith("no block has recorded steps of ddp_2gpu and baseline")
    assert math.isnan(row["step_ms"])


def test_one_node_is_no_network(study_root):
    add_campaign(study_root, "mini-1gbit", {"baseline": 300.0, "ddp_1node": 190.0})
    assert analysis.overheads().empty


# --------------------------------------------------------------------------- link model


def checks():
    evidence = Evidence()
    return link_model.link_checks(evidence.step_parts, evidence.links)


def test_a_fitted_link_is_held_against_steps_it_has_not_seen(study_root):
    add_campaign(study_root, "mini-1gbit")
    add_campaign(study_root, "mini-open")  # no curve, so nothing to hold against
    add_allreduce(study_root, "mini-1gbit", 0.12)
    (row,) = checks()
    step = row.parts
    assert (step.one["experiment"], step.one["system"]) == ("ddp_2gpu", "mini-1gbit")
    assert step.parts["step"].n == 3
    # The control's 192 ms, then 4 × 11,181,642 bytes at 0.12 GB/s and two hops.
    assert row.step_ms == pytest.approx(192 + 372.7, abs=1.5)
    assert row.step_ms_low == pytest.approx(372.7, abs=1.5)
    assert row.error == pytest.approx(100 * (row.step_ms / 402 - 1), abs=0.2)
    assert proposal.link_check(ledger()).case == "inside"


@pytest.mark.parametrize("lasts", [300, 700])
def test_a_step_outside_both_cases_fails_the_link_model(study_root, lasts):
    add_campaign(study_root, "mini-1gbit", STEP_MS | {"ddp_2gpu": lasts})
    add_allreduce(study_root, "mini-1gbit", 0.12)
    assert proposal.link_check(ledger()).case == "outside"


def test_without_a_control_or_a_curve_nothing_is_checked(study_root):
    add_allreduce(study_root, "mini-1gbit", 0.12)
    assert not checks() and not any(key.endswith(".step_error") for key in ledger())
    assert proposal.link_check(ledger()).case == "not run"


# --------------------------------------------------------------------------- ledger


def test_overheads_and_curves_are_quotable(study_root):
    add_campaign(study_root, "mini-1gbit")
    add_allreduce(study_root, "mini-1gbit", 0.12)
    add_allreduce(study_root, "mini-open", 3.0, local=True)
    value = lookup("ddp_2gpu.mini-1gbit.network_ms.median")
    assert (value.kind, value.unit, value.n) == ("measured", "ms", 3)
    assert value.value == pytest.approx(210, abs=0.1) and len(value.runs) == 9
    assert "against baseline and ddp_1node on mini-1gbit, n = 3" in value.source
    limit = lookup("modelled.ddp_2gpu.mini-1gbit.transfer_ms")
    assert (limit.kind, limit.text) == ("modelled", "357.8 ms") and "1 Gbit/s" in limit.source
    known = ledger()
    assert known["ddp_weak.mini-1gbit.efficiency.median"].value == pytest.approx(53.6, abs=0.2)
    assert known["ddp_2gpu.mini-1gbit.step_time_p50_ms.median"].value == pytest.approx(402, abs=0.1)
    assert known["allreduce.mini-1gbit.busbw_gb_s.max"].text == "0.120 GB/s"
    assert known["allreduce.mini-1gbit.latency_us.min"].value == pytest.approx(209, abs=1)
    assert not any(key.startswith("allreduce.mini-open") for key in known)
