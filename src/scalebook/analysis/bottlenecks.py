"""Claims that something is the bottleneck: the network, or an operator.

The network limits a run if more than half of what the run loses against its share of the
reference's step is there; that takes a *control*, as many ranks on the reference's nodes (see
`step_parts`). Without one the bytes of the gradients and the rate of the link bound how large a
batch the loss could come from the link at all (see `reported_jobs`).

An operator is the bottleneck of a trace if no other group has more of the device's time, grouped
by the *operator that launched* each kernel. Names of kernels do not tell: most of a convolution
runs in kernels that are named after matrix products.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any

from scalebook import results, traces
from scalebook.analysis import study_queries
from scalebook.analysis.checks import CONTRADICTED, HOLDS, UNDETERMINED, Check
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.reported_jobs import LINKS, PREFIXES, Job, network_bounds
from scalebook.analysis.step_parts import StepParts
from scalebook.analysis.text import number
from scalebook.contract import ScalebookError, Stem

NETWORK = "network"


def bottleneck(claim: Mapping[str, Any], job: Job, text: str, evidence: Evidence) -> Check:
    """Test a claim of type ``bottleneck``, whose sentence is `text`."""
    if claim["subject"] == NETWORK:
        verdict, computation, decided = _network(job, evidence)
    else:
        verdict, computation, decided = _operator(claim["subject"], job, evidence.jobs)
    return Check.of(job, text, verdict, computation, decided)


# --------------------------------------------------------------------------- network


def _network(job: Job, evidence: Evidence) -> tuple[str, str, str]:
    """Verdict, why, and what would decide it."""
    controlled = [step for step in evidence.step_parts if step.parts["network"].n]
    own = (job.setting("experiment"), job.setting("system"))
    for step in controlled:
        if (step.one["experiment"], step.one["system"]) == own:
            return _by_control(step)
    reasons = [*_bound(job, evidence.jobs)]
    reported = {
        "the rate of the link": study_queries.facts(job.setting("system")).link_gbit_s,
        "the batch": job.setting("global_batch"),
    }
    missing = [name for name, value in reported.items() if not value]
    if missing:
        reasons.append(f"{' and '.join(missing)} not reported")
    if controlled:
        analogy = "; ".join(
            f"{number(step.parts['network'].median)} of {number(step.parts['step'].median)} ms on "
            f"{step.one.machine}"
            for step in controlled
        )
        reasons.append(
            f"as an analogy only, where a control was measured the network has {analogy}"
        )
    decided = (
        f"all-reduce curve of {job.setting('system')} (results/allreduce), batch size, trace of "
        f"job {job.id} with its collectives"
    )
    nothing = "no measurement of what the ranks waited for was reported"
    return UNDETERMINED, "; ".join(reasons) or nothing, decided


def _by_control(parts: StepParts) -> tuple[str, str, str]:
    network, lost = parts.parts["network"], parts.parts["overhead"].median
    computation = (
        f"measured on {parts.one.machine}: network {network.median:.3g} ms of {lost:.3g} ms "
        "that a step loses"
    )
    if network.low > lost / 2:
        return HOLDS, computation, ""
    return CONTRADICTED if network.high < lost / 2 else UNDETERMINED, computation, ""


def _bound(job: Job, jobs: Mapping[str, Job]) -> list[str]:
    """Up to which batch the link could explain the whole loss."""
    bounds = {bound.metric: bound.value for bound in network_bounds(jobs) if bound.job_id == job.id}
    if not bounds:
        return []
    reasons = [f"{bounds['gradient_mb']:.1f} MB of gradients are exchanged a step"]
    readings = {
        reading: prefix
        for reading, prefix in PREFIXES.items()
        if f"{prefix}gap_us_per_image" in bounds
    }
    for reading, prefix in readings.items():
        reason = f"read as {reading}, " if len(readings) > 1 else ""
        reason += f"{bounds[f'{prefix}gap_us_per_image']:.3g} µs an image are lost"
        matching = [
            f"{bounds[name]:,.0f} images at {rate} Gbit/s"
            for rate in LINKS
            if (name := f"{prefix}matching_batch_{rate}gbit") in bounds
        ]
        if matching:
            reason += f", what the exchange takes at a global batch of {', '.join(matching)}"
        reasons.append(reason)
    if any("matching" in name for name in bounds):
        reasons.append("at a larger batch the link cannot be all of it")
    return reasons


# --------------------------------------------------------------------------- operators


def _operator(subject: str, job: Job, jobs: Mapping[str, Job]) -> tuple[str, str, str]:
    """Verdict, why, and what would decide it."""
    traced = _from_trace(job, jobs)
    if traced is not None:
        file, shares = traced
        first = max(shares, key=lambda group: shares[group])
        computation = (
            f"{file}, by operator: {_name(first)} {shares[first]:.3g} %, {_name(subject)} "
            f"{shares.get(subject, 0.0):.3g} %"
        )
        return HOLDS if first == subject else CONTRADICTED, computation, ""
    shares = {
        name.removeprefix("share."): value
        for name, value in job.values.items()
        if name.startswith("share.")
    }
    computation = "no measurement of what the devices waited for was reported"
    if subject in shares:
        named = {name: value for name, value in shares.items() if name != "other"}
        rank = sorted(named, key=lambda group: named[group], reverse=True).index(subject) + 1
        computation = (
            f"{_name(subject)} has {shares[subject]:g} % of GPU time, rank {rank} of "
            f"{len(named)} named groups"
        )
        if "other" in shares:
            computation += f", while {shares['other']:g} % is in no named group"
        computation += "; by kernel name, parts of a convolution count as other groups"
    decided = f"profiler trace of job {job.id} (results/profiling/*.pt.trace.json)"
    return UNDETERMINED, computation, decided


def _name(group: str) -> str:
    return group.replace("_", " ")


def _from_trace(job: Job, jobs: Mapping[str, Job]) -> tuple[str, dict[str, float]] | None:
    """First trace that belongs to a reported job, and its shares by operator in percent."""
    for file in traces.trace_files():
        if not belongs(file, job, jobs):
            continue
        try:
            by_operator = traces.trace_summary(file)["by_operator"]
        except ScalebookError:
            # A damaged file decides nothing; the profile page says what is wrong with it.
            continue
        total = sum(by_operator.values())
        if total:
            return file, {name: 100 * value / total for name, value in by_operator.items()}
    return None


def belongs(file: str, job: Job, jobs: Mapping[str, Job]) -> bool:
    """Whether a trace is the job's: by its id, else by the one pattern of files that it fits."""
    try:
        return Stem.parse(traces.run_of(file)).job_id == job.id
    except ScalebookError:
        pass
    expected = results.reported_files()
    matching = [
        job_id
        for job_id in jobs
        if any(
            fnmatch.fnmatchcase(file.removesuffix(".gz"), pattern)
            for pattern in expected.get(job_id, [])
        )
    ]
    return matching == [job.id]
