"""Digests of content: values that mean the same have the same digest, however they are written.

Canonical JSON with sorted keys; arrays are decoded, numbers count at 6 significant digits.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from scalebook import contract
from scalebook.contract import ScalebookError


def digest(value: object) -> str:
    """Hash of a value by content, as hexadecimal sha256.

    Numbers count at 6 significant digits (whole ones in full), a whole float equals the integer,
    and None, NaN and NaT are one and the same. A DataFrame counts by its columns and rows; index
    and dtypes do not matter, nor how plotly packed an array.
    """
    text = json.dumps(canonical(value), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: object) -> Any:
    """The value as plain lists, strings and rounded numbers.

    Raises
    ------
    TypeError
        For an object that has no content to compare.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, pd.DataFrame):
        columns = {str(name): canonical(value[name].tolist()) for name in value.columns}
        return {"columns": [str(name) for name in value.columns], "values": columns}
    if isinstance(value, (pd.Series, pd.Index, np.ndarray, np.generic)):
        return canonical(value.tolist())
    if isinstance(value, Mapping):
        if {"bdata", "dtype"} <= set(value):
            return canonical(_unpacked(value))
        return {str(key): canonical(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(inner) for inner in value), key=repr)
    if isinstance(value, BaseModel):
        return canonical(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return canonical(dataclasses.asdict(value))
    if isinstance(value, Path):
        return relative(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a query cannot answer with {type(value).__name__}")


def _number(value: float) -> float | int | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value.is_integer() and abs(value) < 2**53:
        return int(value)
    return float(f"{value:.6g}")


def _unpacked(array: Mapping[Any, Any]) -> Any:
    """Typed array as plotly.js takes it: base64 of little-endian numbers."""
    data = array["bdata"]
    data = data if isinstance(data, (bytes, bytearray)) else base64.b64decode(data)
    numbers = np.frombuffer(data, dtype=np.dtype(array["dtype"]).newbyteorder("<"))
    shape = array.get("shape")
    if shape:
        sizes = shape.split(",") if isinstance(shape, str) else shape
        numbers = numbers.reshape([int(size) for size in sizes])
    return numbers


def relative(path: Path | str) -> str:
    """Make a path below the study's root relative to it, so that it is the same in every clone."""
    text = str(path)
    if not os.path.isabs(text):
        return text
    try:
        return Path(text).resolve().relative_to(contract.find_root()).as_posix()
    except (ScalebookError, ValueError):
        return text
