"""Columns of tables for a reader, as `figures.show_table` takes them."""

from scalebook.study.document import beside

_HEADERS: dict[str, dict[str, str]] = beside(__file__)

CHECK_HEADERS = _HEADERS["checks"]
SCALING_HEADERS = _HEADERS["scaling"]
OVERHEAD_HEADERS = _HEADERS["overheads"]
THROUGHPUT_HEADERS = _HEADERS["throughput"]
ACCURACY_HEADERS = _HEADERS["accuracy"]
STEP_HEADERS = _HEADERS["steps"]
EXPLORER_HEADERS = _HEADERS["explorer"]
BREAKDOWN_HEADERS = _HEADERS["breakdown"]
TRACE_HEADERS = _HEADERS["traces"]
TRACE_STEP_HEADERS = _HEADERS["trace_steps"]
COLLECTIVE_HEADERS = _HEADERS["collectives"]

#: Decimal places of floats that are not shown with one.
SCALING_DIGITS = {"speedup": 2, "speedup_low": 2, "speedup_high": 2}
COLLECTIVE_DIGITS = {"bytes": 0, "busbw_gb_s": 3}
