"""Summaries of traces that others published, kept in ``data/examples`` without the traces.

Each file holds whose trace it was and what ``scalebook trace summary --json`` says of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.results import files
from scalebook.results.queries import query
from scalebook.traces.summary import summary

SCHEMA = "scalebook.trace-example/1"
FOLDER = "data/examples"
#: What a file says beside its summary.
SAID = ("title", "source", "url", "licence", "date", "computed")

_LIMIT = files.MIB


@query
def trace_examples() -> list[dict[str, Any]]:
    """Summaries of published traces, by file name.

    Returns
    -------
    list of dict
        ``file`` (relative to the study's root); ``title``, ``source``, ``url``, ``licence``,
        ``date``, ``computed`` (how): text; ``summary``, as `scalebook.traces.summary` answers.

    Raises
    ------
    ScalebookError
        If a file is damaged, or is no such summary.
    """
    root = contract.find_root()
    return [
        load(path, files.relative(path, root)) for path in sorted((root / FOLDER).glob("*.json"))
    ]


def load(path: Path, where: str) -> dict[str, Any]:
    """One example; `where` names the file in an error."""
    try:
        document = json.loads(files.read_bytes(path, where, _LIMIT))
    except (ValueError, RecursionError):
        raise ScalebookError(f"{where}: is no JSON; write it again") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ScalebookError(f"{where}: no summary of a published trace; its schema is {SCHEMA}")
    missing = [name for name in SAID if not isinstance(document.get(name), str)]
    sums = document.get("summary")
    if missing or not isinstance(sums, dict):
        raise ScalebookError(f"{where}: lacks {', '.join(missing) or 'summary'}")
    for name in ("by_operator", "by_kernel"):
        groups = sums.get(name)
        if not isinstance(groups, dict) or not all(
            isinstance(value, (int, float)) and value >= 0 for value in groups.values()
        ):
            raise ScalebookError(f"{where}: summary.{name} holds no durations in µs")
    return {"file": where, **{name: document[name] for name in SAID}, "summary": sums}


def renew(trace: Path, example: Path) -> None:
    """Sum up the trace behind an example anew; what the file says beside it stays."""
    contract.write_json(example, {**contract.read_json(example), "summary": summary(trace)})
