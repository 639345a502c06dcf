"""What a run reads, setting by setting, and the command that stands for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd


def command(experiment: str, system: str, seed: int | None, overrides: Mapping[str, Any]) -> str:
    """The line that runs an experiment with these settings."""
    words = ["scalebook", "run", experiment]
    words += ["--system", system] if system != "auto" else []
    words += ["--seed", str(seed)] if seed is not None else []
    for key, value in overrides.items():
        words += ["--set", f"{key}={word(value)}"]
    return shlex.join(words)


def word(value: Any) -> str:
    """A setting as ``--set`` takes it."""
    return json.dumps(value) if isinstance(value, (bool, list)) else str(value)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a JSON value with their path; a list of words is one leaf."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "schema":
                yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{name}[{number}]")
    elif isinstance(value, list):
        joined = shlex.join(map(str, value)) if name in ("submitted", "command") else None
        yield name, joined or ", ".join(map(str, value))
    elif value not in (None, ""):
        yield name, word(value)


def settings(resolved: Mapping[str, Any]) -> pd.DataFrame:
    """Every setting that a run would read, as ``setting`` and ``value``."""
    return pd.DataFrame(list(flat(resolved)), columns=["setting", "value"], dtype=object)
