"""Sentences of a report, tested: each typed claim against the data and against physics.

===============  ==================================================================================
type             verdict
===============  ==================================================================================
ratio,           holds if both ways to form the ratio, throughput and time per epoch, agree with
efficiency       it; contradicted if neither does; where the two contradict each other, the rate
                 that the job's own file counts decides (see `recorded`): undetermined without it
bottleneck       see `bottlenecks`: of the network, of an operator
convergence      final accuracies against a tolerance, and against the spread between seeds
sum, formula     an expression of reported values, computed
sufficiency      hours against the computed request of every target
===============  ==================================================================================

A row says nothing of intentions: it shows the computation and names the file that would decide.
"""

from __future__ import annotations

import itertools
from typing import Any

from scalebook.analysis import recorded
from scalebook.analysis.bottlenecks import bottleneck
from scalebook.analysis.checking import (
    CONTRADICTED,
    HOLDS,
    UNDETERMINED,
    agree,
    both_ways,
    row,
)
from scalebook.analysis.comparable import count, documented, plain
from scalebook.analysis.expressions import evaluate
from scalebook.analysis.linkmodel import NOT_VALIDATED
from scalebook.analysis.reported import Job, reference_of
from scalebook.contract import ScalebookError
from scalebook.proposal.resources import request_table
from scalebook.proposal.steptime import the_plan
from scalebook.values.value import number

#: Points of accuracy within which two final accuracies count as similar where a claim tells
#: none. The 95 % interval of the difference of two accuracies near 77 % on 10,000 test images,
#: 1.96 · √(2 · 0.77 · 0.23 / 10,000), is 1.2 points wide on each side.
ACCURACY_TOLERANCE = 1.0

ACCURACY = "final_val_acc"


def claim_rows(claim: dict[str, Any], jobs: dict[str, Job]) -> list[dict[str, Any]]:
    """Test one typed claim.

    Parameters
    ----------
    claim : dict
        Row of `results.claims`.
    jobs : dict of str to Job
        Every reported job by id.

    Returns
    -------
    list of dict
        Rows of the table of checks; the first is the verdict on the sentence itself.
    """
    claim = {name: plain(value) for name, value in claim.items()}
    job = jobs.get(claim["job"] or next(iter(claim["jobs"] or ()), None))
    if job is None:
        return []
    kind = claim["type"]
    if kind in ("ratio", "efficiency"):
        return _ratio(claim, job, jobs)
    if kind == "convergence":
        return _convergence(claim, [jobs[name] for name in claim["jobs"] if name in jobs])
    text = quoted(claim)
    if kind == "bottleneck":
        return [bottleneck(claim, job, jobs, text)]
    if kind == "sufficiency":
        return [_sufficiency(claim, job, text)]
    return [_expression(claim, job, text)]


def quoted(claim: dict[str, Any]) -> str:
    """The sentence in quotation marks."""
    return f"“{claim['text']}”"


def _ratio(claim: dict, job: Job, jobs: dict[str, Job]) -> list[dict]:
    reference = jobs.get(claim["reference_job"])
    if reference is None:
        return []
    metric = "speedup" if claim["type"] == "ratio" else "efficiency"
    written = f"{claim['value']:g} {claim['unit'] or ''}".strip()
    parts = both_ways(job, reference, metric, claim["value"], written, claim["id"])
    found = {one["verdict"] for one in parts if one["verdict"] != UNDETERMINED}
    verdict = found.pop() if len(found) == 1 else UNDETERMINED
    ways = ("by throughput", "by time per epoch")
    said = "; ".join(f"{way}: {one['computation']}" for way, one in zip(ways, parts))
    if {HOLDS, CONTRADICTED} <= {one["verdict"] for one in parts}:
        said += ": the two contradict each other"
    decided = f"{job.csv}: columns images, train_time_s, epoch_time_s" if job.csv else ""
    decided = "" if verdict == HOLDS else decided
    if verdict == UNDETERMINED and (counted := _counted(claim, job, reference)):
        verdict, by_file, decided = counted
        said += f"; {by_file}"
    whole = row(job, quoted(claim), verdict, said, decided, claim["id"])
    # The same number may stand among the job's values, where it is tested both ways already.
    covered = job.values.get(metric) == claim["value"] and reference_of(job, jobs) is reference
    return [whole] if covered else [whole, *parts]


def _counted(claim: dict, job: Job, reference: Job) -> tuple[str, str, str] | None:
    """Verdict by the rate that the job's own file counts, why, and the file; None without one.

    The reference's own count is taken where its file is here, else its reported rate.
    """
    settled = recorded.of_job(job)
    own = recorded.recorded(reference)
    before = own.rate if own else reference.values.get("throughput")
    if settled is None or not before or claim["metric"] not in (None, "throughput"):
        return None
    counted, found = settled
    value = counted.rate / before
    said = f"by the file, which {counted.text}: {number(counted.rate)} images/s / "
    said += f"{number(before)} images/s{'' if own else ' as reported'}"
    if claim["type"] == "efficiency":
        ranks = (job.known("world_size") or 1) / (reference.known("world_size") or 1)
        value *= 100 / ranks
        said += f" / {ranks:g} = {value:.3g} %"
    else:
        said += f" = {value:.3g} ×"
    if found == recorded.ALL_IMAGES:
        said += ", each rank training on all images"
    elif found == recorded.UNTIMED and counted.epoch_time_s:
        said += f", while an epoch takes {number(counted.epoch_time_s)} s"
    return HOLDS if agree(claim["value"], value) else CONTRADICTED, said, counted.file


# --------------------------------------------------------------------------- convergence


def _convergence(claim: dict, jobs: list[Job]) -> list[dict]:
    """Whether final accuracies are similar: as written, and beyond what chance does.

    With one seed of each configuration the numbers can contradict the sentence, but not say
    whether a configuration or its seed made the difference: that takes the spread between seeds,
    of these configurations. A spread measured elsewhere is told beside it and decides nothing.
    """
    known = {job.id: job.values[ACCURACY] for job in jobs if ACCURACY in job.values}
    owner = jobs[0]
    if len(known) < 2:
        said = "fewer than two final accuracies are reported"
        return [row(owner, quoted(claim), UNDETERMINED, said, _curves(jobs), claim["id"])]
    tolerance = claim["tolerance"] or ACCURACY_TOLERANCE
    gap = max(known.values()) - min(known.values())
    numbers = ", ".join(f"{value:g}" for value in known.values())
    similar = gap <= tolerance
    as_written = row(
        owner,
        f"final accuracies of jobs {', '.join(known)} lie within {count(tolerance, 'point')}",
        HOLDS if similar else CONTRADICTED,
        f"{numbers} %: {gap:.3g} points apart",
        "" if similar else _curves(jobs),
        claim["id"],
    )
    said = f"{numbers} %: {gap:.3g} points between the ends"
    own = _seed_differences(system=owner.known("system"))
    if own is not None and _repeated(jobs):
        # Seeds of these configurations are here: they say what chance alone does.
        verdict = CONTRADICTED if gap > max(tolerance, own) else HOLDS
        said += f"; two seeds of one configuration there lie up to {own:.3g} points apart"
    else:
        verdict = UNDETERMINED
        said += "; one seed of each, number of epochs and learning rates not reported"
        other = _seed_differences(dataset=owner.known("dataset"))
        if other is not None:
            said += (
                f"; in this study's own runs on other machines two seeds of one configuration lie "
                f"up to {other:.3g} points apart"
            )
            said += f", the reported ends {gap / other:.2g} times that" if other else ""
    sentence = row(owner, quoted(claim), verdict, said, _curves(jobs) + " with several seeds of "
                   "each", claim["id"])  # fmt: skip
    return [sentence, as_written]


def _curves(jobs: list[Job]) -> str:
    return ", ".join(job.csv for job in jobs if job.csv) or "the jobs' curves"


def _repeated(jobs: list[Job]) -> bool:
    """Whether every configuration was measured with two seeds or more on its system."""
    runs = documented()
    runs = runs[(runs["kind"] != "reported") & (runs["system"] == jobs[0].known("system"))]
    counts = runs.groupby("experiment")["seed"].nunique()
    return all(counts.get(job.known("experiment"), 0) > 1 for job in jobs)


def _seed_differences(**equal: str | None) -> float | None:
    """Largest difference in final accuracy between two seeds of one measured configuration.

    Only runs on the whole data set: a part of an epoch says nothing of where training ends.
    """
    runs = documented()
    runs = runs[(runs["kind"] != "reported") & (runs["subset"] == False)]  # noqa: E712
    for column, value in equal.items():
        same = runs[column].map(_kind_of_data) if column == "dataset" else runs[column]
        runs = runs[same == (_kind_of_data(value) if column == "dataset" else value)]
    found = [
        abs(one - other)
        for _, group in runs.groupby(["experiment", "system", "epochs", "world_size"])
        for one, other in itertools.combinations(group[ACCURACY].dropna(), 2)
    ]
    return max(found, default=None)


def _kind_of_data(name: str | None) -> str:
    """Pictures kept as JPEG are the same pictures."""
    return str(name or "").removesuffix("-jpeg")


# --------------------------------------------------------------------------- hours


def _sufficiency(claim: dict, job: Job, text: str) -> dict:
    """Hours that are said to suffice against the computed request of every target."""
    hours, own = claim["value"], "GPU-hours" if claim["unit"] == "GPU-hours" else "node-hours"
    try:
        totals = {
            machine: request_table(machine).set_index("phase").loc["total"]
            for machine in the_plan().machines
        }
    except ScalebookError as error:
        return row(job, text, UNDETERMINED, str(error), "data/plan.yaml", claim["id"])
    found = {}
    for unit, column in (("node-hours", "node_hours"), ("GPU-hours", "gpu_hours")):
        needs = {name: (one[f"{column}_low"], one[f"{column}_high"])
                 for name, one in totals.items()}  # fmt: skip
        least, most = min(low for low, _ in needs.values()), max(high for _, high in needs.values())
        verdict = HOLDS if most <= hours else CONTRADICTED if least > hours else UNDETERMINED
        ranges = ", ".join(f"{name} {low:,.0f}–{high:,.0f}" for name, (low, high) in needs.items())
        found[unit] = verdict, f"{ranges} {unit}"
    verdict, said = found.pop(own)
    said = f"computed request with contingency, {NOT_VALIDATED}: {said}"
    for unit, (other, ranges) in found.items():
        if other != verdict:
            said += f"; were they {unit}, {other}: {ranges}"
    decided = "seconds per step measured on the target" if verdict != CONTRADICTED else ""
    return row(job, text, verdict, said, decided, claim["id"])


def _expression(claim: dict, job: Job, text: str) -> dict:
    expression = claim["expression"]
    try:
        value = evaluate(expression, job.values)
    except KeyError as error:
        said = f"{expression}: {error.args[0]} is not reported"
        return row(job, text, UNDETERMINED, said, "", claim["id"])
    except (ValueError, ZeroDivisionError):
        said = f"{expression}: cannot be computed"
        return row(job, text, UNDETERMINED, said, job.file, claim["id"])
    claimed = claim["value"]
    if claimed is None:
        claimed = job.values.get(claim["metric"])
    said = f"{expression} = {value:,.6g} {claim['unit'] or ''}".strip()
    if claimed is None:
        return row(job, text, UNDETERMINED, said, claim=claim["id"])
    verdict = HOLDS if agree(claimed, value, 0.01) else CONTRADICTED
    return row(job, text, verdict, f"{said}, reported {claimed:,.6g}", claim=claim["id"])
