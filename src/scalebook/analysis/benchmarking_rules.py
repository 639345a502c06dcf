"""The twelve rules of Hoefler and Belli as a checklist over a study.

*Scientific Benchmarking of Parallel Computing Systems*, SC15, DOI 10.1145/2807591.2807644; the
rules in our words. A side is either what was reported or what was measured. Verdicts: kept,
broken, partly, or not applicable where a side has nothing the rule speaks of. They are worked out
from the contents of the study; a rule about how numbers are formed names the function that forms
them.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd

from scalebook import contract, results
from scalebook.analysis import study_queries
from scalebook.analysis.comparable import Configuration
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.reported_jobs import Job, reference_of
from scalebook.analysis.scaling import BASES, Ratio
from scalebook.analysis.statistics import CONFIDENCE
from scalebook.analysis.text import abridged
from scalebook.contract import RunFiles, ScalebookError
from scalebook.study.document import beside

DOI = "10.1145/2807591.2807644"

#: The rules, what sets a run apart, records that document the set-up, and the verdicts by case.
_WORDING = beside(__file__)
RULES: dict[int, str] = _WORDING["rules"]

VERDICTS = ("kept", "broken", "partly", "not applicable")

SIDES = ("reported", "measured")

#: Columns of `rules`.
COLUMNS = ("number", "rule", "side", "verdict", "where")

#: Reported ratios.
RATIOS = ("speedup", "efficiency")


class Verdict(NamedTuple):
    """Verdict on a rule, and where in the study it shows."""

    verdict: str
    where: str


def _as(side: str, case: str, **parts: object) -> Verdict:
    verdict, where = _WORDING[side][case]
    return Verdict(verdict, where.format(**parts))


_reported_as, _measured_as = (partial(_as, side) for side in SIDES)


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
    for side, verdicts in zip(SIDES, (_reported(evidence.jobs), _measured(evidence))):
        nothing = Verdict("not applicable", f"nothing is {side}")
        rows += [(n, rule, side, *verdicts.get(n, nothing)) for n, rule in RULES.items()]
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
    parallel = any(job.ranks > 1 for job in timed)
    return {
        1: _reported_base(jobs),
        2: _whole_machine(timed),
        3: _averages(timed),
        4: _reported_ratios(jobs),
        5: _reported_as("repeated")
        if repeated
        else _reported_as("single", jobs=abridged(job.id for job in timed)),
        6: _reported_distribution(jobs),
        7: _reported_comparisons(jobs),
        8: _reported_as("one number" if timed else "no time"),
        9: _reported_setup(timed),
        10: _reported_as("parallel time" if parallel else "no parallel time"),
        11: _reported_bounds(jobs),
        12: _reported_as("repeated plots" if repeated else "single plots"),
    }


def _timed(job: Job) -> bool:
    return any(job.values.get(basis.metric) for basis in BASES.values())


def _repeated(jobs: Sequence[Job]) -> bool:
    names = [(job.setting("system"), job.setting("experiment")) for job in jobs]
    return bool(names) and all(names.count(name) > 1 for name in names)


def _reported_base(jobs: Mapping[str, Job]) -> Verdict:
    ratios = [job for job in jobs.values() if any(job.values.get(name) for name in RATIOS)]
    pairs = {
        job.id: reference for job in ratios if (reference := reference_of(job, jobs)) is not None
    }
    if not pairs:
        return _reported_as("no speed-up")
    bare = [name for name, reference in pairs.items() if not _timed(reference)]
    bases = [f"job {reference.id}" for reference in pairs.values()]
    case = "base without a rate" if bare else "base with a rate"
    return _reported_as(case, jobs=abridged(bare or bases))


def _whole_machine(jobs: Sequence[Job]) -> Verdict:
    if not jobs:
        return _reported_as("no time")
    most: dict[str, int] = {}
    for job in jobs:
        system = job.setting("system")
        most[system] = max(job.ranks, most.get(system, 0))
    for system, used in most.items():
        facts = study_queries.facts(system)
        have = (facts.nodes or 0) * (facts.gpus_per_node or 0)
        if not have:
            return _reported_as("size unknown", system=system)
        if used < have:
            return _reported_as("part of the machine", used=used, have=have, system=system)
    return _reported_as("whole machine", have=have, system=system)


def _averages(jobs: Sequence[Job]) -> Verdict:
    rates = [job.id for job in jobs if job.values.get("throughput")]
    return _reported_as("averages" if rates else "no rate", jobs=abridged(rates))


def _reported_ratios(jobs: Mapping[str, Job]) -> Verdict:
    bare = [
        job.id
        for job in jobs.values()
        if any(name.startswith("share.") for name in job.values)
        and not any(name.endswith(("_s", "_ms", "_us")) for name in job.values)
    ]
    if bare:
        return _reported_as("bare shares", jobs=abridged(bare))
    formed = any(job.values.get(name) for job in jobs.values() for name in RATIOS)
    return _reported_as("ratios" if formed else "no ratio")


def _reported_distribution(jobs: Mapping[str, Job]) -> Verdict:
    spread = [
        job.id
        for job in jobs.values()
        if any(name.endswith(("_std", "_sd", "_sem", "_ci95")) for name in job.values)
    ]
    return _reported_as("spread" if spread else "distribution", jobs=abridged(spread))


def _reported_comparisons(jobs: Mapping[str, Job]) -> Verdict:
    compared = [job.id for job in jobs.values() if reference_of(job, jobs)]
    return _reported_as("compared" if compared else "nothing compared", jobs=abridged(compared))


def _reported_setup(jobs: Sequence[Job]) -> Verdict:
    if not jobs:
        return _reported_as("no time")
    factors = _WORDING["factors"].items()
    missing = [title for name, title in factors if any(job.setting(name) is None for job in jobs)]
    facts = study_queries.facts(jobs[0].setting("system"))
    if facts.name and not facts.link_gbit_s:
        missing.append("rate of the link")
    case = "set-up lacking" if missing else "set-up told"
    return _reported_as(case, missing=abridged(missing, 8))


def _reported_bounds(jobs: Mapping[str, Job]) -> Verdict:
    told = any(job.values.get("efficiency") for job in jobs.values())
    return _reported_as("efficiency" if told else "no bound")


# --------------------------------------------------------------------------- what was measured


def _measured(evidence: Evidence) -> dict[int, Verdict]:
    """Verdicts by number of the rule; empty where nothing was measured."""
    runs = evidence.runs[evidence.runs["kind"] != "reported"]
    if runs.empty:
        return {}
    measured = evidence.measured
    ratios = [ratio for ratio in evidence.ratios if ratio.one.kind == "measured"]
    return {
        1: _measured_base(ratios),
        2: _part_of_the_data(runs),
        3: _measured_averages(runs),
        4: _measured_ratios(ratios),
        5: _intervals(measured),
        6: _measured_distribution(measured),
        7: _measured_comparisons(ratios, measured),
        8: _percentiles(runs, evidence.steps),
        9: _measured_setup(runs),
        10: _timing(runs, evidence.steps),
        11: _measured_bounds(measured),
        12: _measured_plots(runs, measured, evidence.steps),
    }


def _measured_base(ratios: Sequence[Ratio]) -> Verdict:
    bases = abridged(f"{ratio.reference.title} on {ratio.one.machine}" for ratio in ratios)
    return _measured_as("base" if ratios else "no speed-up", bases=bases)


def _part_of_the_data(runs: pd.DataFrame) -> Verdict:
    partial = runs[runs["subset"].eq(True)]
    if partial.empty:
        return _measured_as("whole data")
    names = set(partial["experiment"])
    reasons = {
        name: campaign
        for name, campaign in study_queries.campaigns().items()
        if campaign.description
        and any(name in names and "train_images" in own for name, own in campaign.runs)
    }
    if not reasons:
        return _measured_as(
            "part of the data", names=abridged(map(study_queries.label, sorted(names)))
        )
    there = set(zip(runs["experiment"], runs["system"]))
    gaps = [
        f"{study_queries.label(experiment)} on {study_queries.label(system, 'system')}"
        for campaign in reasons.values()
        for system in partial["system"].unique()
        for experiment in campaign.experiments
        if (experiment, system) not in there
    ]
    case = "part with gaps" if gaps else "part with a reason"
    return _measured_as(
        case,
        reasons=abridged(study_queries.label(name, "campaign") for name in reasons),
        gaps=abridged(gaps),
    )


def _measured_averages(runs: pd.DataFrame) -> Verdict:
    rated = runs[runs["throughput"].notna()]["stem"].tolist()
    if not rated:
        return _measured_as("no rate")
    printed = [stem for stem, own in images_and_time(rated).items() if not own]
    case = "printed rates" if printed else "averages"
    return _measured_as(case, stems=abridged(printed, 2), all=len(rated))


@results.query
def images_and_time(stems: list[str]) -> dict[str, bool]:
    """Whether a run's epochs give the images and the time behind its rate, by stem."""
    return results.of_each(_tells_parts, stems, "csv")


def _tells_parts(now: results.Snapshot, run: RunFiles) -> bool:
    try:
        epochs = results.read_epochs(now.root / run.csv, run.csv.as_posix()).frame
    except ScalebookError:
        return False
    return {"images", "train_time_s"} <= set(epochs)


def _measured_distribution(measured: Sequence[Configuration]) -> Verdict:
    intervals, off = 0, []
    for configuration in measured:
        for metric in (basis.metric for basis in BASES.values()):
            summary = configuration.summary(metric)
            if summary.n > 1:
                intervals += 1
                if not {summary.low, summary.high} <= set(configuration.runs[metric]):
                    off.append(f"{metric} of {configuration.title} on {configuration.machine}")
    if off:
        return _measured_as("computed ends", names=abridged(off))
    return _measured_as("observed ends" if intervals else "no interval", all=intervals)


def _measured_plots(
    runs: pd.DataFrame, measured: Sequence[Configuration], steps: pd.DataFrame
) -> Verdict:
    without = _without(runs, steps)
    case = "plots without steps" if without else "plots"
    return _measured_as(case, stems=without, runs=len(runs), all=len(measured))


def _without(runs: pd.DataFrame, steps: pd.DataFrame) -> str:
    """Names of runs that recorded no steps; empty where all did."""
    return abridged(runs[~runs["stem"].isin(steps["stem"])]["stem"], 2)


def _measured_ratios(ratios: Sequence[Ratio]) -> Verdict:
    if not ratios:
        return _measured_as("no ratio")
    paired = any(ratio.pairing != "of medians" for ratio in ratios)
    return _measured_as("paired ratios" if paired else "ratios of medians")


def _intervals(measured: Sequence[Configuration]) -> Verdict:
    summaries = [configuration.summary("throughput") for configuration in measured]
    alone = [
        f"{configuration.title} on {configuration.machine}"
        for configuration, summary in zip(measured, summaries)
        if summary.n == 1
    ]
    if alone:
        return _measured_as("one run", names=abridged(alone))
    low = [summary for summary in summaries if summary.coverage < CONFIDENCE]
    if low:
        return _measured_as(
            "low coverage",
            fewest=min(summary.n for summary in low),
            least=100 * min(summary.coverage for summary in low),
            low=len(low),
            all=len(summaries),
            confidence=100 * CONFIDENCE,
        )
    return _measured_as("intervals", all=len(summaries))


def _measured_comparisons(ratios: Sequence[Ratio], measured: Sequence[Configuration]) -> Verdict:
    several = [ratio.speedup for ratio in ratios if ratio.speedup.n > 1]
    if not several:
        return _measured_as("bare comparison" if ratios else "no comparison")
    apart = [speedup for speedup in several if speedup.low > 1 or speedup.high < 1]
    weak = (
        min(configuration.summary("throughput").coverage for configuration in measured) < CONFIDENCE
    )
    counts = {"apart": len(apart), "all": len(several), "confidence": 100 * CONFIDENCE}
    return _measured_as("weak comparisons" if weak else "comparisons", **counts)


def _percentiles(runs: pd.DataFrame, steps: pd.DataFrame) -> Verdict:
    without = _without(runs, steps)
    return _measured_as("no steps" if without else "percentiles", stems=without)


def _measured_setup(runs: pd.DataFrame) -> Verdict:
    missing = Counter(itertools.chain.from_iterable(record_gaps(runs["stem"].tolist()).values()))
    if not missing:
        kept = abridged(_WORDING["records"].values(), 7)
        return _measured_as("set-up told", runs=len(runs), records=kept)
    gaps = ", ".join(f"{gap} of {n}" for gap, n in missing.items())
    return _measured_as("set-up lacking", runs=len(runs), gaps=gaps)


@results.query
def record_gaps(stems: list[str]) -> dict[str, list[str]]:
    """What is missing in each run's record of its set-up, by stem."""
    return results.of_each(_gaps, stems, "manifest")


def _gaps(now: results.Snapshot, run: RunFiles) -> list[str]:
    try:
        record = contract.read_json(now.root / run.manifest)
    except ScalebookError:
        return ["manifest"]
    records: dict[str, str] = _WORDING["records"]
    gaps = [title for name, title in records.items() if record.get(name) in (None, {}, [])]
    if record.get("world_size", 1) > 1 and not record.get("backend"):
        gaps.append("backend")
    code = record.get("code") or {}
    if not code.get("commit") or code.get("dirty"):
        gaps.append("clean commit")
    return gaps


def _timing(runs: pd.DataFrame, steps: pd.DataFrame) -> Verdict:
    several = runs[runs["world_size"] > 1]
    if several.empty:
        return _measured_as("no parallel time")
    without = _without(several, steps)
    return _measured_as("no ranks" if without else "timing", stems=without)


def _measured_bounds(measured: Sequence[Configuration]) -> Verdict:
    systems = sorted(
        {configuration["system"] for configuration in measured if (configuration["nodes"] or 1) > 1}
    )
    if not systems:
        return _measured_as("no link")
    without = [system for system in systems if not study_queries.facts(system).link_gbit_s]
    return _measured_as("unknown link" if without else "bounds", systems=abridged(without))
