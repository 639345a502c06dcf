"""The computed request against arithmetic done by hand, in a study that is not this one."""

from __future__ import annotations

import shutil

import pytest
from fabricate import add_allreduce
from paths import REPOSITORY

from scalebook.contract import ScalebookError
from scalebook.proposal import steptime
from scalebook.proposal.request import request_of
from scalebook.publish import plan_tables
from scalebook.values import ledger

PLAN = """
name: small
months: 3
machines: [theirs]
ladder: [1, 2, 8]
workload: {training_images: 1000, parameters: 1000000, strong_global_batch: 800,
           weak_batch_per_gpu: 100, bucket_mib: 1, first_bucket_mib: 1}
step_time:
  rate: {job: a1, metric: throughput}
  fixed: {job: a2, metric: throughput}
  batch: 100
  reference_system: old
  hop_latency: {low_us: 0, mid_us: 100, high_us: 200, source: a paper, date: "2026-01-01"}
  link_systems: [mini-1gbit]
  pessimistic_efficiency: 0.5
phases:
  - name: first
    title: First
    measurements:
      - {what: timing, scaling: weak, gpus: [8], repetitions: 6, steps: 3000, job_minutes: 10}
      - {what: training, scaling: weak, gpus: [1], variants: 2, repetitions: 3, epochs: 7,
         job_minutes: 1}
contingency: 0.5
"""
REPORT = """
source: a talk
date: "2026-01-01"
system: old
jobs:
  - {job_id: a1, experiment: one, values: {throughput: {value: 1000, unit: images/s}}}
  - {job_id: a2, experiment: half, values: {throughput: {value: 2000, unit: images/s}}}
"""
OLD = "name: old\ngpu: {name: g, bandwidth_gb_s: 100.0, peak_tflops: {fp32: 10.0}}\n"
THEIRS = """
name: theirs
gpus_per_node: 4
gpu: {name: h, bandwidth_gb_s: 400.0, peak_tflops: {fp32: 20.0}}
link_gbit_s: 80.0
accounting: {unit: points, units_per_node_hour: 12.0}
"""


@pytest.fixture
def small(study_root):
    (study_root / "data/plan.yaml").write_text(PLAN)
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    (study_root / "data/reported/talk.yaml").write_text(REPORT)
    (study_root / "data/systems/old.yaml").write_text(OLD)
    (study_root / "data/systems/theirs.yaml").write_text(THEIRS)
    # Two ranks at 200 µs and 0.12 GB/s: a hop of 100 µs, 96 % of the link.
    add_allreduce(study_root, "mini-1gbit", 0.12)
    return study_root


def test_seconds_of_a_step_by_hand(small):
    model = steptime.model_of("theirs")
    # t = 100 ms, f = 50 ms; twice the arithmetic, four times the bandwidth.
    assert list(model.compute(100)) == pytest.approx([0.025, 0.025 + 0.0375, 0.1])
    # A smaller batch: F = 50 ms is the worse end; a larger one: F = 0.
    assert model.compute(10).high == pytest.approx(0.05 + 0.005)
    assert model.compute(1000).high == pytest.approx(1.0)
    assert model.compute(1000).low == pytest.approx(0.05 + 0.5 / 4)
    assert model.exchange(1) == steptime.Range(0, 0, 0)
    # 4 MB over 8 ranks: 7 MB a link; 20 Gbit/s a GPU is 2.5 GB/s.
    exchange = model.exchange(8)
    efficiency = 0.96
    assert exchange.low == pytest.approx(7e6 / (10e9 * efficiency), rel=0.01)
    assert exchange.mid == pytest.approx(14 * 1e-4 + 7e6 / (2.5e9 * efficiency), rel=0.01)
    # Four buckets of 1 MiB, half of the link.
    assert exchange.high == pytest.approx(14 * 4 * model.alpha.high + 7e6 / 1.25e9, rel=0.01)
    step = model.seconds(8, 100)
    assert step.low == pytest.approx(0.025)
    assert step.high == pytest.approx(0.1 + exchange.high)


def test_hours_by_hand(small):
    request = request_of("theirs")
    step = steptime.model_of("theirs").seconds(8, 100)
    timing = 6 * (3000 * step.high + 600) / 3600
    # 10 steps an epoch; 70 steps of 100 ms and a minute.
    training = 6 * (70 * 0.1 + 60) / 3600
    first, total = request.costs["first"], request.costs["total"]
    assert first.runs == 12
    assert first.gpu_hours.high == pytest.approx(8 * timing + training)
    assert first.node_hours.high == pytest.approx(2 * timing + training)
    assert first.billed.high == pytest.approx(12 * first.node_hours.high)
    assert first.overhead_node_hours == pytest.approx(2 * 6 * 600 / 3600 + 6 * 60 / 3600)
    contingency = request.costs["contingency"]
    assert contingency.node_hours.mid == pytest.approx(first.node_hours.mid / 2)
    assert total.node_hours.low == pytest.approx(1.5 * first.node_hours.low)
    asked = request.asked()
    assert asked.node_hours % 10 == 0 and 0 <= asked.node_hours - total.node_hours.high < 10
    assert asked.billed == 12 * asked.node_hours


def test_jobs_of_several_runs_pay_their_start_once(small):
    path = small / "data/plan.yaml"
    plan = path.read_text().replace(
        "steps: 3000, job_minutes: 10",
        "steps: 3000, job_minutes: 10, runs_per_job: 4, run_minutes: 2",
    )
    path.write_text(plan)
    request = request_of("theirs")
    step = steptime.model_of("theirs").seconds(8, 100)
    first = request.costs["first"]
    # Six runs in two jobs of at most four, on two nodes; and six runs of a job each on one.
    assert (first.runs, first.jobs) == (12, 8)
    outside = 2 * (2 * 10 + 6 * 2) / 60 + 6 * 1 / 60
    assert first.overhead_node_hours == pytest.approx(outside)
    timing = 6 * 3000 * step.high / 3600 * 2
    assert first.node_hours.high == pytest.approx(timing + 6 * 70 * 0.1 / 3600 + outside)
    assert request.longest()[0] == pytest.approx(10 + 4 * (2 + 3000 * step.high / 60))
    assert ledger()["modelled.request.theirs.total.jobs"].value == 8


def test_another_network_and_the_core_apart_from_the_rest(small):
    path = small / "data/plan.yaml"
    network = (
        "networks:\n  - {name: large, parameters: 2000000, "
        "compute: {low: 1, mid: 2, high: 3}, reason: counted}\n"
    )
    rest = (
        "  - name: second\n    part: rest\n    title: Second\n    measurements:\n"
        "      - {what: more, network: large, scaling: weak, gpus: [8], repetitions: 1,"
        " steps: 100, job_minutes: 0}\n"
    )
    plan = path.read_text().replace("contingency: 0.5", f"{rest}contingency: 0.5")
    path.write_text(plan.replace("step_time:", f"{network}step_time:"))
    request, model = request_of("theirs"), steptime.model_of("theirs")
    compute, exchange = model.compute(100), model.exchange(8, 2_000_000)
    second = request.costs["second"].node_hours
    assert second.mid == pytest.approx(2 * 100 * (2 * compute.mid + exchange.mid) / 3600)
    assert second.high == pytest.approx(2 * 100 * (3 * compute.high + exchange.high) / 3600)
    core, total = request.costs["core"].node_hours, request.costs["total"].node_hours
    assert core.mid == pytest.approx(1.5 * request.costs["first"].node_hours.mid)
    assert total.mid - core.mid == pytest.approx(1.5 * second.mid)


def test_a_ladder_is_relative_to_its_first_rung(small):
    request = request_of("theirs")
    strong = request.ladder("strong")
    assert strong["global_batch"].tolist() == [800, 800, 800]
    assert strong["nodes"].tolist() == [1, 1, 2]
    assert strong.loc[0, ["speedup", "efficiency"]].tolist() == [1, 100]
    last = strong.iloc[-1]
    assert last["speedup"] == pytest.approx(strong["step_ms"][0] / last["step_ms"])
    assert last["step_ms"] == pytest.approx(last["compute_ms"] + last["exchange_ms"])
    assert last["step_ms_low"] <= last["step_ms"] <= last["step_ms_high"]
    assert last["speedup_low"] <= last["speedup"] <= last["speedup_high"]
    weak = request.ladder("weak")
    assert weak["global_batch"].tolist() == [100, 200, 800]
    assert weak["efficiency"].iloc[-1] == pytest.approx(
        100 * weak["step_ms"][0] / weak["step_ms"].iloc[-1]
    )
    assert weak["efficiency_high"].max() <= 100 + 1e-9
    with pytest.raises(ScalebookError, match="strong or weak"):
        request.ladder("other")


def test_each_measurement_shows_the_steps_and_seconds_behind_its_hours(small):
    request = request_of("theirs")
    table = request.measurements()
    for phase, rows in table.groupby("phase"):
        for case in ("", "_low", "_high"):
            hours = getattr(request.costs[phase].node_hours, case.removeprefix("_") or "mid")
            assert rows[f"node_hours{case}"].sum() == pytest.approx(hours)
        assert rows["runs"].sum() == request.costs[phase].runs
        assert rows["jobs"].sum() == request.costs[phase].jobs
    shown = plan_tables.measurements("theirs")
    assert shown["Runs"].astype(int).tolist() == table["runs"].tolist()
    assert shown["Measurement"].str.len().gt(0).all()
    first = table.iloc[0]
    key = f"modelled.request.theirs.{first['phase']}.1.step_ms"
    assert ledger()[key].value == pytest.approx(first["step_ms"])


def test_keys_of_the_ledger(small):
    found = ledger()
    total = found["modelled.request.theirs.total.billed"]
    assert total.unit == "points" and total.low <= total.value <= total.high
    assert "not yet validated" in total.source
    assert found["modelled.request.theirs.first.runs"].value == 12
    assert found["modelled.ladder.theirs.weak.8.efficiency"].unit == "%"
    requested = [one for key, one in found.items() if key.startswith("modelled.request.")]
    assert all(value.kind == "modelled" and value.code for value in requested)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("data/plan.yaml", "data/plan.yaml: no such file"),
        ("data/systems/theirs.yaml", "data/systems/theirs.yaml: no such file"),
        ("data/reported/talk.yaml", "tells throughput of a1"),
        ("results/allreduce", "no all-reduce curve"),
    ],
)
def test_what_is_missing_is_named(small, file, said):
    path = small / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ScalebookError, match=said):
        request_of("theirs")
    assert not [key for key in ledger() if key.startswith("modelled.request.theirs.")]


def test_an_unknown_gpu_is_taken_as_no_faster(small):
    (small / "data/systems/old.yaml").write_text("name: old\n")
    model = steptime.model_of("theirs")
    assert model.speed == steptime.Range(1, 1, 1)
    assert model.compute(100) == steptime.Range(0.1, 0.1, 0.1)


def test_this_projects_request_is_below_what_was_reported(study_root):
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    for name, rate in (("mini-1gbit", 0.12), ("mini-200mbit", 0.024)):
        link = {"link_gbit_s": 1.0 if name == "mini-1gbit" else 0.2}
        add_allreduce(study_root, name, rate, **link)
    plan = steptime.the_plan()
    assert ledger()["reported.proposal.total_hours"].value == 500
    for machine in plan.machines:
        total = request_of(machine).costs["total"]
        assert total.node_hours.low < total.node_hours.mid < total.node_hours.high
    lumi = request_of("lumi-g").costs["total"]
    assert lumi.billed.mid == pytest.approx(4 * lumi.node_hours.mid)


def test_likelihood_and_impact_stay_on_one_line(study_root):
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    risks = plan_tables.entries("risks")
    assert not risks["L\u00a0×\u00a0I"].str.contains(" ").any()
