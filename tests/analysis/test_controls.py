"""A control that is one experiment on several systems is the yardstick of their differences."""

import pytest
from fabricate import add_campaign, add_run

from scalebook import figures, study
from scalebook.analysis.controls import contrasts
from scalebook.analysis.evidence import Evidence
from scalebook.contract import ScalebookError
from scalebook.values import ledger


def test_a_control_is_pooled_over_its_systems(study_root):
    for system, ms in (("mini-open", 180.0), ("mini-1gbit", 200.0)):
        steps = {"baseline": 300.0, "ddp_1node": ms, "ddp_2gpu": 2 * ms}
        add_campaign(study_root, system, steps)
    (one,) = Evidence().controls
    assert (one.experiment, one.systems) == ("ddp_1node", ["mini-open", "mini-1gbit"])
    assert one.efficiency.n == 6
    numbers = ledger()
    ends = [numbers[f"control.ddp_1node.efficiency.{end}"].value for end in ("min", "max")]
    assert numbers["control.ddp_1node.spread"].value == pytest.approx(ends[1] / ends[0])
    assert "never use the link" in numbers["control.ddp_1node.spread"].source
    drawn = figures.build("link_efficiency")
    assert [shape.fillcolor for shape in drawn.layout.shapes if shape.type == "rect"]
    assert "The band is the range of ddp_1node" in drawn.layout.meta["caption"]


def test_the_control_stands_beside_what_it_is_the_control_of(study_root):
    for system, ms in (("mini-open", 180.0), ("mini-1gbit", 200.0)):
        steps = {"baseline": 300.0, "ddp_1node": 190.0, "ddp_2gpu": 2 * ms}
        add_campaign(study_root, system, steps)
    table = contrasts()
    assert table["role"].tolist() == ["A/A", "A/B"]
    assert table["experiment"].tolist() == ["ddp_1node", "ddp_2gpu"]
    assert (table["system"] == "mini-open").all() and (table["n"] == 3).all()
    assert table["ratio"].tolist() == pytest.approx([1.0, 400 / 360], rel=0.01)
    numbers, both = ledger(), "mini-open.mini-1gbit"
    assert numbers[f"contrast.ddp_2gpu.{both}.median"].value == pytest.approx(table["ratio"][1])
    assert numbers[f"contrast.ddp_1node.{both}.low"].value == pytest.approx(table["low"][0])
    add_campaign(study_root, "mini-200mbit", steps, seeds=(7, 8))
    assert len(contrasts()) == 2  # it shares no block with the others


def test_a_gap_is_the_control_over_what_stands_beside_it(study_root):
    add_campaign(study_root, "mini-open")
    numbers = ledger()
    factor = numbers["ddp_2gpu.mini-open.control_ratio.median"]
    assert factor.value == pytest.approx(402 / 192, rel=0.01) and factor.n == 3
    assert "two" in factor.source or "ddp_1node" in factor.source
    # Another global batch is no control's; nor is the baseline's one rank.
    assert not [key for key in numbers if ".control_ratio" in key and "ddp_2gpu" not in key]


def test_on_one_system_there_is_nothing_to_hold_against(study_root):
    add_campaign(study_root, "mini-open")
    assert Evidence().controls == []
    assert not [key for key in ledger() if key.startswith("control.")]


def test_a_control_names_what_the_study_has(study_root):
    add_run(study_root)
    path = study_root / "study.yaml"
    text = path.read_text()
    for before, after, message in (
        ("- experiment: ddp_1node", "- experiment: nobody", "no such experiment"),
        ("systems: [mini-open, mini-1gbit, mini-200mbit]\n    because",
         "systems: [mini-open, elsewhere]\n    because", "no system 'elsewhere'"),
        ("systems: [mini-open, mini-1gbit, mini-200mbit]\n    because",
         "systems: [mini-open, mini-open]\n    because", "a system is there twice"),
        ("    because: both ranks sit on one node and never use the link\n", "", "because"),
    ):  # fmt: skip
        assert before in text
        path.write_text(text.replace(before, after))
        with pytest.raises(ScalebookError, match=message):
            study.load()
