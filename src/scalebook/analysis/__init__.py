"""Numbers: medians with intervals, tables, scaling, models, and verdicts on claims."""

import importlib
from typing import Any

from scalebook.analysis.comparable import configurations, documented
from scalebook.analysis.controls import contrasts
from scalebook.analysis.evidence import Evidence
from scalebook.analysis.headers import (
    ACCURACY_HEADERS,
    CHECK_HEADERS,
    CONTRAST_DIGITS,
    CONTRAST_HEADERS,
    OVERHEAD_DIGITS,
    OVERHEAD_HEADERS,
    SCALING_DIGITS,
    SCALING_HEADERS,
    STEP_DIGITS,
    STEP_HEADERS,
    THROUGHPUT_DIGITS,
    THROUGHPUT_HEADERS,
)
from scalebook.analysis.scaling import refused, scaling_table
from scalebook.analysis.statistics import Summary, step_summary, summarise
from scalebook.analysis.step_parts import overheads
from scalebook.analysis.tables import configuration_table, step_table

__all__ = [
    "ACCURACY_HEADERS",
    "CHECK_HEADERS",
    "CONTRAST_DIGITS",
    "CONTRAST_HEADERS",
    "OVERHEAD_DIGITS",
    "OVERHEAD_HEADERS",
    "SCALING_DIGITS",
    "SCALING_HEADERS",
    "STEP_DIGITS",
    "STEP_HEADERS",
    "THROUGHPUT_DIGITS",
    "THROUGHPUT_HEADERS",
    "Evidence",
    "Summary",
    "configuration_table",
    "configurations",
    "contrasts",
    "documented",
    "overheads",
    "refused",
    "scaling_table",
    "step_summary",
    "step_table",
    "summarise",
]


def __getattr__(name: str) -> Any:
    """``check`` is in `scalebook.values`; notebooks of studies made earlier ask for it here."""
    if name != "check":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("scalebook.values").check
