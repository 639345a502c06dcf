"""Figures of the plan and of what others published: what they show, and from which rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paths import REPOSITORY

from scalebook import figures, study
from scalebook.analysis.models import FILE, model_sizes
from scalebook.contract import ScalebookError
from scalebook.figures import ladder, models, plan
from scalebook.proposal.request import request_of
from scalebook.values import ledger

NAMES = ("reported_speedup", "link_efficiency", "model_sizes", "ddp_architecture", "gantt",
         "risk_matrix", "machine_ladder")  # fmt: skip


@pytest.fixture
def project(monkeypatch) -> Path:
    """The project's own data and results."""
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    return REPOSITORY


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_shows(project, name):
    figure = figures.build(name)
    meta = figure.layout.meta
    assert len(meta["alt"]) > 40 and len(meta["caption"]) > 40
    assert (figure.layout.title.text and figure.data) or name == "ddp_architecture"
    assert figure.layout.height > 200 and figure.layout.width is None


def test_model_sizes_are_the_cited_rows_on_a_logarithmic_axis(project):
    table = model_sizes()
    (trace,) = figures.build("model_sizes").data
    assert list(trace.y) == table["parameters"].tolist()
    assert list(trace.x) == table["year"].tolist() == sorted(table["year"])
    assert figures.build("model_sizes").layout.yaxis.type == "log"
    assert len(table) >= 14 and table["source"].str.len().min() > 5


def test_labels_of_close_points_do_not_meet():
    points, names = [(100.0, 50.0), (104.0, 52.0), (100.0, 60.0)], ["AlexNet", "VGG", "ResNet"]
    places = models.positions(points, names)
    assert len(set(places)) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model,year\nA,2020\n", "columns must be"),
        ("model,year,parameters,source\nA,2020,-1,x\n", "row 1: every column"),
        ("", "cannot be read"),
    ],
)
def test_a_wrong_table_of_models_is_one_line(study_root, content, said):
    (study_root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (study_root / FILE).write_text(content)
    with pytest.raises(ScalebookError, match=said) as caught:
        model_sizes()
    assert "\n" not in str(caught.value)


def test_a_study_without_plan_gets_a_sentence(study_root):
    (study_root / "data/plan.yaml").unlink(missing_ok=True)
    for name in ("gantt", "risk_matrix", "machine_ladder"):
        figure = figures.build(name)
        assert not figure.data and "data/plan.yaml" in figure.layout.meta["caption"]


def test_the_gantt_shows_every_milestone_over_its_months(project):
    bars, ends = figures.build("gantt").data
    milestones = study.load().plan.milestones
    assert list(bars.base) == [one.start - 1 for one in milestones]
    assert [b + x for b, x in zip(bars.base, bars.x)] == list(ends.x)
    assert list(ends.x) == [one.end for one in milestones]
    assert all(one.id in label for one, label in zip(milestones, bars.y))


def test_every_risk_stands_in_its_cell(project):
    figure = figures.build("risk_matrix")
    (trace,) = figure.data
    cells = dict(zip(zip(trace.y, trace.x), trace.text))
    for one in study.load().plan.risks:
        assert one.id in cells[one.likelihood, one.impact]
        assert one.text in figure.layout.meta["alt"]
    assert len([shape for shape in figure.layout.shapes if shape.type == "rect"]) == 25


def test_levels_follow_the_product():
    assert [plan.level(*pair) for pair in ((1, 4), (1, 5), (3, 3), (2, 5), (5, 5))] == [
        "low", "medium", "medium", "high", "high",
    ]  # fmt: skip


def test_the_ladder_draws_the_modelled_rows_with_their_interval(project):
    machine = study.load().plan.machines[0]
    figure = ladder.machine_ladder(machine)
    for kind in ladder.KINDS:
        table = request_of(machine).ladder(kind)
        lines = [t for t in figure.data if t.name == f"{kind} scaling"]
        assert [list(line.y) for line in lines] == [
            table["step_ms"].tolist(),
            table["efficiency"].tolist(),
        ]
    assert "not yet validated" in figure.layout.meta["caption"]


@pytest.mark.slow
def test_pitch_figures_show_the_numbers_of_the_ledger(project):
    known = ledger()
    bars = {trace.name: list(trace.y) for trace in figures.build("reported_speedup").data}
    assert bars["by rate"][0] == pytest.approx(known["modelled.2649.speedup_by_throughput"].value)
    assert bars["by time"][0] == pytest.approx(known["modelled.2649.speedup_by_epoch_time"].value)
    strong = next(t for t in figures.build("link_efficiency").data if t.name == "strong")
    expected = [
        known[f"ddp_2gpu.mini-{link}.efficiency.median"].value
        for link in ("open", "1gbit", "200mbit")
    ]
    assert list(strong.y) == pytest.approx(expected)
    assert list(strong.x) == ["full rate", "1 Gbit/s", "200 Mbit/s"]


def test_reported_bars_are_hatched(project):
    assert all(t.marker.pattern.shape for t in figures.build("reported_speedup").data)


def test_both_sides_of_the_diagram_are_named_in_its_alternative_text():
    figure = figures.build("ddp_architecture")
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert "<b>1 GPU</b>" in texts and "<b>2 GPUs on 2 nodes</b>" in texts
    assert "<b>all-reduce</b> over the network" in texts
    assert "all-reduce over the network" in figure.layout.meta["alt"]


def test_sources_of_the_models_travel_with_the_study(study_root):
    shutil.copytree(REPOSITORY / "data/cited", study_root / "data/cited", dirs_exist_ok=True)
    assert len(model_sizes()) >= 14
