"""Could the network explain what a reported run lost? From its summary numbers alone.

With X the reported throughput, p the ranks, index 1 for the reference, m the bytes of the
gradients and r the rate of a link in bytes/s:

===============================  =========================================================
gap, time lost an image          1 / X_p − 1 / (p X_1): beyond the reference's time shared out
exchange, shortest time a step   m · 2 (p − 1) / p / r, a ring that sends at the link's rate
matching batch                   exchange / gap
===============================  =========================================================

A step of B images loses B times the gap. At the matching batch, an exchange at the full rate of
the link, none of it hidden, is exactly that loss. A larger batch needs a link that delivers less
than its rate, or another cause; a smaller one needs an exchange that hides in part behind the
backward pass. All of this takes the reported throughput at its word.
"""

from __future__ import annotations

from collections.abc import Iterator

from scalebook import results
from scalebook.analysis.comparable import plain
from scalebook.analysis.reported import Job, reference_of, reported_jobs
from scalebook.analysis.step_parts import BYTES_PER_PARAMETER, transfer_ms
from scalebook.contract import ScalebookError
from scalebook.values.value import Value

#: Rates of Ethernet links that are common, in Gbit/s.
LINKS = (1, 10, 25)


def values() -> Iterator[Value]:
    """Numbers for every reported job that has more ranks than its reference.

    Yields
    ------
    Value
        ``modelled.<job>.gradient_mb``, ``gap_us_per_image``, ``exchange_ms_<rate>gbit`` and
        ``matching_batch_<rate>gbit``.
    """
    jobs = reported_jobs()
    for job in jobs.values():
        reference = reference_of(job, jobs)
        if reference is not None:
            yield from _of_job(job, reference)


def _of_job(job: Job, reference: Job) -> Iterator[Value]:
    ranks, before = job.known("world_size") or 0, reference.known("world_size") or 0
    rate, rate_1 = job.values.get("throughput"), reference.values.get("throughput")
    stem, parameters = _parameters(job.known("model"))
    if not (rate and rate_1 and before and ranks > before and parameters):
        return
    megabytes = parameters * BYTES_PER_PARAMETER / 1e6
    counted = f"{parameters:,} parameters, as counted in {stem}"
    yield _value(job, "gradient_mb", megabytes, "MB", f"4 bytes × {counted}")
    gap = 1e6 * (1 / rate - before / ranks / rate_1)
    formula = f"1 / {rate:,.6g} images/s - {before} / ({ranks} × {rate_1:,.6g} images/s)"
    yield _value(job, "gap_us_per_image", gap, "µs", formula)
    for link in LINKS:
        exchange = transfer_ms(parameters, ranks, link)
        ring = f"ring all-reduce of {megabytes:.1f} MB among {ranks} ranks at {link} Gbit/s"
        yield _value(job, f"exchange_ms_{link}gbit", exchange, "ms", ring)
        if gap > 0:
            said = f"{exchange:.3g} ms / {gap:.3g} µs an image; {ring}, none of it hidden"
            yield _value(job, f"matching_batch_{link}gbit", 1e3 * exchange / gap, "images", said)


def _value(job: Job, metric: str, number: float, unit: str, formula: str) -> Value:
    return Value(
        key=f"modelled.{job.id}.{metric}",
        value=number,
        unit=unit,
        kind="modelled",
        source=f"modelled for job {job.id}: {formula}",
        runs=(job.id,),
        files=(job.file,) if job.file else (),
        code="scalebook.analysis.exchange.values",
    )


def _parameters(model: str | None) -> tuple[str, int]:
    """A measured run of the model with the stem of ImageNet, and how many parameters it counted."""
    runs = results.runs(kind="measured")
    for stem in runs["stem"].tolist() if model else []:
        try:
            about = results.manifest(stem).get("model") or {}
        except ScalebookError:
            continue
        if about.get("name") == model and about.get("stem") == "imagenet":
            count = plain(about.get("parameters"))
            if count:
                return stem, int(count)
    return "", 0
