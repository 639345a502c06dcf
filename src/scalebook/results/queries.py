"""Questions put to the results, remembered with a digest of their answers.

A notebook or a page is stale when the *answer* to a question it asked has
changed, not when a file was touched. Every function that reads results is
therefore a query: while ``SCALEBOOK_QUERY_LOG`` names a file, each call appends
one JSON line ``{"query": name, "kwargs": {...}, "answer": sha256}`` to it.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

_registry: dict[str, Callable[..., Any]] = {}
_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside_query", default=False)


def query(function: Function) -> Function:
    """Register `function` by its name, and log the calls made to it.

    A query called by another query is not logged: the outer answer covers it.
    A `ScalebookError` counts as an answer, since its cause may go away.

    Raises
    ------
    ValueError
        If another function already has the name.
    """
    name = function.__name__
    known = _registry.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (
        function.__module__,
        function.__qualname__,
    ):
        raise ValueError(f"two queries are named {name!r}")
    signature = inspect.signature(function)

    @functools.wraps(function)
    def logged(*args: Any, **kwargs: Any) -> Any:
        log = os.environ.get("SCALEBOOK_QUERY_LOG")
        if not log or _inside.get():
            return function(*args, **kwargs)
        asked = _flat_arguments(signature, args, kwargs)
        token = _inside.set(True)
        try:
            answer = function(*args, **kwargs)
        except ScalebookError as error:
            _append(Path(log), name, asked, _error_digest(error))
            raise
        finally:
            _inside.reset(token)
        _append(Path(log), name, asked, digest(answer))
        return answer

    _registry[name] = function
    return logged  # type: ignore[return-value]


def answer_digest(name: str, kwargs: Mapping[str, Any]) -> str:
    """Digest of what the query answers now; the log is not written.

    Parameters
    ----------
    name : str
        A registered query. The room that defines it must have been imported.
    kwargs : mapping
        As the log holds them.

    Raises
    ------
    UsageError
        If no such query is registered, or it does not take these arguments.
    """
    if name not in _registry:
        raise UsageError(f"no query {name!r}; there are {', '.join(sorted(_registry))}")
    function = _registry[name]
    try:
        bound = inspect.signature(function).bind(**kwargs)
    except TypeError as error:
        raise UsageError(f"query {name}: {error}") from None
    token = _inside.set(True)
    try:
        return digest(function(*bound.args, **bound.kwargs))
    except ScalebookError as error:
        return _error_digest(error)
    finally:
        _inside.reset(token)


def digest(answer: Any) -> str:
    """Hash of an answer by content, as hexadecimal sha256.

    Numbers count at 6 significant digits (whole ones in full), a whole float
    equals the integer, and None, NaN and NaT are one and the same. A DataFrame
    counts by its columns and rows; index and dtypes do not matter.
    """
    text = json.dumps(_canonical(answer), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _error_digest(error: ScalebookError) -> str:
    return digest({"error": str(error)})


def _canonical(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    if isinstance(value, pd.DataFrame):
        columns = {str(name): _canonical(value[name].tolist()) for name in value.columns}
        return {"columns": [str(name) for name in value.columns], "values": columns}
    if isinstance(value, (pd.Series, pd.Index, np.ndarray)):
        return _canonical(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_canonical(inner) for inner in value), key=repr)
    if isinstance(value, BaseModel):
        return _canonical(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _canonical(dataclasses.asdict(value))
    if isinstance(value, Path):
        return _relative(value)
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


def _flat_arguments(signature: inspect.Signature, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Arguments by name, ``**kwargs`` unpacked, as JSON can hold them."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        # Let the call itself say what is wrong.
        return {}
    flat: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            flat.update({key: _argument(inner) for key, inner in value.items()})
        else:
            flat[name] = _argument(value)
    return flat


def _argument(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_argument(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return _relative(value) if isinstance(value, (Path, str)) else value


def _relative(path: Path | str) -> str:
    """Name a path below the study's root relative to it, so that a clone asks the same."""
    text = str(path)
    if not os.path.isabs(text):
        return text
    try:
        return Path(text).resolve().relative_to(contract.find_root()).as_posix()
    except (ScalebookError, ValueError):
        return text


def _append(log: Path, name: str, kwargs: dict[str, Any], answer: str) -> None:
    line = json.dumps({"query": name, "kwargs": kwargs, "answer": answer}, sort_keys=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    # One write in append mode: lines of several processes do not mix.
    with open(log, "ab", buffering=0) as file:
        file.write(line.encode() + b"\n")
