"""Values of a trace that nobody vouches for: numbers, names and devices, checked one by one."""

import re
from decimal import Decimal
from typing import Any

import numpy as np

from scalebook.traces.trace import WIDEST_NAME

#: Numbers that a writer put in quotation marks.
_DECIMAL = re.compile(r"-?\d{1,25}(\.\d{1,12})?")
#: From here on a float has no digits behind the point, and not all before it.
_EXACT_BELOW = 1 << 53
_LARGEST = 1 << 62


def moments(values: list[Any], origin: int) -> np.ndarray:
    """Times less `origin`; whole numbers and text keep all their digits. NaN for what is no time.

    `origin` has to be a number that a float can hold.
    """
    kinds = set(map(type, values))
    try:
        if kinds == {int} and abs(origin) < _LARGEST:
            whole = np.array(values, dtype=np.int64)
            if (np.abs(whole) < _LARGEST).all():
                return (whole - origin).astype(np.float64)
        elif kinds == {float} or (kinds <= {int, float} and abs(origin) < _EXACT_BELOW):
            found = np.array(values, dtype=np.float64)
            found[~np.isfinite(found)] = np.nan
            return found - float(origin)
    except OverflowError:
        pass
    return np.array([_moment(value, origin) for value in values], dtype=np.float64)


def _moment(value: Any, origin: int) -> float:
    if type(value) is str and _DECIMAL.fullmatch(value):
        return float(Decimal(value) - origin)
    if type(value) is int and abs(value) < 1 << 100:
        return float(value - origin)
    return value - float(origin) if type(value) is float and abs(value) < np.inf else np.nan


def origin_of(values: list[Any]) -> int | None:
    """The first time that is not 0, as a whole number that a float can hold; None for none."""
    for value in values:
        moment = _moment(value, 0)
        if 1 <= abs(moment) < float(1 << 100):
            return int(moment)
    return None


def numbers(values: list[Any], missing: float = np.nan) -> np.ndarray:
    """Numbers as they are; NaN for what is none, `missing` for what is not there."""
    if set(map(type, values)) <= {int, float}:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:
            pass
    return np.array([_number(value, missing) for value in values], dtype=np.float64)


def _number(value: Any, missing: float) -> float:
    if value is None:
        return missing
    if type(value) is str and _DECIMAL.fullmatch(value):
        return float(value)
    if type(value) is float or (type(value) is int and abs(value) < 1 << 100):
        return value if abs(value) < np.inf else np.nan
    return np.nan


def identifiers(details: list[dict[str, Any]], key: str, second: str | None = None) -> np.ndarray:
    """Whole numbers from 0 to 2^62 under `key`, or `second` where no event has it; else -1."""
    values = [args.get(key, -1) for args in details]
    if second is not None and all(value == -1 for value in values):
        values = [args.get(second, -1) for args in details]
    if set(map(type, values)) <= {int}:
        try:
            numbers = np.array(values, dtype=np.int64)
        except OverflowError:
            pass
        else:
            return np.where((numbers < 0) | (numbers >= 1 << 62), -1, numbers)
    return np.array(
        [value if type(value) is int and 0 <= value < 1 << 62 else -1 for value in values],
        dtype=np.int64,
    )


def clean(name: str) -> str:
    """Shorten a text, and replace what no encoder takes."""
    return name[:WIDEST_NAME].encode("utf-8", "replace").decode()


def base_time(header: dict[str, Any]) -> int:
    """Nanoseconds from which the times of a trace are counted."""
    base = header.get("baseTimeNanoseconds")
    return base if type(base) is int and 0 <= base < 1 << 63 else 0


def count(value: Any) -> int | None:
    """A small whole number as it is; None for anything else."""
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def devices(properties: Any) -> tuple[dict[str, Any], ...]:
    """GPUs as a trace describes them, see `Trace.devices`."""
    return tuple(
        {"id": count(entry.get("id")), "name": clean(entry["name"][:120])}
        for entry in (properties if isinstance(properties, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    )
