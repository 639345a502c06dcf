"""The twelve rules of Hoefler and Belli as a checklist over a study.

*Scientific Benchmarking of Parallel Computing Systems*, SC15, DOI 10.1145/2807591.2807644; the
rules in our words. A side is either what was reported or what was measured. Verdicts: kept,
broken, partly, or not applicable where a side has nothing the rule speaks of. They are worked out
from the contents of the study; a rule about how numbers are formed names the function that forms
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from scalebook import results
from scalebook.analysis import study_queries
from scalebook.analysis.comparable import Configuration
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.reported_jobs import BASES, Job, reference_of
from scalebook.analysis.scaling import Ratio
from scalebook.analysis.statistics import CONFIDENCE
from scalebook.analysis.text import abridged
from scalebook.contract import ScalebookError

DOI = "10.1145/2807591.2807644"

#: The rules, in few words.
RULES = {
    1: "A speed-up says what its base case is, and how fast that is",
    2: "A reason is given where only a part of a benchmark or of the machine is used",
    3: "Costs are averaged arithmetically, rates harmonically",
    4: "Ratios are not averaged; the costs or rates behind them are",
    5: "It is said whether values vary; if they do, with a confidence interval",
    6: "A normal distribution is not assumed without a check",
    7: "Values that vary are compared by statistics, not by eye",
    8: "It is considered whether a mean or median is what matters, or a percentile",
    9: "All factors, their levels and the whole set-up are documented",
    10: "How parallel time was measured, synchronised and summed up is told",
    11: "An upper bound of performance is shown where there is one",
    12: "Plots show as much of the data as they can; lines join only what may be interpolated",
}

KEPT, BROKEN, PARTLY, NOT_APPLICABLE = "kept", "broken", "partly", "not applicable"

SIDES = ("reported", "measured")

#: Columns of `rules`.
COLUMNS = ("number", "rule", "side", "verdict", "where")

#: Reported ratios.
RATIOS = ("speedup", "efficiency")

#: What sets a run apart, by its name in a report.
FACTORS = {
    "world_size": "ranks",
    "precision": "precision",
    "global_batch": "batch size",
    "model": "model",
    "model_stem": "stem of the model",
    "dataset": "data set",
    "epochs": "epochs",
    "seed": "seed",
    "torch": "version of PyTorch",
}

#: Records of a manifest that document the set-up, and what a reader calls them.
RECORDS = {
    "versions": "versions",
    "nodes": "nodes",
    "code": "code",
    "dataset": "data set",
    "seed": "seed",
    "resolved": "settings",
}


class Verdict(NamedTuple):
    """Verdict on a rule, and where in the study it shows."""

    verdict: str
    where: str


def rules(evidence: Evidence | None = None) -> pd.DataFrame:
    """Each rule for each side of the study.

    Parameters
    ----------
    evidence : Evidence, optional
        That of the documents where left out.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: ``side`` is ``"reported"`` or ``"measured"``; ``where`` names what
        shows it.
    """
    evidence = evidence or Evidence()
    rows = []
    for side, found in zip(SIDES, (_reported(evidence.jobs), _measured(evidence))):
        nothing = Verdict(NOT_APPLICABLE, f"nothing is {side}")
        rows += [(n, rule, side, *found.get(n, nothing)) for n, rule in RULES.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rules_table() -> pd.DataFrame:
    """One row a rule, with the verdicts of both sides, and where they show, beside each other."""
    table = rules()
    wide = {"number": list(RULES), "rule": list(RULES.values())}
    for side in SIDES:
        own = table[table["side"] == side]
        wide |= {side: own["verdict"].tolist(), f"{side}_where": own["where"].tolist()}
    return pd.DataFrame(wide)


# --------------------------------------------------------------------------- what was reported


def _reported(everything: Mapping[str, Job]) -> dict[int, Verdict]:
    """Verdicts by number of the rule; empty where no job is reported."""
    jobs = {name: job for name, job in everything.items() if job.row}
    if not jobs:
        return {}
    timed = [job for job in jobs.values() if _timed(job)]
    repeated = _repeated(timed)
    single = "one value of each configuration"
    return {
        1: _reported_base(jobs),
        2: _whole_machine(timed),
        3: _averages(timed),
        4: _reported_ratios(jobs),
        5: Verdict(PARTLY, "several runs of each configuration, no interval reported")
        if repeated
        else Verdict(BROKEN, f"{single}, no interval: jobs {abridged(job.id for job in timed)}"),
        6: Verdict(NOT_APPLICABLE, "no distribution is assumed or shown"),
        7: _reported_comparisons(jobs),
        8: Verdict(BROKEN, "one number for a whole run: no percentile, no time per step")
        if timed
        else Verdict(NOT_APPLICABLE, "no time is reported"),
        9: _reported_setup(timed),
        10: Verdict(BROKEN, "not told what was timed, on which rank, after which synchronisation")
        if any(job.ranks > 1 for job in timed)
        else Verdict(NOT_APPLICABLE, "no parallel time is reported"),
        11: _reported_bounds(jobs),
        12: Verdict(PARTLY, "no distribution of steps reported that a plot could show")
        if repeated
        else Verdict(BROKEN, f"{single}: nothing behind it is there to be shown"),
    }


def _timed(job: Job) -> bool:
    return any(job.values.get(metric) for metric, _, _ in BASES)


def _repeated(jobs: Sequence[Job]) -> bool:
    names = [(job.setting("system"), job.setting("experiment")) for job in jobs]
    return bool(names) and all(names.count(name) > 1 for name in names)


def _reported_base(jobs: Mapping[str, Job]) -> Verdict:
    ratios = [job for job in jobs.values() if any(job.values.get(name) for name in RATIOS)]
    pairs = {job.id: other for job in ratios if (other := reference_of(job, jobs)) is not None}
    if not pairs:
        return Verdict(NOT_APPLICABLE, "no speed-up is reported")
    bare = [name for name, other in pairs.items() if not _timed(other)]
    if bare:
        return Verdict(BROKEN, f"no absolute time or rate of the base of {abridged(bare)}")
    bases = abridged(f"job {other.id}" for other in pairs.values())
    return Verdict(
        PARTLY,
        f"absolute rate of the base is told ({bases}); not whether it is the parallel program on "
        "one rank or the best serial one",
    )


def _whole_machine(jobs: Sequence[Job]) -> Verdict:
    if not jobs:
        return Verdict(NOT_APPLICABLE, "no time is reported")
    most: dict[str, int] = {}
    for job in jobs:
        system = job.setting("system")
        most[system] = max(job.ranks, most.get(system, 0))
    for system, used in most.items():
        facts = study_queries.facts(system)
        have = (facts.nodes or 0) * (facts.gpus_per_node or 0)
        if not have:
            return Verdict(PARTLY, f"size of {system} is not known")
        if used < have:
            return Verdict(BROKEN, f"{used} of {have} GPUs of {system}, no reason given")
    return Verdict(KEPT, f"the largest run uses all {have} GPUs of {system}")


def _averages(jobs: Sequence[Job]) -> Verdict:
    rates = [job.id for job in jobs if job.values.get("throughput")]
    if not rates:
        return Verdict(NOT_APPLICABLE, "no rate is reported")
    return Verdict(BROKEN, f"not told how the rates of jobs {abridged(rates)} were averaged")


def _reported_ratios(jobs: Mapping[str, Job]) -> Verdict:
    bare = [
        job.id
        for job in jobs.values()
        if any(name.startswith("share.") for name in job.values)
        and not any(name.endswith(("_s", "_ms", "_us")) for name in job.values)
    ]
    if bare:
        return Verdict(
            PARTLY, f"speed-ups have their rates beside them; shares of job {abridged(bare)} do not"
        )
    if any(job.values.get(name) for job in jobs.values() for name in RATIOS):
        return Verdict(KEPT, "each ratio is of one pair, whose rates are told")
    return Verdict(NOT_APPLICABLE, "no ratio is reported")


def _reported_comparisons(jobs: Mapping[str, Job]) -> Verdict:
    compared = [job.id for job in jobs.values() if reference_of(job, jobs)]
    if not compared:
        return Verdict(NOT_APPLICABLE, "nothing is compared")
    return Verdict(BROKEN, f"jobs {abridged(compared)} are compared by single values")


def _reported_setup(jobs: Sequence[Job]) -> Verdict:
    if not jobs:
        return Verdict(NOT_APPLICABLE, "no time is reported")
    missing = [
        title for name, title in FACTORS.items() if any(job.setting(name) is None for job in jobs)
    ]
    facts = study_queries.facts(jobs[0].setting("system"))
    if facts.name and not facts.link_gbit_s:
        missing.append("rate of the link")
    if not missing:
        return Verdict(KEPT, "configuration and system of every job are told")
    return Verdict(BROKEN, f"not told: {abridged(missing, 8)}")


def _reported_bounds(jobs: Mapping[str, Job]) -> Verdict:
    if any(job.values.get("efficiency") for job in jobs.values()):
        return Verdict(PARTLY, "efficiency against ideal scaling; none against the GPU or the link")
    return Verdict(BROKEN, "no bound is reported")


# --------------------------------------------------------------------------- what was measured


def _measured(evidence: Evidence) -> dict[int, Verdict]:
    """Verdicts by number of the rule; empty where nothing was measured."""
    runs = evidence.runs[evidence.runs["kind"] != "reported"]
    if runs.empty:
        return {}
    found = evidence.measured
    ratios = [ratio for ratio in evidence.ratios if ratio.one.kind == "measured"]
    summarised = "(analysis.statistics.summarise)"
    return {
        1: _measured_base(ratios),
        2: _part_of_the_data(runs),
        3: Verdict(
            KEPT,
            f"rate of a run: images over time; of repetitions: their median {summarised}",
        ),
        4: _measured_ratios(ratios),
        5: _intervals(found),
        6: Verdict(KEPT, f"every interval is between two observed values {summarised}"),
        7: _measured_comparisons(ratios, found),
        8: _percentiles(runs, evidence.steps),
        9: _measured_setup(runs),
        10: _timing(runs, evidence.steps),
        11: _measured_bounds(found),
        12: Verdict(
            KEPT,
            "figures draw each run as a point on its interval; a line joins epochs, steps or "
            "message sizes only",
        ),
    }


def _measured_base(ratios: Sequence[Ratio]) -> Verdict:
    if not ratios:
        return Verdict(NOT_APPLICABLE, "no speed-up is formed")
    bases = abridged(f"{one.reference['experiment']} on {one.one['system']}" for one in ratios)
    return Verdict(
        KEPT, f"the same program with the ranks of the reference, its rate told: {bases}"
    )


def _part_of_the_data(runs: pd.DataFrame) -> Verdict:
    partial = runs[runs["subset"].eq(True)]
    if partial.empty:
        return Verdict(KEPT, "every run is on the whole data set")
    names = set(partial["experiment"])
    reasons = {
        name: campaign
        for name, campaign in study_queries.campaigns().items()
        if campaign.description and names & set(campaign.experiments)
    }
    if not reasons:
        return Verdict(
            BROKEN, f"no reason given for a part of the images: {abridged(sorted(names))}"
        )
    there = set(zip(runs["experiment"], runs["system"]))
    gaps = [
        f"{experiment} on {system}"
        for campaign in reasons.values()
        for system in partial["system"].unique()
        for experiment in campaign.experiments
        if (experiment, system) not in there
    ]
    where = f"reason for a part of the images: campaign {abridged(reasons)} of study.yaml"
    if gaps:
        return Verdict(PARTLY, f"{where}; not run, without a reason: {abridged(gaps)}")
    return Verdict(KEPT, where)


def _measured_ratios(ratios: Sequence[Ratio]) -> Verdict:
    if not ratios:
        return Verdict(NOT_APPLICABLE, "no ratio is formed")
    if not any(one.pairing == "by seed" for one in ratios):
        return Verdict(KEPT, "ratios of medians, whose rates stand beside them")
    return Verdict(
        PARTLY,
        "speed-ups are medians of ratios paired by seed, so that a slow machine weighs on both "
        "sides; the rates stand beside them (analysis.scaling_table)",
    )


def _intervals(found: Sequence[Configuration]) -> Verdict:
    summaries = [one.summary("throughput") for one in found]
    alone = [
        f"{one['experiment']} on {one['system']}"
        for one, summary in zip(found, summaries)
        if summary.n == 1
    ]
    if alone:
        return Verdict(BROKEN, f"one run: {abridged(alone)}")
    low = [summary for summary in summaries if summary.coverage < CONFIDENCE]
    if low:
        least = min(summary.coverage for summary in low)
        fewest = min(summary.n for summary in low)
        return Verdict(
            PARTLY,
            f"intervals everywhere, but {fewest} repetitions cover only {100 * least:.0f} % "
            f"({len(low)} of {len(summaries)} configurations); more than 5 are needed for "
            f"{100 * CONFIDENCE:.0f} %",
        )
    return Verdict(KEPT, f"nonparametric intervals of {len(summaries)} configurations")


def _measured_comparisons(ratios: Sequence[Ratio], found: Sequence[Configuration]) -> Verdict:
    several = [one.speedup for one in ratios if one.speedup.n > 1]
    if not several:
        return Verdict(BROKEN if ratios else NOT_APPLICABLE, "no comparison has an interval")
    apart = [one for one in several if one.low > 1 or one.high < 1]
    where = f"{len(apart)} of {len(several)} speed-ups have an interval that leaves out 1"
    if min(one.summary("throughput").coverage for one in found) < CONFIDENCE:
        return Verdict(PARTLY, f"{where}, at less than {100 * CONFIDENCE:.0f} % confidence")
    return Verdict(KEPT, where)


def _percentiles(runs: pd.DataFrame, steps: pd.DataFrame) -> Verdict:
    without = runs[~runs["stem"].isin(steps["stem"])]["stem"]
    if len(without):
        return Verdict(PARTLY, f"no times of single steps: {abridged(without, 2)}")
    return Verdict(
        KEPT,
        "50th, 95th, 99th percentile and mean over median of the steps of every run "
        "(analysis.step_summary)",
    )


def _measured_setup(runs: pd.DataFrame) -> Verdict:
    missing: Counter[str] = Counter()
    bare = 0
    for stem in runs["stem"]:
        try:
            record = results.manifest(stem)
        except ScalebookError:
            bare += 1
            continue
        missing.update(
            title for name, title in RECORDS.items() if record.get(name) in (None, {}, [])
        )
        if record.get("world_size", 1) > 1 and not record.get("backend"):
            missing["backend"] += 1
        code = record.get("code") or {}
        if not code.get("commit") or code.get("dirty"):
            missing["clean commit"] += 1
    if bare:
        missing["manifest"] = bare
    if not missing:
        return Verdict(KEPT, f"manifests of all {len(runs)} runs: {abridged(RECORDS.values(), 7)}")
    gaps = ", ".join(f"{gap} of {n}" for gap, n in missing.items())
    return Verdict(PARTLY, f"manifests of {len(runs)} runs lack: {gaps}")


def _timing(runs: pd.DataFrame, steps: pd.DataFrame) -> Verdict:
    several = runs[runs["world_size"] > 1]
    if several.empty:
        return Verdict(NOT_APPLICABLE, "no parallel time is measured")
    without = several[~several["stem"].isin(steps["stem"])]["stem"]
    if len(without):
        return Verdict(PARTLY, f"times of single ranks are missing: {abridged(without, 2)}")
    return Verdict(
        KEPT,
        "a step lasts as long as its slowest rank, kept for every rank; the gradient exchange "
        "synchronises; warm-up steps left out (results/steps, analysis.step_summary)",
    )


def _measured_bounds(found: Sequence[Configuration]) -> Verdict:
    systems = sorted({one["system"] for one in found if (one["nodes"] or 1) > 1})
    if not systems:
        return Verdict(PARTLY, "ideal scaling; no run crosses a link")
    without = [system for system in systems if not study_queries.facts(system).link_gbit_s]
    where = "ideal scaling; the gradients at the rate of the link (analysis.overheads)"
    if without:
        return Verdict(PARTLY, f"{where}, which is not limited or known on {abridged(without)}")
    return Verdict(KEPT, where)
