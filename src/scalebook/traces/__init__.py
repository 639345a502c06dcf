"""Profiler traces: from a file to where the time goes.

``reading`` makes a ``trace`` of a file, by the format in ``backends``; ``attribution`` (with
``families``, ``nesting``) says what launched each activity, ``intervals`` adds up time. On these
stand the analyses, each a DataFrame: ``breakdown``, ``times``, ``launches``, ``memory``,
``speed`` (with ``work``, ``peaks``), ``ranks``, ``timeline``. ``summary`` gives
all of them, ``verdict`` says what they come to, ``text`` lays that out; ``queries`` is what
notebooks ask.
Names in an answer are untrusted text.
"""

from scalebook.traces.backends.merging import merge
from scalebook.traces.breakdown import get_attribution, get_breakdown, get_diff, get_diff_times
from scalebook.traces.launches import get_launch_summary, get_launches, get_notices, get_queue
from scalebook.traces.memory import get_memory, get_memory_peak
from scalebook.traces.peaks import Peak, get_overhead, get_run_peak, measured_cpu
from scalebook.traces.queries import (
    is_trial,
    run_of,
    trace_examples,
    trace_files,
    trace_job,
    trace_speed,
    trace_summary,
    trace_timelines,
)
from scalebook.traces.ranks import (
    get_clocks,
    get_collective_summary,
    get_collectives,
    get_ranks,
    read_job,
)
from scalebook.traces.reading import read
from scalebook.traces.speed import get_peak, get_speed, get_speed_summary
from scalebook.traces.summary import diff, summaries, summary, write_tables
from scalebook.traces.text import as_text, diff_as_text, job_as_text
from scalebook.traces.timeline import get_timeline, middle_step
from scalebook.traces.times import get_time
from scalebook.traces.trace import Trace

__all__ = [
    "Peak",
    "Trace",
    "as_text",
    "diff",
    "diff_as_text",
    "get_attribution",
    "get_breakdown",
    "get_clocks",
    "get_collective_summary",
    "get_collectives",
    "get_diff",
    "get_diff_times",
    "get_launch_summary",
    "get_launches",
    "get_memory",
    "get_memory_peak",
    "get_notices",
    "get_overhead",
    "get_peak",
    "get_queue",
    "get_ranks",
    "get_run_peak",
    "get_speed",
    "get_speed_summary",
    "get_time",
    "get_timeline",
    "is_trial",
    "job_as_text",
    "measured_cpu",
    "merge",
    "middle_step",
    "read",
    "read_job",
    "run_of",
    "summaries",
    "summary",
    "trace_examples",
    "trace_files",
    "trace_job",
    "trace_speed",
    "trace_summary",
    "trace_timelines",
    "write_tables",
]
