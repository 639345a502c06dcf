"""The twelve rules over a study: worked out from what is there."""

from __future__ import annotations

import json

from click.testing import CliRunner
from fabricate import add_allreduce, add_campaign, add_run

from scalebook.analysis import benchmarking_rules
from scalebook.cli.command import main
from scalebook.values import ledger


def ruled(side: str) -> dict[int, str]:
    table = benchmarking_rules.rules()
    return table[table["side"] == side].set_index("number")["verdict"].to_dict()


def where(side: str, number: int) -> str:
    table = benchmarking_rules.rules()
    return table[(table["side"] == side) & (table["number"] == number)]["where"].iloc[0]


def test_the_reported_study(study_root):
    found = ruled("reported")
    assert [n for n in found if found[n] == "broken"] == [3, 5, 7, 8, 9, 10, 12]
    assert [n for n in found if found[n] == "partly"] == [1, 4, 11]
    assert found[2] == "kept" and found[6] == "not applicable"
    assert "batch size" in where("reported", 9) and "seed" in where("reported", 9)
    assert set(ruled("measured").values()) == {"not applicable"}


def test_the_measured_campaign(study_root):
    add_campaign(study_root, "mini-1gbit")
    found = ruled("measured")
    assert "broken" not in found.values()
    assert found[1] == found[8] == found[10] == found[11] == "kept"
    # Three seeds cover 75 %; speed-ups are medians of ratios paired by block.
    assert found[4] == found[5] == found[7] == "partly"
    assert "75 %" in where("measured", 5)
    # No commit stands in these manifests.
    assert found[9] == "partly" and "clean commit of 12" in where("measured", 9)


def test_six_seeds_keep_the_rules_about_intervals(study_root):
    add_campaign(study_root, "mini-1gbit", seeds=tuple(range(6)))
    found = ruled("measured")
    assert found[5] == found[7] == "kept"


def test_one_run_breaks_them(study_root):
    add_run(study_root)
    found = ruled("measured")
    assert found[5] == "broken" and found[10] == "not applicable"


def test_an_experiment_that_was_left_out_is_named(study_root):
    steps = {"baseline": 300.0, "ddp_1node": 190.0, "ddp_2gpu": 400.0}
    add_campaign(study_root, "mini-200mbit", steps)
    add_allreduce(study_root)
    assert ruled("measured")[2] == "partly"
    assert "ddp_weak on mini-200mbit" in where("measured", 2)


def test_another_report_is_ruled_by_its_own_contents(study_root):
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    job = """
  - job_id: "{0}"
    experiment: {1}
    configuration: {{world_size: {2}, precision: fp32, global_batch: 8, model: m,
      model_stem: imagenet, dataset: d, epochs: 1, seed: {0}, torch: "2"{3}}}
    values: {{epoch_time_s: {{value: 5, unit: s}}}}"""
    jobs = [job.format(n, "one", 1, "") for n in (1, 2)]
    jobs += [job.format(n, "two", 2, ", reference: one") for n in (3, 4)]
    (study_root / "data/reported/other.yaml").write_text(
        f"source: s\ndate: d\nsystem: theirs\njobs:{''.join(jobs)}\n"
    )
    found = ruled("reported")
    assert found[1] == found[3] == found[4] == "not applicable"
    assert found[5] == "partly" and found[9] == "kept"


def test_without_anything_no_rule_applies(study_root):
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    assert set(benchmarking_rules.rules()["verdict"]) == {"not applicable"}
    counts = {key: value.value for key, value in ledger().items()}
    assert counts["rules.reported.not_applicable"] == 12 and counts["claims.all"] == 0


def test_the_command_prints_them(study_root):
    printed = CliRunner().invoke(main, ["claims", "--rules"]).output
    assert len(printed.splitlines()) == 25 and "broken" in printed
    rows = json.loads(CliRunner().invoke(main, ["claims", "--rules", "--json"]).output)
    assert {row["number"] for row in rows} == set(range(1, 13))
    table = benchmarking_rules.rules_table()
    wide = ["number", "rule", "reported", "reported_where", "measured", "measured_where"]
    assert list(table.columns) == wide and len(table) == 12


def test_a_rate_without_its_parts_and_a_run_without_steps_are_told(study_root):
    add_campaign(study_root, "mini-1gbit")
    assert ruled("measured")[3] == ruled("measured")[6] == ruled("measured")[12] == "kept"
    csv = next((study_root / "results/csv").glob("baseline*.csv"))
    lines = [",".join(line.split(",")[:7]) for line in csv.read_text().splitlines()]
    csv.write_text("\n".join(lines) + "\n")
    assert ruled("measured")[3] == "partly" and csv.stem in where("measured", 3)
    (study_root / f"results/steps/{csv.stem}.csv.gz").unlink()
    assert ruled("measured")[12] == "partly" and csv.stem in where("measured", 12)
