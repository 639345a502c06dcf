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

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from scalebook import results, traces
from scalebook.analysis.bottlenecks import belongs
from scalebook.analysis.comparable import to_python
from scalebook.analysis.reported_jobs import Job
from scalebook.contract import ScalebookError
from scalebook.values.inputs import Inputs
from scalebook.values.value import Value, dotted

GROUPINGS = {"by_operator": "family of the launching operator", "by_kernel": "kernel name"}
#: Parts of the span of a trace; on several devices they are added up, as the span is.
PARTS = ("busy", "compute", "communication", "memory", "overlap", "idle")

Summary = Mapping[str, Any]


def traced(inputs: Inputs) -> Iterator[Value]:
    """Numbers of every trace that may stand in a document; a damaged trace has none."""
    own = _own()
    experiments = _experiments(own)
    often = Counter(experiments.values())
    given: set[str] = set()
    for run, summaries in own.items():
        files, experiment = tuple(summaries), experiments[run]
        name = f"trace of {experiment.replace('.', ' on ')}" if experiment else f"trace {run}"
        make = partial(
            Value, kind="measured", runs=(run,), files=files, code=dotted(traces.trace_summary)
        )
        values = list(_values(run, list(summaries.values()), name, make))
        yield from values
        also = "" if experiment else _job(files[0], inputs.jobs)
        if experiment and often[experiment] == 1:
            also = experiment
        if also and also not in given:
            given.add(also)
            for value in values:
                yield replace(value, key=value.key.replace(f"trace.{run}.", f"trace.{also}.", 1))
    for example in traces.trace_examples():
        origin = f"{example['title']}; {example['source']}, {example['licence']}"
        name = f"published trace, {origin}, read on {example['date']}"
        make = partial(Value, kind="cited", files=(example["file"],), code=example["computed"])
        yield from _values(PurePosixPath(example["file"]).stem, [example["summary"]], name, make)


def _own() -> dict[str, dict[str, Summary]]:
    """Summaries of the traces that are evidence, by run and file."""
    by_run: dict[str, dict[str, Summary]] = {}
    for file in traces.trace_files():
        if traces.is_trial(file):
            continue
        try:
            summary = traces.trace_summary(file)
        except ScalebookError:
            # `scalebook trace` and the notebook on profiles say what is wrong with it.
            continue
        by_run.setdefault(traces.run_of(file), {})[file] = summary
    return by_run


def _job(file: str, jobs: Mapping[str, Job]) -> str:
    """``job-<id>`` of the reported job that a trace without a run of ours joins; empty if none."""
    return next((f"job-{name}" for name, job in jobs.items() if belongs(file, job, jobs)), "")


def _experiments(stems: Iterable[str]) -> dict[str, str]:
    """``<experiment>.<system>`` of each run; empty where it has no manifest."""
    names = dict.fromkeys(stems, "")
    for run in results.runs(kind="measured", stem=list(names)).itertuples():
        if to_python(run.system):
            names[run.stem] = f"{run.experiment}.{run.system}"
    return names


def _values(
    name: str, summaries: Sequence[Summary], title: str, make: partial[Value]
) -> Iterator[Value]:
    for grouping, by in GROUPINGS.items():
        groups = _added(summaries, grouping)
        total = sum(groups.values())
        for group, duration in groups.items() if total else ():
            key, where = f"trace.{name}.{grouping}.{group}_share", f"{grouping}.{group}"
            source = f"{title}: share of device time in {group}, by {by}"
            yield make(key, 100 * duration / total, "%", source=source, where=where)
    times = _added(summaries, "time")
    span = times.get("span_us", 0.0)
    for part in PARTS if span else ():
        if f"{part}_us" in times:
            key, where = f"trace.{name}.time.{part}_share", f"time.{part}_us / time.span_us"
            source = f"{title}: {part} time as a share of its span"
            yield make(key, 100 * times[f"{part}_us"] / span, "%", source=source, where=where)
    total_ms = sum(float(summary.get("total_us") or 0.0) for summary in summaries) / 1e3
    source = f"{title}: summed device time"
    yield make(f"trace.{name}.total_ms", total_ms, "ms", source=source, where="total_us")
    steps = float(max(len(summary.get("steps") or ()) for summary in summaries))
    source = f"{title}: steps the profiler marked"
    yield make(f"trace.{name}.steps", steps, "steps", source=source, where="steps")


def _added(summaries: Sequence[Summary], name: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for summary in summaries:
        for key, value in (summary.get(name) or {}).items():
            total[key] = total.get(key, 0.0) + float(value)
    return total
