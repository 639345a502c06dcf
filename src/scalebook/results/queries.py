"""Queries of the results, logged with a digest of each answer.

A notebook or a page is stale when the *answer* to a question it asked has
changed, not when a file was touched. Every function that reads results is
therefore a query: while ``SCALEBOOK_QUERY_LOG`` names a file, each call appends
one JSON line ``{"query": name, "kwargs": {...}, "answer": sha256}`` to it.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from scalebook.contract import ScalebookError, UsageError
from scalebook.results import snapshots
from scalebook.results.digests import digest, relative

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_registry: dict[str, Callable[..., Any]] = {}
_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside_query", default=False)


def query(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
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
    def logged(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
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
    return logged


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

    def make() -> str:
        token = _inside.set(True)
        try:
            return digest(function(*bound.args, **bound.kwargs))
        except ScalebookError as error:
            return _error_digest(error)
        finally:
            _inside.reset(token)

    # Of a query of another package it is not known when its code changes.
    if not function.__module__.startswith("scalebook."):
        return make()
    return snapshots.answer(f"{name} {json.dumps(kwargs, sort_keys=True)}", make)


def _error_digest(error: ScalebookError) -> str:
    return digest({"error": str(error)})


def _flat_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name, ``**kwargs`` unpacked, as JSON can hold them."""
    flat: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
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
    return relative(value) if isinstance(value, (Path, str)) else value


def _append(log: Path, name: str, kwargs: dict[str, Any], answer: str) -> None:
    line = json.dumps({"query": name, "kwargs": kwargs, "answer": answer}, sort_keys=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    # One write in append mode: lines of several processes do not mix.
    with open(log, "ab", buffering=0) as file:
        file.write(line.encode() + b"\n")
