"""Columns of tables for a reader, as `figures.show_table` takes them."""

from collections.abc import Iterable

from scalebook import contract
from scalebook.results import METRICS
from scalebook.study.document import beside

_HEADERS = beside(__file__)

CHECK_HEADERS: dict[str, str] = _HEADERS["checks"]
SCALING_HEADERS: dict[str, str] = _HEADERS["scaling"]
CONTRAST_HEADERS: dict[str, str] = _HEADERS["contrasts"]
OVERHEAD_HEADERS: dict[str, str] = _HEADERS["overheads"]
THROUGHPUT_HEADERS: dict[str, str] = _HEADERS["throughput"]
ACCURACY_HEADERS: dict[str, str] = _HEADERS["accuracy"]
STEP_HEADERS: dict[str, str] = _HEADERS["steps"]
_METRICS = {metric.name: (metric.header, metric.digits) for metric in METRICS.values()}
EXPLORER_HEADERS: dict[str, tuple[str, int | None]] = {
    name: header
    for row, own in _HEADERS["explorer"].items()
    for name, header in (_METRICS if row == "metrics" else {row: own}).items()
}
BREAKDOWN_HEADERS: dict[str, str] = _HEADERS["breakdown"]
TRACE_HEADERS: dict[str, str] = _HEADERS["traces"]
TRACE_STEP_HEADERS: dict[str, str] = _HEADERS["trace_steps"]
COLLECTIVE_HEADERS: dict[str, str] = _HEADERS["collectives"]
RECORD_HEADERS: dict[str, str] = _HEADERS["record"]
SETTING_HEADERS: dict[str, tuple[str | None, str | None]] = _HEADERS["settings"]
REPORTED_HEADERS: dict[str, str] = _HEADERS["reported"]
SACCT_HEADERS: dict[str, str] = _HEADERS["sacct"]
EPOCH_HEADERS: dict[str, tuple[str, int]] = _HEADERS["epochs"]


#: Decimal places of floats that are not shown with one.
SCALING_DIGITS = {"speedup": 2, "efficiency": 0}
OVERHEAD_DIGITS = dict.fromkeys(
    ("step_ms", "compute_ms", "parallel_ms", "network_ms", "transfer_ms"), 0
)
THROUGHPUT_DIGITS = {"throughput_median": 0}
STEP_DIGITS = {"stall_ratio": 3, "data_wait_share": 3, "load_balance": 3}
CONTRAST_DIGITS = {"ratio": 3, "low": 3, "high": 3}
COLLECTIVE_DIGITS = {"bytes": 0, "busbw_gb_s": 3}


def epoch_headers(names: Iterable[str]) -> dict[str, str]:
    """Header, with the unit, of each of these columns of the epochs' CSV."""
    units = {column.name: f" ({column.unit})" for column in contract.EPOCHS if column.unit}
    return {name: EPOCH_HEADERS[name][0] + units.get(name, "") for name in names}
