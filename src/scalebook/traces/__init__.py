"""Profiler traces: from a file to where the time goes.

``reading`` makes columns of a file, ``attribution`` (with ``families``) says what
launched each activity, ``intervals`` adds up time, ``summary`` answers, ``text``
lays the answer out. Names in an answer are untrusted text.
"""

from scalebook.traces.summary import summary, trace_files, trace_summary
from scalebook.traces.text import as_text

__all__ = ["as_text", "summary", "trace_files", "trace_summary"]
