"""The rules over what was reported: numbers without the files behind them."""

from __future__ import annotations

from scalebook.analysis.declared import machine_facts
from scalebook.analysis.reported import BASES, Job, reference_of, reported_jobs
from scalebook.analysis.ruling import BROKEN, KEPT, NOT_APPLICABLE, PARTLY, Ruling, listed

RATIOS = ("speedup", "efficiency")
RATES = ("throughput",)

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


def rulings() -> dict[int, Ruling]:
    """Verdicts by number of the rule; empty where no job is reported."""
    everything = reported_jobs()
    jobs = {name: job for name, job in everything.items() if job.row}
    if not jobs:
        return {}
    timed = [job for job in jobs.values() if any(job.values.get(m) for m, _, _ in BASES)]
    repeated = _repeated(timed)
    single = "one value of each configuration"
    return {
        1: _base_case(jobs),
        2: _whole_machine(timed),
        3: _averages(timed),
        4: _ratios(jobs),
        5: Ruling(PARTLY, "several runs of each configuration, no interval reported")
        if repeated
        else Ruling(BROKEN, f"{single}, no interval: jobs {listed(job.id for job in timed)}"),
        6: Ruling(NOT_APPLICABLE, "no distribution is assumed or shown"),
        7: _comparisons(jobs),
        8: Ruling(BROKEN, "one number for a whole run: no percentile, no time per step")
        if timed
        else Ruling(NOT_APPLICABLE, "no time is reported"),
        9: _setup(timed),
        10: Ruling(BROKEN, "not told what was timed, on which rank, after which synchronisation")
        if any((job.known("world_size") or 1) > 1 for job in timed)
        else Ruling(NOT_APPLICABLE, "no parallel time is reported"),
        11: _bounds(jobs),
        12: Ruling(PARTLY, "no distribution of steps reported that a plot could show")
        if repeated
        else Ruling(BROKEN, f"{single}: nothing behind it is there to be shown"),
    }


def _repeated(jobs: list[Job]) -> bool:
    names = [(job.known("system"), job.known("experiment")) for job in jobs]
    return bool(names) and all(names.count(name) > 1 for name in names)


def _base_case(jobs: dict[str, Job]) -> Ruling:
    ratios = [job for job in jobs.values() if any(job.values.get(name) for name in RATIOS)]
    pairs = {job.id: reference_of(job, jobs) for job in ratios}
    pairs = {name: other for name, other in pairs.items() if other is not None}
    if not pairs:
        return Ruling(NOT_APPLICABLE, "no speed-up is reported")
    bare = [name for name, other in pairs.items()
            if not any(other.values.get(metric) for metric, _, _ in BASES)]  # fmt: skip
    if bare:
        return Ruling(BROKEN, f"no absolute time or rate of the base of {listed(bare)}")
    bases = listed(f"job {other.id}" for other in pairs.values())
    return Ruling(
        PARTLY,
        f"absolute rate of the base is told ({bases}); not whether it is the parallel program on "
        "one rank or the best serial one",
    )


def _whole_machine(jobs: list[Job]) -> Ruling:
    if not jobs:
        return Ruling(NOT_APPLICABLE, "no time is reported")
    for system in {job.known("system") for job in jobs}:
        facts = machine_facts(system) or {}
        have = (facts.get("nodes") or 0) * (facts.get("gpus_per_node") or 0)
        used = max(job.known("world_size") or 1 for job in jobs if job.known("system") == system)
        if not have:
            return Ruling(PARTLY, f"size of {system} is not known")
        if used < have:
            return Ruling(BROKEN, f"{used} of {have} GPUs of {system}, no reason given")
    return Ruling(KEPT, f"the largest run uses all {have} GPUs of {system}")


def _averages(jobs: list[Job]) -> Ruling:
    rates = [job.id for job in jobs if any(job.values.get(name) for name in RATES)]
    if not rates:
        return Ruling(NOT_APPLICABLE, "no rate is reported")
    return Ruling(BROKEN, f"not told how the rates of jobs {listed(rates)} were averaged")


def _ratios(jobs: dict[str, Job]) -> Ruling:
    bare = [job.id for job in jobs.values()
            if any(name.startswith("share.") for name in job.values)
            and not any(name.endswith(("_s", "_ms", "_us")) for name in job.values)]  # fmt: skip
    if bare:
        return Ruling(
            PARTLY, f"speed-ups have their rates beside them; shares of job {listed(bare)} do not"
        )
    if any(job.values.get(name) for job in jobs.values() for name in RATIOS):
        return Ruling(KEPT, "each ratio is of one pair, whose rates are told")
    return Ruling(NOT_APPLICABLE, "no ratio is reported")


def _comparisons(jobs: dict[str, Job]) -> Ruling:
    compared = [job.id for job in jobs.values() if reference_of(job, jobs)]
    if not compared:
        return Ruling(NOT_APPLICABLE, "nothing is compared")
    return Ruling(BROKEN, f"jobs {listed(compared)} are compared by single values")


def _setup(jobs: list[Job]) -> Ruling:
    if not jobs:
        return Ruling(NOT_APPLICABLE, "no time is reported")
    missing = [title for name, title in FACTORS.items()
               if any(job.known(name) is None for job in jobs)]  # fmt: skip
    facts = machine_facts(jobs[0].known("system"))
    if facts and not facts.get("link_gbit_s"):
        missing.append("rate of the link")
    if not missing:
        return Ruling(KEPT, "configuration and system of every job are told")
    return Ruling(BROKEN, f"not told: {listed(missing, 8)}")


def _bounds(jobs: dict[str, Job]) -> Ruling:
    if any(job.values.get("efficiency") for job in jobs.values()):
        return Ruling(PARTLY, "efficiency against ideal scaling; none against the GPU or the link")
    return Ruling(BROKEN, "no bound is reported")
