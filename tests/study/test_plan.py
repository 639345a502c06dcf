"""The plan of a proposal is checked on reading, and mistakes are told in one line."""

from __future__ import annotations

import shutil

import pytest
import yaml
from paths import REPOSITORY

from scalebook import study
from scalebook.contract import ScalebookError, UsageError


@pytest.fixture
def planned(study_root):
    """An empty study with this project's plan."""
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    return study_root


def change(root, **changes):
    path = root / "data/plan.yaml"
    document = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_study_needs_no_plan(study_root):
    assert study.load().plan is None


def test_the_plan_of_this_project_is_complete(planned):
    plan = study.load().plan
    assert [one.id for one in plan.milestones] == ["M1", "M2", "M3", "M4"]
    assert {phase.milestone for phase in plan.phases} == {one.id for one in plan.milestones}
    assert max(one.end for one in plan.milestones) == plan.months
    assert plan.effort == sum(one.effort for one in plan.milestones)
    assert all(one.reason for one in plan.assumptions)
    for machine in plan.machines:
        facts = study.load().facts(machine)
        assert facts.accounting and facts.link_gbit_s and facts.source and facts.date


def test_gradients_travel_in_buckets(planned):
    work = study.load().plan.workload
    assert work.gradients(work.parameters) == 4 * 11_181_642
    # 1 MiB, then 41.65 MiB in pieces of 25.
    assert work.messages(work.parameters) == 3
    assert work.batch_per_gpu("strong", 32) == work.batch_per_gpu("weak", 32) == 128


def test_the_other_network_is_counted_as_the_plan_says(planned):
    """Products, modules that launch kernels, and elements written, for an image of 32 × 32."""
    import torch

    from scalebook.train.torchvision_fix import import_torchvision

    def counts(name: str) -> dict[str, int]:
        model = getattr(import_torchvision().models, name)(num_classes=10).eval()
        found = dict.fromkeys(("products", "modules", "elements"), 0)

        def count(module, inputs, output):
            found["modules"] += 1
            found["elements"] += output.numel()
            if isinstance(module, torch.nn.Conv2d):
                found["products"] += output.numel() * module.weight[0].numel()
            if isinstance(module, torch.nn.Linear):
                found["products"] += output.numel() * module.in_features

        for module in model.modules():
            if not list(module.children()):
                module.register_forward_hook(count)
        with torch.no_grad():
            model(torch.zeros(1, 3, 32, 32))
        return {**found, "parameters": sum(one.numel() for one in model.parameters())}

    plan = study.load().plan
    (network,) = plan.networks
    ours, theirs = counts("resnet18"), counts(network.name)
    assert (plan.workload.parameters, network.parameters) == (
        ours["parameters"],
        theirs["parameters"],
    )
    ratios = [theirs[name] / ours[name] for name in ("products", "modules", "elements")]
    stated = network.compute
    assert ratios == pytest.approx([stated.low, stated.mid, stated.high], abs=0.01)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ladder": [1, 4, 2]}, "ladder: must increase"),
        ({"machines": ["lumi-g", "lumi-g"]}, "machines: 'lumi-g' is there twice"),
        ({"contingency": 2}, "contingency: 2"),
        ({"months": 4}, "milestones.M4: ends in month 6 of 4"),
        ({"laddder": [1]}, "laddder: unknown key"),
        ({"phases": [{"name": "total", "title": "x", "measurements": [
            {"what": "x", "scaling": "weak", "repetitions": 1, "steps": 1,
             "job_minutes": 1}]}]}, "'total' is taken"),
        ({"phases": [{"name": "a", "title": "x", "measurements": [
            {"what": "x", "scaling": "weak", "repetitions": 1, "job_minutes": 1}]}]},
         "give steps or epochs"),
        ({"phases": [{"name": "a", "title": "x", "measurements": [
            {"what": "x", "network": "other", "scaling": "weak", "repetitions": 1, "steps": 1,
             "job_minutes": 1}]}]}, "phases.a: no network 'other'"),
        ({"risks": [{"id": "R1", "text": "x", "likelihood": 6, "impact": 1, "mitigation": "x",
                     "owner": "x"}]}, "risks.0.likelihood: 6"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_file_and_key(planned, changes, said):
    change(planned, **changes)
    with pytest.raises(ScalebookError) as caught:
        study.load().plan  # noqa: B018
    message = str(caught.value)
    assert message.startswith("data/plan.yaml: ") and said in message and "\n" not in message


def test_facts_of_a_machine_that_is_no_system(study_root):
    facts = study_root / "data/systems"
    text = (facts / "lumi-g.yaml").read_text()
    (facts / "elsewhere.yaml").write_text(text.replace("name: lumi-g", "name: elsewhere"))
    loaded = study.load()
    assert "elsewhere" not in loaded.systems
    assert loaded.facts("elsewhere").gpus_per_node == 8
    for name in ("nowhere", "../reported/magic-castle-2025", ""):
        with pytest.raises(UsageError, match="no system"):
            loaded.facts(name)
