"""Reported numbers held against each other, against the machine, and against files.

Nothing here says what happened: a check says whether two statements can both be
true, shows the computation, and names the file that would decide.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from typing import Any

import pandas as pd

from scalebook import results
from scalebook.analysis import scaling
from scalebook.analysis.comparable import plain
from scalebook.analysis.declared import device_peak
from scalebook.analysis.flops import DATASETS, training_gflop

#: Two numbers agree if they differ by less than this: reported values are rounded
#: (11 s is 10.5 to 11.5 s), and a throughput leaves out warm-up and validation.
TOLERANCE = 0.10

HOLDS, CONTRADICTED, UNDETERMINED = "holds", "contradicted", "undetermined"

COLUMNS = ("job_id", "statement", "verdict", "computation", "decided_by", "source_file")

#: Columns of `check` for a reader.
CHECK_HEADERS = {
    "job_id": "job",
    "statement": "statement",
    "verdict": "verdict",
    "computation": "computation",
    "decided_by": "decided by",
}

#: The two ways to form a ratio: metric, whether more is better, name in keys.
BASES = (("throughput", True, "throughput"), ("epoch_time_s", False, "epoch_time"))

STEMS = ("imagenet", "cifar")


class _Job:
    """One reported job: its configuration, its values, the files it should have left."""

    def __init__(self, job_id: str, values: pd.DataFrame, runs: pd.DataFrame) -> None:
        self.id = job_id
        self.values = {row.metric: row.value for row in values.itertuples()}
        self.units = {row.metric: plain(row.unit) or "" for row in values.itertuples()}
        self.written = {row.metric: _written(row) for row in values.itertuples()}
        self.file = values["source_file"].iloc[0] if len(values) else ""
        same = runs[runs["job_id"].astype(str) == job_id]
        reported = same[same["kind"] == "reported"]
        self.row = reported.iloc[0].to_dict() if len(reported) else {}
        measured = same[(same["kind"] != "reported") & (same["status"] == "finished")]
        self.measured = measured.iloc[0].to_dict() if len(measured) else {}
        stem = plain(self.row.get("stem"))
        self.csv = f"results/csv/{stem}.csv" if stem else ""

    def known(self, name: str) -> Any:
        """Entry of the configuration; None where it was not reported."""
        return plain(self.row.get(name))

    @property
    def dataset(self) -> tuple[int | None, int | None, int | None]:
        """Training images, image size and classes; None where unknown."""
        images, size, classes = DATASETS.get(self.known("dataset"), (None, None, None))
        return self.known("train_images") or images, size, classes


def check() -> pd.DataFrame:
    """Check all reported numbers and claims.

    Returns
    -------
    DataFrame
        One row a check, columns `COLUMNS`; ``verdict`` is ``"holds"``, ``"contradicted"`` or
        ``"undetermined"``.
    """
    jobs = _jobs()
    claims = results.claims()
    rows: list[dict[str, Any]] = []
    for job in jobs.values():
        rows += _epoch_images(job)
        rows += _ratios(job, jobs, claims)
        rows += _flop_rate(job)
        rows += _shares(job)
        rows += _against_file(job)
    rows += [row for claim in claims.to_dict("records") for row in _claim(claim, jobs)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def modelled() -> pd.DataFrame:
    """Numbers that follow from the reported ones, each with its formula.

    Returns
    -------
    DataFrame
        Columns ``job_id``, ``metric``, ``value``, ``unit``, ``formula``.
    """
    jobs = _jobs()
    rows = []
    for job in jobs.values():
        for metric, value, unit, formula in _derived(job, jobs):
            rows.append((job.id, metric, value, unit, formula))
    return pd.DataFrame(rows, columns=["job_id", "metric", "value", "unit", "formula"])


def _jobs() -> dict[str, _Job]:
    values, runs = results.reported(), results.runs(kind=["reported", "imported"])
    if not values.empty:
        ids = dict.fromkeys(values["job_id"].astype(str))
        # A measured run may carry the id of a reported job as well.
        runs = pd.concat([runs, results.runs(kind="measured", job_id=list(ids))])
    else:
        ids = {}
    return {name: _Job(name, values[values["job_id"].astype(str) == name], runs) for name in ids}


def _written(row: Any) -> str:
    return f"{row.value:,.6g} {plain(row.unit) or ''}".strip()


# --------------------------------------------------------------------------- derived


def _derived(job: _Job, jobs: dict[str, _Job]) -> Iterator[tuple[str, float, str, str]]:
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    images, size, classes = job.dataset
    if rate and epoch:
        formula = f"{rate:,.6g} images/s × {epoch:g} s"
        yield "images_by_throughput", rate * epoch, "images", formula
    if images and epoch:
        formula = f"{images:,} images / {epoch:g} s"
        yield "throughput_by_epoch_time", images / epoch, "images/s", formula
    reference = _reference(job, jobs)
    if reference:
        for metric, more, name in BASES:
            ratio = _ratio(job, reference, metric, more)
            if ratio:
                value, formula = ratio
                yield f"speedup_by_{name}", value, "", formula
                ranks, before = job.known("world_size"), reference.known("world_size")
                if ranks and before and ranks != before:
                    share = scaling.efficiency(value, ranks, before)
                    yield f"efficiency_by_{name}", share, "%", f"{formula}, / {ranks / before:g}"
    for stem in _stems(job):
        work = training_gflop(job.known("model"), stem, size, classes) if size else None
        if work is None or not rate:
            continue
        yield f"gflop_per_image_{stem}", work, "GFLOP", f"6 × multiply-adds, {stem} stem"
        formula = f"{rate:,.6g} images/s × {work:.3g} GFLOP ({stem} stem)"
        yield f"tflops_{stem}", rate * work / 1e3, "TFLOP/s", formula
        peak = _peak(job)
        if peak:
            share = 100 * rate * work / 1e3 / peak / (job.known("world_size") or 1)
            yield f"peak_share_{stem}", share, "%", f"{formula}, / {peak:g} TFLOP/s a device"


def _stems(job: _Job) -> tuple[str, ...]:
    return (job.known("model_stem"),) if job.known("model_stem") else STEMS


def _reference(job: _Job, jobs: dict[str, _Job]) -> _Job | None:
    """The reported job that `job` is compared with: same file, same system."""
    name = job.known("reference")
    for other in jobs.values():
        same = other.file == job.file and other.known("experiment") == name
        if name and same and other is not job:
            return other
    return None


def _ratio(job: _Job, reference: _Job, metric: str, more: bool) -> tuple[float, str] | None:
    value, before = job.values.get(metric), reference.values.get(metric)
    if not value or not before:
        return None
    top, bottom = (value, before) if more else (before, value)
    unit = job.units[metric]
    formula = f"{top:,.6g} {unit} / {bottom:,.6g} {unit}"
    return scaling.speedup(value, before, more), formula


def _peak(job: _Job) -> float | None:
    """Arithmetic peak of one device at the job's precision, in TFLOP/s."""
    system, precision = job.known("system"), job.known("precision")
    if not system or not precision or job.known("device") == "cpu":
        return None
    return device_peak(system, precision)


# --------------------------------------------------------------------------- checks


def _row(job: _Job, statement: str, verdict: str, computation: str, decided_by: str = "") -> dict:
    return {
        "job_id": job.id,
        "statement": statement,
        "verdict": verdict,
        "computation": computation,
        "decided_by": decided_by,
        "source_file": job.file,
    }


def _agree(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    return abs(one - other) <= tolerance * abs(other)


def _epoch_images(job: _Job) -> list[dict]:
    """Throughput times epoch time is the number of images an epoch processed."""
    rate, epoch = job.values.get("throughput"), job.values.get("epoch_time_s")
    if not rate or not epoch:
        return []
    images = job.dataset[0]
    statement = f"{job.written['throughput']} and {job.written['epoch_time_s']} an epoch"
    computation = f"{rate:,.6g} images/s × {epoch:g} s = {rate * epoch:,.6g} images"
    if not images:
        return [_row(job, statement, UNDETERMINED, f"{computation}; training set size unknown",
                     job.csv)]  # fmt: skip
    factor = rate * epoch / images
    computation += f", {factor:.2f} × the {images:,} of the training set"
    if _agree(factor, 1.0):
        return [_row(job, statement, HOLDS, computation)]
    computation += f"; {images:,} / {epoch:g} s would be {images / epoch:,.6g} images/s"
    ranks = job.known("world_size") or 1
    if ranks > 1 and _agree(factor, ranks):
        computation += (
            f". Both could hold if each of {ranks} ranks trained on all images, if a rate was "
            f"multiplied by {ranks}, or if part of the epoch was not timed"
        )
    decided = f"{job.csv}: columns images, train_time_s, epoch_time_s" if job.csv else ""
    return [_row(job, statement, CONTRADICTED, computation, decided)]


def _ratios(job: _Job, jobs: dict[str, _Job], claims: pd.DataFrame) -> list[dict]:
    """Reported speed-up and efficiency against both ways to form them."""
    reference = _reference(job, jobs)
    if reference is None:
        return []
    return [
        row
        for metric in ("speedup", "efficiency")
        if job.values.get(metric)
        for row in _both_ways(job, reference, metric, job.values[metric], job.written[metric])
    ]


def _both_ways(job: _Job, reference: _Job, kind: str, claimed: float, written: str) -> list[dict]:
    rows = []
    title = "speed-up" if kind == "speedup" else "efficiency"
    for metric, more, name in BASES:
        ratio = _ratio(job, reference, metric, more)
        statement = f"{title} {written} over job {reference.id}, by {name.replace('_', ' ')}"
        if ratio is None:
            rows.append(_row(job, statement, UNDETERMINED, f"{metric} is not reported", job.csv))
            continue
        value, formula = ratio
        said = f"{formula} = {value:.3g} ×"
        if kind == "efficiency":
            ranks = (job.known("world_size") or 1) / (reference.known("world_size") or 1)
            value = 100 * value / ranks
            said = f"{formula} / {ranks:g} = {value:.3g} %"
        verdict = HOLDS if _agree(claimed, value) else CONTRADICTED
        rows.append(_row(job, statement, verdict, said, "" if verdict == HOLDS else job.csv))
    return rows


def _flop_rate(job: _Job) -> list[dict]:
    """Arithmetic the throughput implies, against what the devices can do."""
    rate, size, classes = job.values.get("throughput"), *job.dataset[1:]
    model, ranks = job.known("model"), job.known("world_size") or 1
    if not rate or not model:
        return []
    rows = []
    for stem in _stems(job):
        statement = f"{job.written['throughput']} of {model} with the {stem} stem"
        work = training_gflop(model, stem, size, classes) if size else None
        peak = _peak(job)
        if work is None or not peak:
            missing, decides = "the model's operations are not counted", ""
            if work is not None:
                missing, decides = "no peak known", f"data/systems/{job.known('system')}.yaml"
            rows.append(_row(job, statement, UNDETERMINED, missing, decides))
            continue
        need = rate * work / 1e3
        share = 100 * need / (peak * ranks)
        computation = (
            f"{rate:,.6g} images/s × {work:.3g} GFLOP = {need:.3g} TFLOP/s, {share:.3g} % of "
            f"{ranks * peak:g} TFLOP/s {job.known('precision')} peak"
        )
        possible = share <= 100
        if possible:
            computation += ": possible"
            computation += ", not limited by arithmetic" if share < 30 else ""
        rows.append(
            _row(job, statement, HOLDS if possible else CONTRADICTED, computation,
                 "" if possible else "the training script: which stem it used")
        )  # fmt: skip
    return rows


def _shares(job: _Job) -> list[dict]:
    shares = {name: value for name, value in job.values.items() if name.startswith("share.")}
    if not shares:
        return []
    total = sum(shares.values())
    computation = f"{' + '.join(f'{value:g}' for value in shares.values())} = {total:g} %"
    verdict = HOLDS if _agree(total, 100.0, 0.01) else CONTRADICTED
    return [_row(job, "shares of GPU time add up to 100 %", verdict, computation)]


def _against_file(job: _Job) -> list[dict]:
    """What was claimed against what the job's own file holds, once it is there."""
    rows = []
    for metric in ("throughput", "epoch_time_s", "final_val_acc"):
        claimed, found = job.values.get(metric), plain(job.measured.get(metric))
        if claimed is None or found is None:
            continue
        # An accuracy is quoted to its last digit; a rate depends on what was timed.
        tolerance = 0.005 if metric == "final_val_acc" else TOLERANCE
        verdict = HOLDS if _agree(claimed, found, tolerance) else CONTRADICTED
        said = f"the file holds {found:,.6g} {job.units[metric]}"
        rows.append(_row(job, f"{metric} {job.written[metric]}", verdict, said,
                         f"results/csv/{job.measured['stem']}.csv"))  # fmt: skip
    return rows


# --------------------------------------------------------------------------- claims


def _claim(claim: dict[str, Any], jobs: dict[str, _Job]) -> list[dict]:
    claim = {name: plain(value) for name, value in claim.items()}
    job = jobs.get(claim["job"])
    kind, text = claim["type"], f"“{claim['text']}”"
    if job is None:
        return []
    if kind in ("ratio", "efficiency"):
        reference = jobs.get(claim["reference_job"])
        metric = "speedup" if kind == "ratio" else "efficiency"
        covered = job.values.get(metric) == claim["value"] and _reference(job, jobs) is reference
        if covered or reference is None:
            # `_ratios` has checked the same number both ways.
            return []
        written = f"{claim['value']:g} {claim['unit'] or ''}".strip()
        return _both_ways(job, reference, metric, claim["value"], written)
    if kind == "bottleneck":
        return [_bottleneck(job, claim["subject"], text)]
    return [_expression(job, claim, text)]


def _bottleneck(job: _Job, subject: str, text: str) -> dict:
    shares = {
        name.removeprefix("share."): value
        for name, value in job.values.items()
        if name.startswith("share.")
    }
    said = "no measurement of what the devices waited for was reported"
    if subject in shares:
        named = {name: value for name, value in shares.items() if name != "other"}
        rank = sorted(named, key=named.get, reverse=True).index(subject) + 1
        said = (
            f"{subject.replace('_', ' ')} has {shares[subject]:g} % of GPU time, rank {rank} of "
            f"{len(named)} named groups"
        )
        if "other" in shares:
            said += f", while {shares['other']:g} % is in no named group"
        said += "; by kernel name, parts of a convolution count as other groups"
    decided = f"profiler trace of job {job.id} (results/profiling/*.pt.trace.json)"
    return _row(job, text, UNDETERMINED, said, decided)


def _expression(job: _Job, claim: dict[str, Any], text: str) -> dict:
    expression = claim["expression"]
    try:
        value = evaluate(expression, job.values)
    except KeyError as error:
        return _row(job, text, UNDETERMINED, f"{expression}: {error.args[0]} is not reported", "")
    except (ValueError, ZeroDivisionError):
        return _row(job, text, UNDETERMINED, f"{expression}: cannot be computed", job.file)
    claimed = claim["value"]
    if claimed is None:
        claimed = job.values.get(claim["metric"])
    said = f"{expression} = {value:,.6g} {claim['unit'] or ''}".strip()
    if claimed is None:
        return _row(job, text, UNDETERMINED, said)
    verdict = HOLDS if _agree(claimed, value, 0.01) else CONTRADICTED
    return _row(job, text, verdict, f"{said}, reported {claimed:,.6g}")


_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str, values: dict[str, float]) -> float:
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
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id]
        raise ValueError("not an arithmetic expression")

    try:
        return float(walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, RecursionError, OverflowError):
        raise ValueError("not an arithmetic expression") from None
