"""The rules over what was measured: the runs that stand behind the documents."""

from __future__ import annotations

import pandas as pd

from scalebook import results
from scalebook.analysis.comparable import Configuration, configurations, documented
from scalebook.analysis.declared import declared_campaigns, link_rate
from scalebook.analysis.ruling import BROKEN, KEPT, NOT_APPLICABLE, PARTLY, Ruling, listed
from scalebook.analysis.scaling import scaling_table
from scalebook.analysis.statistics import CONFIDENCE
from scalebook.contract import ScalebookError

#: Records of a manifest that document the set-up, and what a reader calls them.
RECORDS = {
    "versions": "versions",
    "nodes": "nodes",
    "code": "code",
    "dataset": "data set",
    "seed": "seed",
    "resolved": "settings",
}


def rulings() -> dict[int, Ruling]:
    """Verdicts by number of the rule; empty where nothing was measured."""
    runs = documented()
    runs = runs[runs["kind"] != "reported"]
    if runs.empty:
        return {}
    found = configurations(runs)
    table = scaling_table(runs)
    return {
        1: _base_case(table),
        2: _parts(runs),
        3: Ruling(KEPT, "rate of a run: images over time; of repetitions: their median "
                        "(analysis.statistics.summarise)"),
        4: _ratios(table),
        5: _intervals(found),
        6: Ruling(KEPT, "every interval is between two observed values "
                        "(analysis.statistics.summarise)"),
        7: _comparisons(table, found),
        8: _percentiles(runs),
        9: _setup(runs),
        10: _timing(runs),
        11: _bounds(found),
        12: Ruling(KEPT, "figures draw each run as a point on its interval; a line joins epochs, "
                         "steps or message sizes only"),
    }  # fmt: skip


def _base_case(table: pd.DataFrame) -> Ruling:
    if table.empty:
        return Ruling(NOT_APPLICABLE, "no speed-up is formed")
    bases = listed(f"{row.reference} on {row.system}" for row in table.itertuples())
    return Ruling(KEPT, f"the same program with the ranks of the reference, its rate told: {bases}")


def _parts(runs: pd.DataFrame) -> Ruling:
    partial = runs[runs["subset"] == True]  # noqa: E712
    if partial.empty:
        return Ruling(KEPT, "every run is on the whole data set")
    names = set(partial["experiment"])
    campaigns = declared_campaigns()
    reasons = [name for name, one in campaigns.items()
               if one["description"] and names & set(one["experiments"])]  # fmt: skip
    if not reasons:
        return Ruling(BROKEN, f"no reason given for a part of the images: {listed(sorted(names))}")
    gaps = [
        f"{experiment} on {system}"
        for name in reasons
        for system in partial["system"].unique()
        for experiment in campaigns[name]["experiments"]
        if not ((runs["system"] == system) & (runs["experiment"] == experiment)).any()
    ]
    said = f"reason for a part of the images: campaign {listed(reasons)} of study.yaml"
    if gaps:
        return Ruling(PARTLY, f"{said}; not run, without a reason: {listed(gaps)}")
    return Ruling(KEPT, said)


def _ratios(table: pd.DataFrame) -> Ruling:
    if table.empty:
        return Ruling(NOT_APPLICABLE, "no ratio is formed")
    paired = table[table["pairing"] == "by seed"]
    if paired.empty:
        return Ruling(KEPT, "ratios of medians, whose rates stand beside them")
    return Ruling(
        PARTLY,
        "speed-ups are medians of ratios paired by seed, so that a slow machine weighs on both "
        "sides; the rates stand beside them (analysis.scaling_table)",
    )


def _intervals(found: list[Configuration]) -> Ruling:
    summaries = [(one, one.summary("throughput")) for one in found]
    alone = [f"{one['experiment']} on {one['system']}" for one, said in summaries if said.n == 1]
    if alone:
        return Ruling(BROKEN, f"one run: {listed(alone)}")
    low = [said for _, said in summaries if said.coverage < CONFIDENCE]
    if low:
        least = min(said.coverage for said in low)
        fewest = min(said.n for said in low)
        return Ruling(
            PARTLY,
            f"intervals everywhere, but {fewest} repetitions cover only {100 * least:.0f} % "
            f"({len(low)} of {len(summaries)} configurations); more than 5 are needed for "
            f"{100 * CONFIDENCE:.0f} %",
        )
    return Ruling(KEPT, f"nonparametric intervals of {len(summaries)} configurations")


def _comparisons(table: pd.DataFrame, found: list[Configuration]) -> Ruling:
    spread = table[table["n"] > 1]
    if spread.empty:
        return Ruling(NOT_APPLICABLE if table.empty else BROKEN, "no comparison has an interval")
    apart = spread[(spread["speedup_low"] > 1) | (spread["speedup_high"] < 1)]
    said = f"{len(apart)} of {len(spread)} speed-ups have an interval that leaves out 1"
    if min(one.summary("throughput").coverage for one in found) < CONFIDENCE:
        return Ruling(PARTLY, f"{said}, at less than {100 * CONFIDENCE:.0f} % confidence")
    return Ruling(KEPT, said)


def _percentiles(runs: pd.DataFrame) -> Ruling:
    without = [stem for stem in runs["stem"] if not _has_steps(stem)]
    if without:
        return Ruling(PARTLY, f"no times of single steps: {listed(without, 2)}")
    return Ruling(KEPT, "50th, 95th, 99th percentile and mean over median of the steps of every "
                        "run (analysis.step_summary)")  # fmt: skip


def _setup(runs: pd.DataFrame) -> Ruling:
    missing: dict[str, int] = {}
    bare = 0
    for stem in runs["stem"]:
        try:
            record = results.manifest(stem)
        except ScalebookError:
            bare += 1
            continue
        gaps = [title for name, title in RECORDS.items() if record.get(name) in (None, {}, [])]
        if record.get("world_size", 1) > 1 and not record.get("backend"):
            gaps.append("backend")
        code = record.get("code") or {}
        if not code.get("commit") or code.get("dirty"):
            gaps.append("clean commit")
        for gap in gaps:
            missing[gap] = missing.get(gap, 0) + 1
    if bare:
        missing["manifest"] = bare
    if not missing:
        return Ruling(KEPT, f"manifests of all {len(runs)} runs: {listed(RECORDS.values(), 7)}")
    said = ", ".join(f"{gap} of {n}" for gap, n in missing.items())
    return Ruling(PARTLY, f"manifests of {len(runs)} runs lack: {said}")


def _timing(runs: pd.DataFrame) -> Ruling:
    several = runs[runs["world_size"] > 1]
    if several.empty:
        return Ruling(NOT_APPLICABLE, "no parallel time is measured")
    without = [stem for stem in several["stem"] if not _has_steps(stem)]
    if without:
        return Ruling(PARTLY, f"times of single ranks are missing: {listed(without, 2)}")
    return Ruling(
        KEPT,
        "a step lasts as long as its slowest rank, kept for every rank; the gradient exchange "
        "synchronises; warm-up steps left out (results/steps, analysis.step_summary)",
    )


def _bounds(found: list[Configuration]) -> Ruling:
    spread = [one for one in found if (one["nodes"] or 1) > 1]
    if not spread:
        return Ruling(PARTLY, "ideal scaling; no run crosses a link")
    without = sorted({one["system"] for one in spread if not link_rate(one["system"])})
    said = "ideal scaling; the gradients at the rate of the link (analysis.overheads)"
    if without:
        return Ruling(PARTLY, f"{said}, which is not limited or known on {listed(without)}")
    return Ruling(KEPT, said)


def _has_steps(stem: str) -> bool:
    try:
        return not results.steps(stem).empty
    except ScalebookError:
        return False
