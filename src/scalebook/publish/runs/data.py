"""Numbers of the runs as scripts beside the book, which a page reads from any place, a disk too.

``runs/index.js`` holds a row of each run; ``runs/data/<key>.js`` all there is of one, and is
written again only where that has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from scalebook import contract, results
from scalebook.analysis import study_queries
from scalebook.analysis.comparable import to_python
from scalebook.analysis.headers import EXPLORER_HEADERS
from scalebook.contract import EVIDENCE, TRIALS, RunFiles, ScalebookError
from scalebook.publish.runs import content, links
from scalebook.publish.runs.best import best
from scalebook.results import Snapshot
from scalebook.results.kept import code

INDEX, FOLDER = "runs/index.js", "runs/data"
#: Files of results that could not be used and are named, at most.
PROBLEMS = 50


def write(root: Path, out: Path, record: Path, offer: Callable[[str], None]) -> tuple[int, int]:
    """Write what the pages of the runs read, as far as it has changed.

    Parameters
    ----------
    root, out : Path
        Folder of the study, and of the book.
    record : Path
        File that keeps from what each script was made.
    offer : callable
        Takes the name of each file of the study that a page links to.

    Returns
    -------
    int, int
        How many runs there are, and how many were worked out anew.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before = contract.read_json(record)
    except ScalebookError:
        before = {}
    with results.one_snapshot() as now:
        rows = {links.key(row): row for row in results.runs().to_dict("records")}
        made_by = _made_by()
        states = {key: _state(now, row, made_by) for key, row in rows.items()}
        there = {entry.name for entry in os.scandir(folder)}
        changed = [
            key for key in rows if states[key] != before.get(key) or file_name(key) not in there
        ]
        for key in changed:
            page = content.content(rows[key], root)
            for name in page["files"]:
                offer(name)
            _put(folder / file_name(key), page)
        _put(out / INDEX, index(rows))
    for name in there - {file_name(key) for key in rows}:
        (folder / name).unlink()
    if states != before:
        contract.write_json(record, states)
    return len(rows), len(changed)


def file_name(key: str) -> str:
    """Name of the file of a run; as JavaScript's ``encodeURIComponent`` has it."""
    return quote(key, safe="!'()*~") + ".js"


def index(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row of each run by columns, and what could not be read."""
    wrong = results.problems()
    wrong = wrong[wrong["severity"] == "error"]
    shown = [
        {
            **{name: to_python(value) for name, value in row.items()},
            "standing": links.standing(row),
            "epochs_done": row["epochs_done"] or None,
        }
        for row in rows.values()
    ]
    labels = study_queries.labels()
    return {
        "keys": list(rows),
        "titles": [links.title(row, labels) for row in shown],
        "columns": [
            {
                "name": name,
                "title": title,
                "digits": digits,
                **_compact([row[name] for row in shown], digits is None),
                "labels": labels.get(name, {}),
            }
            for name, (title, digits) in EXPLORER_HEADERS.items()
        ],
        "metrics": list(results.METRICS),
        "experiments": list(study_queries.experiments()),
        "best": best(shown),
        "start": study_queries.start_command(),
        "problems": [
            {"file": row["file"], "problem": row["problem"]}
            for row in wrong.head(PROBLEMS).to_dict("records")
        ],
        "more_problems": max(0, len(wrong) - PROBLEMS),
    }


def _compact(values: list[Any], is_text: bool) -> dict[str, list[Any]]:
    """A column in few letters: each text once and where it stands; numbers at six digits."""
    if is_text:
        texts = list(dict.fromkeys(values))
        at = {text: number for number, text in enumerate(texts)}
        return {"texts": texts, "at": [at[value] for value in values]}
    return {
        "values": [float(f"{value:.6g}") if type(value) is float else value for value in values]
    }


def script(value: object) -> bytes:
    """A call that hands JSON to the page; what is no finite number is null."""
    return b"scalebook.take(" + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) + b");\n"


def _put(path: Path, value: object) -> None:
    """Write a script whole, unless its file says the same.

    Not synced as results are: it can be made again, and there may be thousands.
    """
    data = script(value)
    if path.is_file() and path.read_bytes() == data:
        return
    temporary = path.with_name(f".{secrets.token_hex(4)}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _made_by() -> str:
    template = (content.TEMPLATES / content.TEMPLATE).read_bytes()
    return f"{code()} {hashlib.sha256(template).hexdigest()}"


def _state(now: Snapshot, row: Mapping[str, Any], made_by: str) -> str:
    """Digest of what the page of a run is made from: its row, its files, and the code."""
    labels = [study_queries.label(row["experiment"]), study_queries.label(row["system"], "system")]
    stamps: list[Any] = [made_by, labels, {name: to_python(value) for name, value in row.items()}]
    if row["kind"] == "reported":
        stamps.append(now.listing["data/reported"])
    else:
        run = RunFiles(Path(TRIALS if row["local"] else EVIDENCE), row["stem"])
        profiling = now.listing[f"{run.results.as_posix()}/profiling"]
        names = (f"{run.stem}_rank0.pt.trace.json.gz", f"gpu_util_{row['job_id']}.log")
        stamps += [
            *(
                now.listing[path.parent.as_posix()].get(path.name)
                for path in (run.csv, run.steps, run.manifest, run.log, run.sacct)
            ),
            *(profiling.get(name) for name in names),
        ]
    return hashlib.sha256(json.dumps(stamps, default=str).encode()).hexdigest()
