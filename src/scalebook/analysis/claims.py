"""Sentences of a report, tested: each typed claim against the data and against physics.

===============  ==================================================================================
type             verdict
===============  ==================================================================================
ratio,           holds if both ways to form the ratio, throughput and time per epoch, agree with
efficiency       it; contradicted if neither does; where the two contradict each other, the rate
                 that the job's own file counts decides (see `reported_files`): undetermined
                 without it
bottleneck       see `bottlenecks`: of the network, of an operator
convergence      final accuracies against a tolerance, and against the spread between seeds
sum, formula     an expression of reported values, computed
sufficiency      hours against the computed request of every target
===============  ==================================================================================

A row says nothing of intentions: it shows the computation and names the file that would decide.
"""

import ast
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import reported_files
from scalebook.analysis.bottlenecks import bottleneck
from scalebook.analysis.checks import (
    CONTRADICTED,
    HOLDS,
    UNDETERMINED,
    Check,
    both_ways,
    columns_of,
    number_checks,
)
from scalebook.analysis.comparable import to_python
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.link_model import NOT_VALIDATED
from scalebook.analysis.reported_jobs import Job, agree, reference_of
from scalebook.analysis.text import count, number
from scalebook.contract import ScalebookError

#: Points of accuracy within which two final accuracies count as similar where a claim names
#: none. The 95 % interval of the difference of two accuracies near 77 % on 10,000 test images,
#: 1.96 · √(2 · 0.77 · 0.23 / 10,000), is 1.2 points wide on each side.
ACCURACY_TOLERANCE = 1.0

ACCURACY = "final_val_acc"

#: Units of hours that a request is made in.
HOURS = ("node-hours", "GPU-hours")

#: Gives the low and high case of the computed request, by unit of `HOURS` and by machine; raises
#: what it lacks.
RequestedHours = Callable[[], Mapping[str, Mapping[str, tuple[float, float]]]]


def check(evidence: Evidence, request: RequestedHours) -> pd.DataFrame:
    """Check all reported numbers and claims.

    Parameters
    ----------
    evidence : Evidence
        Runs and reported jobs.
    request : callable
        Gives the computed request by machine, or raises a `ScalebookError` that says what it
        lacks; asked where a claim is about hours.

    Returns
    -------
    DataFrame
        One row a check, columns of `Check`; ``verdict`` is ``"holds"``, ``"contradicted"`` or
        ``"undetermined"``.
    """
    rows = [*number_checks(evidence.jobs)]
    for claim in results.claims().to_dict("records"):
        told = {name: to_python(value) for name, value in claim.items()}
        rows += [row._replace(claim=claim["id"]) for row in _claim(told, evidence, request)]
    return pd.DataFrame(rows, columns=Check._fields)


def claimed_sentences(checks: pd.DataFrame) -> pd.DataFrame:
    """Verdict on each claimed sentence: columns ``claim``, ``text``, ``verdict``.

    Parameters
    ----------
    checks : DataFrame
        As `check` gives it.
    """
    first = checks[checks["claim"] != ""].drop_duplicates("claim")
    texts = results.claims().set_index("id")["text"].to_dict()
    return pd.DataFrame(
        {"claim": first["claim"], "text": first["claim"].map(texts), "verdict": first["verdict"]}
    ).reset_index(drop=True)


def _claim(
    claim: Mapping[str, Any], evidence: Evidence, request: RequestedHours
) -> Iterator[Check]:
    """Test one typed claim; the first row is the verdict on the sentence itself."""
    jobs = evidence.jobs
    job = jobs.get(claim["job"] or next(iter(claim["jobs"] or ()), ""))
    if job is None:
        return
    text = f"“{claim['text']}”"
    kind = claim["type"]
    if kind in ("ratio", "efficiency"):
        yield from _ratio(claim, job, text, jobs)
    elif kind == "convergence":
        yield from _convergence(
            claim, text, [jobs[name] for name in claim["jobs"] if name in jobs], evidence
        )
    elif kind == "bottleneck":
        yield bottleneck(claim, job, text, evidence)
    elif kind == "sufficiency":
        yield _sufficiency(claim, job, text, request)
    else:
        yield _expression(claim, job, text)


# --------------------------------------------------------------------------- ratios


def _ratio(
    claim: Mapping[str, Any], job: Job, text: str, jobs: Mapping[str, Job]
) -> Iterator[Check]:
    reference = jobs.get(claim["reference_job"])
    if reference is None:
        return
    metric = "speedup" if claim["type"] == "ratio" else "efficiency"
    written = f"{claim['value']:g} {claim['unit'] or ''}".strip()
    parts = [*both_ways(job, reference, metric, claim["value"], written)]
    verdicts = {part.verdict for part in parts if part.verdict != UNDETERMINED}
    verdict = verdicts.pop() if len(verdicts) == 1 else UNDETERMINED
    ways = ("by throughput", "by time per epoch")
    computation = "; ".join(f"{way}: {part.computation}" for way, part in zip(ways, parts))
    if {HOLDS, CONTRADICTED} <= {part.verdict for part in parts}:
        computation += ": the two contradict each other"
    decided = "" if verdict == HOLDS else columns_of(job)
    if verdict == UNDETERMINED and (counted := _by_file(claim, job, reference)):
        verdict, by_file, decided = counted
        computation += f"; {by_file}"
    yield Check.of(job, text, verdict, computation, decided)
    # The same number may stand among the job's values, where it is tested both ways already.
    if job.values.get(metric) != claim["value"] or reference_of(job, jobs) is not reference:
        yield from parts


def _by_file(claim: Mapping[str, Any], job: Job, reference: Job) -> tuple[str, str, str] | None:
    """Verdict by the rate that the job's own file counts, why, and the file; None without one.

    The reference's own count is taken where its file is here, else its reported rate.
    """
    settled = reported_files.settled(job)
    own = reported_files.counts(reference)
    before = own.rate if own else reference.values.get("throughput")
    if settled is None or not before or claim["metric"] not in (None, "throughput"):
        return None
    counted, finding = settled
    value = counted.rate / before
    reason = f"by the file, which {counted.text}: {number(counted.rate)} images/s / "
    reason += f"{number(before)} images/s{'' if own else ' as reported'}"
    if claim["type"] == "efficiency":
        ranks = job.ranks / reference.ranks
        value *= 100 / ranks
        reason += f" / {ranks:g} = {value:.3g} %"
    else:
        reason += f" = {value:.3g} ×"
    if finding == reported_files.ALL_IMAGES:
        reason += ", each rank training on all images"
    elif finding == reported_files.UNTIMED and counted.epoch_time_s:
        reason += f", while an epoch takes {number(counted.epoch_time_s)} s"
    return HOLDS if agree(claim["value"], value) else CONTRADICTED, reason, counted.file


# --------------------------------------------------------------------------- convergence


def _convergence(
    claim: Mapping[str, Any], text: str, jobs: Sequence[Job], evidence: Evidence
) -> Iterator[Check]:
    """Whether final accuracies are similar: as claimed, and beyond what chance explains.

    With one seed of each configuration the numbers can contradict the sentence, but not say
    whether a configuration or its seed made the difference: that takes the spread between seeds,
    of these configurations. A spread measured elsewhere stands beside it and decides nothing.
    """
    owner = jobs[0]
    curves = ", ".join(job.csv for job in jobs if job.csv) or "the jobs' curves"
    finals = {job.id: job.values[ACCURACY] for job in jobs if ACCURACY in job.values}
    if len(finals) < 2:
        missing = "fewer than two final accuracies are reported"
        yield Check.of(owner, text, UNDETERMINED, missing, curves)
        return
    tolerance = claim["tolerance"] or ACCURACY_TOLERANCE
    gap = max(finals.values()) - min(finals.values())
    numbers = ", ".join(f"{value:g}" for value in finals.values())
    computation = f"{numbers} %: {gap:.3g} points between the ends"
    measured = evidence.runs[evidence.runs["kind"] != "reported"]
    there = measured[measured["system"] == owner.setting("system")]
    own = _between_seeds(there)
    if own is not None and _repeated(jobs, there):
        # Seeds of these configurations are here: they say what chance alone does.
        verdict = CONTRADICTED if gap > max(tolerance, own) else HOLDS
        computation += f"; two seeds of one configuration there lie up to {own:.3g} points apart"
    else:
        verdict = UNDETERMINED
        computation += "; one seed of each, number of epochs and learning rates not reported"
        pictures = _pictures(owner.setting("dataset"))
        elsewhere = _between_seeds(measured[measured["dataset"].map(_pictures) == pictures])
        if elsewhere is not None:
            computation += (
                f"; in this study's own runs on other machines two seeds of one configuration lie "
                f"up to {elsewhere:.3g} points apart"
            )
            computation += (
                f", the reported ends {gap / elsewhere:.2g} times that" if elsewhere else ""
            )
    several = f"{curves} with several seeds of each"
    yield Check.of(owner, text, verdict, computation, several)
    similar = gap <= tolerance
    yield Check.of(
        owner,
        f"final accuracies of jobs {', '.join(finals)} lie within {count(tolerance, 'point')}",
        HOLDS if similar else CONTRADICTED,
        f"{numbers} %: {gap:.3g} points apart",
        "" if similar else curves,
    )


def _repeated(jobs: Sequence[Job], measured: pd.DataFrame) -> bool:
    """Whether every configuration was measured with two seeds or more."""
    seeds = measured.groupby("experiment")["seed"].nunique()
    return all(seeds.get(job.setting("experiment"), 0) > 1 for job in jobs)


def _between_seeds(measured: pd.DataFrame) -> float | None:
    """Largest difference in final accuracy between two seeds of one configuration.

    Only runs on the whole data set: a part of an epoch says nothing of where training ends.
    """
    whole = measured[measured["subset"].eq(False)]
    return max(
        (
            float(abs(one - other))
            for _, group in whole.groupby(["experiment", "system", "epochs", "world_size"])
            for one, other in itertools.combinations(group[ACCURACY].dropna(), 2)
        ),
        default=None,
    )


def _pictures(dataset: str | None) -> str:
    """Name of the pictures themselves: CIFAR-10 kept as JPEG shows the same ones."""
    return str(dataset or "").removesuffix("-jpeg")


# --------------------------------------------------------------------------- hours, expressions


def _sufficiency(claim: Mapping[str, Any], job: Job, text: str, request: RequestedHours) -> Check:
    """Hours that are said to suffice against the computed request of every target."""
    try:
        needs = request()
    except ScalebookError as error:
        return Check.of(job, text, UNDETERMINED, str(error), "data/plan.yaml")
    by_unit = {}
    for unit in HOURS:
        least = min(low for low, _ in needs[unit].values())
        most = max(high for _, high in needs[unit].values())
        verdict = UNDETERMINED
        if most <= claim["value"]:
            verdict = HOLDS
        elif least > claim["value"]:
            verdict = CONTRADICTED
        ranges = [f"{name} {low:,.0f}–{high:,.0f}" for name, (low, high) in needs[unit].items()]
        by_unit[unit] = verdict, f"{', '.join(ranges)} {unit}"
    verdict, hours = by_unit.pop(claim["unit"] if claim["unit"] in HOURS else HOURS[0])
    computation = f"computed request with contingency, {NOT_VALIDATED}: {hours}"
    for unit, (other, hours) in by_unit.items():
        if other != verdict:
            computation += f"; were they {unit}, {other}: {hours}"
    decided = "seconds per step measured on the target" if verdict != CONTRADICTED else ""
    return Check.of(job, text, verdict, computation, decided)


def _expression(claim: Mapping[str, Any], job: Job, text: str) -> Check:
    expression = claim["expression"]
    try:
        value = evaluate(expression, job.values)
    except KeyError as error:
        missing = f"{expression}: {error.args[0]} is not reported"
        return Check.of(job, text, UNDETERMINED, missing)
    except (ValueError, ZeroDivisionError):
        wrong = f"{expression}: cannot be computed"
        return Check.of(job, text, UNDETERMINED, wrong, job.file)
    claimed = claim["value"]
    if claimed is None:
        claimed = job.values.get(claim["metric"])
    computation = f"{expression} = {value:,.6g} {claim['unit'] or ''}".strip()
    if claimed is None:
        return Check.of(job, text, UNDETERMINED, computation)
    verdict = HOLDS if agree(claimed, value, 0.01) else CONTRADICTED
    computation += f", reported {claimed:,.6g}"
    return Check.of(job, text, verdict, computation)


_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str, values: Mapping[str, float]) -> float:
    """Compute ``+ - * /`` over names and numbers; nothing else is understood.

    Raises
    ------
    KeyError
        If a name has no value.
    ValueError
        For anything that is not such an expression.
    """

    def walk(node: ast.AST) -> float:
        if isinstance(node, ast.Expression):
            return walk(node.body)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        number = node.value if isinstance(node, ast.Constant) else None
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return float(number)
        if isinstance(node, ast.Name):
            return values[node.id]
        raise ValueError("not an arithmetic expression")

    try:
        return float(walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, RecursionError, OverflowError):
        raise ValueError("not an arithmetic expression") from None
