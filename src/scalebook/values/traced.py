"""Shares of device time in traces, for the ledger: our own that are evidence, and published ones.

============================================  ==================================================
key                                           value
============================================  ==================================================
``trace.<name>.<grouping>.<group>_share``     share of the summed device time, in %; grouping
                                              is ``by_operator`` or ``by_kernel``
``trace.<name>.time.<part>_share``            busy, compute, communication, memory, overlap or
                                              idle time, in % of the trace's span
``trace.<name>.total_ms``                     summed device time
``trace.<name>.steps``                        steps the profiler marked
============================================  ==================================================

``<name>`` is the stem of a run, the ranks of which are added up, or that of a file in
``data/examples``; and ``<experiment>.<system>`` where one run of them alone has a trace. A trace
that carries no run's name and joins a reported job (see `bottlenecks.belongs`) is ``job-<id>`` too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from scalebook import results, traces
from scalebook.analysis.bottlenecks import belongs
from scalebook.analysis.comparable import plain
from scalebook.analysis.reported import reported_jobs
from scalebook.contract import ScalebookError
from scalebook.values.value import Value

GROUPINGS = {"by_operator": "family of the launching operator", "by_kernel": "kernel name"}
#: Parts of the span of a trace; on several devices they are added up, as the span is.
PARTS = ("busy", "compute", "communication", "memory", "overlap", "idle")


def values() -> Iterator[Value]:
    """Numbers of every trace that may stand in a document; a damaged trace has none."""
    own = _own()
    places = {run: _experiment(run) for run in own}
    often = Counter(place for place in places.values() if place)
    given: set[str] = set()
    for run, summaries in own.items():
        files = tuple(file for file, _ in summaries)
        about = {
            "kind": "measured",
            "runs": (run,),
            "files": files,
            "code": "scalebook.traces.trace_summary",
        }
        place = places[run]
        named = f"trace of {place.replace('.', ' on ')}" if place else f"trace {run}"
        found = list(_of(run, [summary for _, summary in summaries], named, about))
        yield from found
        also = place if place and often[place] == 1 else _job(run, files[0], places)
        if also and also not in given:
            given.add(also)
            for value in found:
                yield replace(value, key=value.key.replace(f"trace.{run}.", f"trace.{also}.", 1))
    for example in traces.trace_examples():
        name = PurePosixPath(example["file"]).stem
        source = f"published trace, {example['title']}; {example['source']}, {example['licence']}"
        about = {
            "kind": "cited",
            "files": (example["file"],),
            "code": example["computed"],
        }
        yield from _of(name, [example["summary"]], f"{source}, read on {example['date']}", about)


def _own() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Summaries of the traces that are evidence, by run."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for file in traces.trace_files():
        if "local" in PurePosixPath(file).parts[:2]:
            continue
        try:
            summary = traces.trace_summary(file)
        except ScalebookError:
            # `scalebook trace` and the notebook on profiles say what is wrong with it.
            continue
        run = PurePosixPath(file).name.split(".")[0].rsplit("_rank", 1)[0]
        found.setdefault(run, []).append((file, summary))
    return found


def _job(run: str, file: str, places: dict[str, str]) -> str:
    """``job-<id>`` of the reported job that a trace without a run of ours joins; empty if none."""
    if places[run]:
        return ""
    jobs = reported_jobs()
    return next((f"job-{name}" for name, job in jobs.items() if belongs(file, job, jobs)), "")


def _experiment(run: str) -> str:
    """``<experiment>.<system>`` of a run; empty where it has no manifest."""
    known = results.runs(kind="measured", stem=run)
    if len(known) != 1 or not plain(known.iloc[0]["system"]):
        return ""
    return f"{known.iloc[0]['experiment']}.{known.iloc[0]['system']}"


def _of(
    name: str, summaries: list[dict[str, Any]], said: str, about: dict[str, Any]
) -> Iterator[Value]:
    for grouping, words in GROUPINGS.items():
        groups = _added(summaries, grouping)
        total = sum(groups.values())
        for group, duration in groups.items() if total else ():
            yield Value(
                key=f"trace.{name}.{grouping}.{group}_share",
                value=100 * duration / total,
                unit="%",
                source=f"{said}: share of device time in {group}, by {words}",
                where=f"{grouping}.{group}",
                **about,
            )
    times = _added(summaries, "time")
    span = times.get("span_us", 0.0)
    for part in PARTS if span else ():
        if f"{part}_us" in times:
            yield Value(
                key=f"trace.{name}.time.{part}_share",
                value=100 * times[f"{part}_us"] / span,
                unit="%",
                source=f"{said}: {part} time as a share of its span",
                where=f"time.{part}_us / time.span_us",
                **about,
            )
    total_ms = sum(float(one.get("total_us") or 0.0) for one in summaries) / 1e3
    counts = (("total_ms", total_ms, "ms", "summed device time"),
              ("steps", max(len(one.get("steps") or ()) for one in summaries), "steps",
               "steps the profiler marked"))  # fmt: skip
    for metric, value, unit, words in counts:
        yield Value(
            key=f"trace.{name}.{metric}", value=float(value), unit=unit,
            source=f"{said}: {words}", where=metric.replace("_ms", "_us"), **about,
        )  # fmt: skip


def _added(summaries: list[dict[str, Any]], name: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for summary in summaries:
        for key, value in (summary.get(name) or {}).items():
            total[key] = total.get(key, 0.0) + float(value)
    return total
