"""Claims that something is the bottleneck: the network, or an operator.

The network limits a run if more than half of what the run loses against its share of the
reference's step is there; that takes a *control*, as many ranks on the reference's nodes (see
`step_parts`). Without one the bytes of the gradients and the rate of the link bound how large a
batch the loss could come from the link at all (see `exchange`).

An operator is the bottleneck of a trace if no other group has more of the device's time, grouped
by the *operator that launched* each kernel. Names of kernels do not tell: most of a convolution
runs in kernels that are named after matrix products.
"""

from __future__ import annotations

import fnmatch
from pathlib import PurePosixPath
from typing import Any

from scalebook import results, traces
from scalebook.analysis import exchange
from scalebook.analysis.checking import CONTRADICTED, HOLDS, UNDETERMINED, row
from scalebook.analysis.declared import link_rate
from scalebook.analysis.reported import Job
from scalebook.analysis.step_parts import overheads
from scalebook.contract import ScalebookError, Stem
from scalebook.values.value import number

NETWORK = "network"


def bottleneck(claim: dict[str, Any], job: Job, jobs: dict[str, Job], text: str) -> dict[str, Any]:
    """Test a claim of type ``bottleneck``; returns its row of the table of checks."""
    if claim["subject"] == NETWORK:
        return _network(claim, job, text)
    return _operator(claim, job, jobs, text)


# --------------------------------------------------------------------------- network


def _network(claim: dict, job: Job, text: str) -> dict:
    parts = overheads()
    ours = parts[(parts["system"] == job.known("system")) & parts["network_ms"].notna()]
    ours = ours[ours["experiment"] == job.known("experiment")]
    if len(ours):
        one = ours.iloc[0]
        said = (
            f"measured on {one['system']}: network {one['network_ms']:.3g} ms of "
            f"{one['overhead_ms']:.3g} ms that a step loses"
        )
        half = one["overhead_ms"] / 2
        verdict = UNDETERMINED
        if one["network_ms_low"] > half:
            verdict = HOLDS
        elif one["network_ms_high"] < half:
            verdict = CONTRADICTED
        return row(job, text, verdict, said, claim=claim["id"])
    bounds = {one.key.rpartition(".")[2]: one.value for one in exchange.values()
              if one.runs == (job.id,)}  # fmt: skip
    said = []
    if "gap_us_per_image" in bounds:
        gap, size = bounds["gap_us_per_image"], bounds["gradient_mb"]
        said.append(f"by throughput {gap:.3g} µs an image are lost, {size:.1f} MB of gradients a "
                    "step are exchanged")  # fmt: skip
        matching = [
            f"{bounds[name]:,.0f} images at {rate} Gbit/s"
            for rate in exchange.LINKS
            if (name := f"matching_batch_{rate}gbit") in bounds
        ]
        if matching:
            said.append(
                f"exchanging them takes as long as the loss at a global batch of "
                f"{', '.join(matching)}; at a larger one the link cannot be all of it"
            )
    missing = [name for name, known in (("the rate of the link", link_rate(job.known("system"))),
                                        ("the batch", job.known("global_batch")))
               if not known]  # fmt: skip
    if missing:
        said.append(f"{' and '.join(missing)} not reported")
    elsewhere = parts[parts["network_ms"].notna()]
    if len(elsewhere):
        analogy = "; ".join(
            f"{number(one.network_ms)} of {number(one.step_ms)} ms on {one.system}"
            for one in elsewhere.itertuples()
        )
        said.append(f"as an analogy only, where a control was measured the network has {analogy}")
    decided = (
        f"all-reduce curve of {job.known('system')} (results/allreduce), batch size, trace of job "
        f"{job.id} with its collectives"
    )
    verdict_text = "; ".join(said) or "no measurement of what the ranks waited for was reported"
    return row(job, text, UNDETERMINED, verdict_text, decided, claim["id"])


# --------------------------------------------------------------------------- operators


def _operator(claim: dict, job: Job, jobs: dict[str, Job], text: str) -> dict:
    subject = claim["subject"]
    traced = _from_trace(job, jobs)
    if traced is not None:
        file, shares = traced
        first = max(shares, key=shares.get)
        said = (
            f"{file}, by operator: {_name(first)} {shares[first]:.3g} %, {_name(subject)} "
            f"{shares.get(subject, 0.0):.3g} %"
        )
        verdict = HOLDS if first == subject else CONTRADICTED
        return row(job, text, verdict, said, claim=claim["id"])
    shares = {name.removeprefix("share."): value for name, value in job.values.items()
              if name.startswith("share.")}  # fmt: skip
    said = "no measurement of what the devices waited for was reported"
    if subject in shares:
        named = {name: value for name, value in shares.items() if name != "other"}
        rank = sorted(named, key=named.get, reverse=True).index(subject) + 1
        said = (
            f"{_name(subject)} has {shares[subject]:g} % of GPU time, rank {rank} of "
            f"{len(named)} named groups"
        )
        if "other" in shares:
            said += f", while {shares['other']:g} % is in no named group"
        said += "; by kernel name, parts of a convolution count as other groups"
    decided = f"profiler trace of job {job.id} (results/profiling/*.pt.trace.json)"
    return row(job, text, UNDETERMINED, said, decided, claim["id"])


def _name(group: str) -> str:
    return group.replace("_", " ")


def _from_trace(job: Job, jobs: dict[str, Job]) -> tuple[str, dict[str, float]] | None:
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


def belongs(file: str, job: Job, jobs: dict[str, Job]) -> bool:
    """Whether a trace is the job's: it carries its id, or no run's name and only its pattern."""
    name = PurePosixPath(file).name
    try:
        return Stem.parse(name.split(".")[0].rsplit("_rank", 1)[0]).job_id == job.id
    except ScalebookError:
        pass
    expected = results.reported_files()

    def matches(other: str) -> bool:
        patterns = expected.get(other, [])
        return any(fnmatch.fnmatchcase(file.removesuffix(".gz"), one) for one in patterns)

    return matches(job.id) and not any(matches(other) for other in jobs if other != job.id)
