"""Sentences of a report: what holds, what is contradicted, what no number decides."""

from __future__ import annotations

import shutil

import pytest
from fabricate import add_allreduce, add_campaign, add_run, add_trace
from paths import REPOSITORY
from study_sentences import theirs

from scalebook.analysis.claims import claimed_sentences
from scalebook.cli.parts import as_table
from scalebook.contract import ScalebookError
from scalebook.results import claims as claim_table
from scalebook.results import problems
from scalebook.values import check, ledger

THEIRS = """
source: a talk
date: "2026-01-01"
system: mini-1gbit
jobs:
  - job_id: a1
    experiment: baseline
    configuration: {{world_size: 1, dataset: cifar10, model: resnet18}}
    values: {{throughput: {{value: 100, unit: images/s}}, final_val_acc: {{value: 80, unit: "%"}}}}
  - job_id: a2
    experiment: ddp_2gpu
    configuration: {{world_size: 2, nodes: 2, dataset: cifar10, model: resnet18,
                     reference: baseline}}
    values: {{throughput: {{value: 150, unit: images/s}},
              final_val_acc: {{value: {accuracy}, unit: "%"}}}}
entries:
  - {{id: hours, values: {{total: {{value: 10, unit: h}}}}}}
claims:
{claims}
"""


def report(root, claims_text: str, accuracy: float = 79.5):
    (root / "data/reported/magic-castle-2025.yaml").unlink(missing_ok=True)
    text = THEIRS.format(claims=claims_text, accuracy=accuracy)
    (root / "data/reported/theirs.yaml").write_text(text)


def verdict(claim: str) -> tuple[str, str]:
    """Verdict on the sentence, and the computation."""
    table = check()
    first = table[table["claim"] == claim].iloc[0]
    return first["verdict"], first["computation"]


def test_every_claimed_sentence_of_this_study_has_a_verdict(study_root):
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    for name, rate, link in (("mini-1gbit", 0.12, 1.0), ("mini-200mbit", 0.024, 0.2)):
        add_allreduce(study_root, name, rate, link_gbit_s=link)
    add_run(study_root)
    found = claimed_sentences(check()).set_index("claim")["verdict"].to_dict()
    assert found == {
        "ddp-speedup": "undetermined",
        "ddp-efficiency": "undetermined",
        "ddp-network-limited": "undetermined",
        "fp16-speedup": "holds",
        "batch-norm-bottleneck": "undetermined",
        "proposal-hours": "holds",
        "proposal-formula": "undetermined",
        "converge-similarly": "undetermined",
        "hours-suffice": "undetermined",  # on the smaller nodes of the alternatives
    }
    said = verdict("ddp-efficiency")[1]
    assert "56.1 %" in said and "27.5 %" in said and "contradict each other" in said
    said = verdict("ddp-network-limited")[1]
    assert "44.7 MB" in said and "rate of the link and the batch not reported" in said
    assert "not yet validated" in verdict("hours-suffice")[1]
    counts = {key: value.value for key, value in ledger().items()}
    assert (
        counts["claims.all"]
        == 9
        == sum(counts[f"claims.{name}"] for name in ("holds", "contradicted", "undetermined"))
    )


def test_without_a_plan_hours_are_not_decided(study_root):
    found, said = verdict("hours-suffice")
    assert found == "undetermined" and "data/plan.yaml" in said


# --------------------------------------------------------------------------- convergence


CONVERGE = '  - {id: c, type: convergence, text: "all alike", jobs: [a1, a2], tolerance: 1.0}'


@pytest.mark.parametrize(("accuracy", "as_written"), [(79.5, "holds"), (75, "contradicted")])
def test_one_seed_of_each_says_what_was_written_but_not_why(study_root, accuracy, as_written):
    report(study_root, CONVERGE, accuracy)
    table = check()
    rows = table[table["claim"] == "c"]
    assert rows["verdict"].tolist() == ["undetermined", as_written]
    assert "one seed of each" in rows["computation"].iloc[0]
    assert "several seeds" in rows["decided_by"].iloc[0]


@pytest.mark.parametrize(("accuracy", "found"), [(79.5, "holds"), (70, "contradicted")])
def test_seeds_of_the_same_configurations_decide(study_root, accuracy, found):
    report(study_root, CONVERGE, accuracy)
    for seed, end in enumerate((80.0, 82.0)):
        for name, world in (("baseline", 1), ("ddp_2gpu", 2)):
            add_run(study_root, name, seed, accuracy=(end,), world=world, system="mini-1gbit",
                    dataset={"train_images": 50000})  # fmt: skip
    answer, said = verdict("c")
    assert answer == found and "up to 2 points apart" in said


def test_a_spread_measured_elsewhere_is_told_and_decides_nothing(study_root):
    report(study_root, CONVERGE, 70)
    for seed, end in enumerate((60.0, 64.0)):
        add_run(study_root, seed=seed, accuracy=(50.0, 55.0, end))
    answer, said = verdict("c")
    assert answer == "undetermined" and "2.5 times that" in said


def test_seeds_that_end_alike_are_no_division_by_zero(study_root):
    report(study_root, CONVERGE, 70)
    for seed in (0, 1):
        add_run(study_root, seed=seed)
    assert verdict("c")[1].endswith("up to 0 points apart")


# --------------------------------------------------------------------------- bottlenecks


NETWORK = '  - {id: n, type: bottleneck, text: "network-limited", job: a2, subject: network}'


@pytest.mark.parametrize(
    ("two_nodes", "found"), [(400.0, "holds"), (200.0, "contradicted"), (None, "undetermined")]
)
def test_a_control_on_one_node_decides_about_the_network(study_root, two_nodes, found):
    # 150 ms of computation, 190 ms with both ranks on one node.
    report(study_root, NETWORK)
    if two_nodes:
        steps = {"baseline": 300.0, "ddp_1node": 190.0, "ddp_2gpu": two_nodes}
        add_campaign(study_root, "mini-1gbit", steps)
    assert verdict("n")[0] == found


def test_a_control_elsewhere_is_an_analogy(study_root):
    report(study_root, NETWORK)
    add_campaign(study_root, "mini-200mbit")
    answer, said = verdict("n")
    assert answer == "undetermined" and "analogy only" in said and "mini-200mbit" in said
    assert "images at 10 Gbit/s" in said


SUBJECT = '  - {{id: b, type: bottleneck, text: "it is {0}", job: a1, subject: {0}}}'


@pytest.mark.parametrize(
    ("subject", "found"), [("convolution", "holds"), ("batch_norm", "contradicted")]
)
def test_a_trace_of_the_job_decides_by_operator(study_root, subject, found):
    report(study_root, SUBJECT.format(subject))
    assert verdict("b")[0] == "undetermined"
    # A kernel named after a matrix product, launched by a convolution.
    add_trace(study_root, "baseline_a1_1gpu_a1_rank0", {"volta_sgemm_128x64": 500.0})
    answer, said = verdict("b")
    assert answer == found and "by operator: convolution 100 %" in said


def test_a_trace_of_another_job_decides_nothing(study_root):
    report(study_root, SUBJECT.format("convolution"))
    add_trace(study_root, "baseline_b7_1gpu_b7_rank0", {"volta_sgemm_128x64": 500.0})
    assert verdict("b")[0] == "undetermined"


def test_a_trace_without_a_runs_name_joins_the_job_that_expects_it(study_root):
    assert verdict("batch-norm-bottleneck")[0] == "undetermined"
    assert theirs.batch_norm(ledger()).case.startswith("undetermined")
    kernels = {"bn_fw_tr": 9.0, "volta_sgemm_128x64": 500.0}
    path = add_trace(study_root, "node1_4711.1700000000", kernels)
    path.write_text(path.read_text().replace("aten::conv2d", "aten::cudnn_batch_norm", 1))
    assert verdict("batch-norm-bottleneck")[0] == "contradicted"
    # What the paper says follows the same trace.
    known = ledger()
    share = known["trace.job-2915.by_operator.convolution_share"]
    assert share.files == ("results/profiling/node1_4711.1700000000.pt.trace.json",)
    assert theirs.batch_norm(known).case == "contradicted"


# --------------------------------------------------------------------------- hours, types


@pytest.mark.parametrize(
    ("hours", "unit", "found"),
    [
        (10_000, "node-hours", "holds"),
        (10, "node-hours", "contradicted"),
        (500, "GPU-hours", "contradicted"),
    ],
)
def test_hours_against_the_computed_request(study_root, hours, unit, found):
    # The plan needs the reported rates of this project.
    reported = (study_root / "data/reported/magic-castle-2025.yaml").read_text()
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    for name, rate, link in (("mini-1gbit", 0.12, 1.0), ("mini-200mbit", 0.024, 0.2)):
        add_allreduce(study_root, name, rate, link_gbit_s=link)
    claim = f'  - {{id: h, type: sufficiency, text: "enough", job: hours, value: {hours}, ' + (
        f"unit: {unit}}}"
    )
    report(study_root, claim)
    (study_root / "data/reported/magic-castle-2025.yaml").write_text(reported)
    assert verdict("h")[0] == found


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ('{id: c, type: convergence, text: "x"}', "needs jobs"),
        ('{id: c, type: sufficiency, text: "x", job: hours}', "needs value"),
        ('{id: c, type: convergence, text: "x", jobs: [a1, zz]}', "names job 'zz'"),
        ('{id: c, type: guess, text: "x"}', "claims.0.type"),
    ],
)
def test_a_claim_that_is_not_complete_is_refused(study_root, claim, said):
    report(study_root, f"  - {claim}")
    try:
        claim_table()
        told = " ".join(problems()["problem"])
    except ScalebookError as error:
        told = str(error)
    assert said in told


# --------------------------------------------------------------------------- the terminal


def test_prose_is_wrapped_to_the_terminal_and_names_are_not():
    name = "results/csv/baseline_2644_1gpu_2644.csv"
    rows = [["job", "said"], [name, "several words that are told " * 5]]
    lines = as_table(rows, 80)
    assert max(map(len, lines)) <= 80 and len(lines) > 3
    assert any(line.startswith(name) for line in lines)
    assert len(as_table(rows, None)) == 2


def test_what_cannot_fit_is_broken_rather_than_cut():
    name = "a" * 100
    lines = as_table([["name", "n"], [name, "12"]], 60)
    assert max(map(len, lines)) <= 60
    assert "".join(line.split()[0] for line in lines[1:]) == name
