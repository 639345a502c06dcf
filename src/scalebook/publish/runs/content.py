"""What is known of one run: its words as HTML, its curves and settings as numbers and text."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from scalebook import contract, results, traces
from scalebook.analysis.comparable import to_python
from scalebook.analysis.headers import (
    EPOCH_HEADERS,
    REPORTED_HEADERS,
    SACCT_HEADERS,
    SETTING_HEADERS,
    epoch_headers,
)
from scalebook.analysis.statistics import step_rows, step_summary, thinned
from scalebook.analysis.study_queries import labels
from scalebook.contract import EVIDENCE, SYNTHETIC, TRIALS, RunFiles, ScalebookError
from scalebook.figures.notebook import cell_text
from scalebook.figures.profile.utilisation import utilisation
from scalebook.live.settings import command, flat
from scalebook.publish.origins import catalogue
from scalebook.publish.runs.links import day, key, standing, title

TEMPLATES = Path(__file__).parents[1] / "templates"
TEMPLATE = "run.html.j2"

#: Lines of the log that are shown at most, and bytes that are looked at, from its end.
LOG_LINES, TAIL_BYTES = 400, 1 << 18
#: Points of a rank's steps that are drawn at most.
POINTS = 600
#: Columns of the epochs that are drawn.
CURVES = ("epoch", "train_loss", "val_loss", "train_acc", "val_acc", "throughput")
#: Parts of a manifest that say where it ran, and with what.
ENVIRONMENT = (
    "code", "versions", "backend", "driver", "nodes", "devices", "dataset", "model", "submitted",
    "command",
)  # fmt: skip
#: Time of a trace by what the device did: key of a summary and heading.
TIMES = {
    "busy_us": "busy", "compute_us": "compute", "communication_us": "communication",
    "memory_us": "copies", "overlap_us": "communication hidden by compute", "idle_us": "idle",
}  # fmt: skip

#: Parts of a manifest that say how it was started.
STARTED = ("submitted", "command", "overrides")
#: What of a run's own record its settings say by another name.
_NAMED = {path for _, path in SETTING_HEADERS.values()}

_WORDS = {"true": "yes", "false": "no"}

Table = dict[str, Any]


def content(run: Mapping[str, Any], root: Path, offer: bool = True) -> dict[str, Any]:
    """All there is to show of a run.

    Parameters
    ----------
    run : mapping
        A row of `results.runs`.
    root : Path
        Folder of the study.
    offer : bool
        Link to the run's files, which lie beside a book.

    Returns
    -------
    dict
        ``key`` and ``title``; ``html``, the page without its curves; ``epochs``, ``steps``,
        ``utilisation``, what is drawn; ``settings``, text by name; ``files``, names of those that
        the page offers.
    """
    run = {name: to_python(value) for name, value in run.items()}
    known = _reported(run) if run["kind"] == "reported" else _measured(run, root)
    known["files"] = known["files"] if offer else []
    page = environment().get_template(TEMPLATE)
    drawn = ("epochs", "steps", "utilisation")
    return {
        "key": key(run),
        "title": title(run, labels()),
        "html": page.render(run=run, standing=standing(run), **known),
        # What started it says nothing that the settings do not.
        "settings": {
            **dict(known["settings"]["rows"]),
            **{
                name: value
                for name, value in (*known["record"]["rows"], *known["environment"]["rows"])
                if name not in _NAMED and name.partition(".")[0] not in STARTED
            },
        },
        "files": known["files"],
        **{name: known[name] for name in drawn},
    }


@functools.cache
def environment() -> jinja2.Environment:
    """Templates of the pages; what is put into them is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["word"] = catalogue.file_kind
    return environment


# --------------------------------------------------------------------------- measured runs


def _measured(run: Mapping[str, Any], root: Path) -> dict[str, Any]:
    stem = run["stem"]
    files = RunFiles(root / (TRIALS if run["local"] else EVIDENCE), stem)
    try:
        manifest = results.manifest(stem)
    except ScalebookError:
        manifest = {}
    epochs, no_epochs = _or_reason(results.epochs, stem)
    steps, no_steps = _or_reason(results.steps, stem)
    watched = run["job_id"] in results.utilisation_files()
    figure = json.loads(utilisation(run["job_id"]).to_json()) if watched else None
    resolved = pairs(flat(manifest.get("resolved") or {}))
    environment = pairs(flat({name: manifest.get(name) for name in ENVIRONMENT}))
    return {
        "lead": _lead(run),
        "warning": "SYNTHETIC DATA: generated images, the accuracies mean nothing."
        if run["dataset"] == SYNTHETIC
        else "",
        "settings": pairs(_settings(run, dict([*resolved["rows"], *environment["rows"]]))),
        "command": _command(manifest),
        "outcome": pairs(_outcome(run, manifest)),
        "epoch_table": _epoch_table(epochs),
        "no_epochs": no_epochs,
        "epochs": _columns(epochs),
        "step_table": _step_table(steps),
        "no_steps": no_steps,
        "steps": _step_curves(steps),
        "utilisation": figure,
        "utilisation_caption": ((figure or {}).get("layout", {}).get("meta") or {}).get("caption"),
        "trace": _trace(files, root),
        "attempts": _attempts(manifest),
        "record": resolved,
        "environment": environment,
        "sacct": _sacct(files.sacct),
        "log": "\n".join(tail(files.log).splitlines()[-LOG_LINES:]),
        "files": [] if run["local"] else list(catalogue.files_of(root, stem)),
    }


def _or_reason(read: Any, stem: str) -> tuple[pd.DataFrame | None, str]:
    """What a query of a run answers, or one line that says why it cannot."""
    try:
        return read(stem), ""
    except ScalebookError as error:
        return None, str(error)


def _lead(run: Mapping[str, Any]) -> str:
    """The run in one sentence."""
    epochs = int(run["epochs_done"] or 0)
    parts = [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
    if run["throughput"] is not None:
        parts.append(f"{run['throughput']:,.0f} images/s")
    if run["final_val_acc"] is not None:
        parts.append(f"{run['final_val_acc']:.1f} % validation accuracy")
    return f"{run['status'].capitalize()}: {', '.join(parts)}."


def _settings(run: Mapping[str, Any], record: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """What a run was set to, in a reader's words; its record says what the catalogue does not."""
    for name, (column, path) in SETTING_HEADERS.items():
        value = run.get(column or "")
        if value in (None, ""):
            written = record.get(path or "", "")
            yield name, _WORDS.get(written, written)
        elif (called := labels().get(column or "", {}).get(value, value)) != value:
            yield name, f"{called} ({value})"
        else:
            yield name, f"{value:,}" if type(value) is int else value


def _outcome(run: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What came out."""
    yield "status", run["status"]
    yield "stands behind documents", cell_text(bool(run["evidence"]), 0)
    for metric in results.METRICS.values():
        if run[metric.name] is not None:
            yield metric.heading, cell_text(run[metric.name], metric.digits)
    if run["dataset"] == SYNTHETIC:
        settings = (manifest.get("resolved") or {}).get("dataset") or {}
        yield "images generated because", settings.get("generated") or "asked for"
    yield "started", day(run["started"] or "")
    yield "note", run["note"]


def _command(manifest: Mapping[str, Any]) -> str:
    """The line that would run it again; empty where the record does not say."""
    resolved = manifest.get("resolved") or {}
    if "experiment" not in resolved:
        return ""
    experiment, system = str(resolved["experiment"]), str(resolved.get("system"))
    return command(experiment, system, resolved.get("seed"), resolved.get("overrides") or {})


def _epoch_table(epochs: pd.DataFrame | None) -> Table | None:
    if epochs is None or epochs.empty:
        return None
    names = [name for name in EPOCH_HEADERS if name in epochs]
    columns = [
        [cell_text(to_python(value), EPOCH_HEADERS[name][1]) for value in epochs[name]]
        for name in names
    ]
    return {
        "headers": list(epoch_headers(names).values()),
        "rows": list(zip(*columns, strict=True)),
    }


def _columns(epochs: pd.DataFrame | None) -> dict[str, list[Any]]:
    if epochs is None:
        return {}
    found = {
        name: [to_python(value) for value in epochs[name]] for name in CURVES if name in epochs
    }
    return {name: values for name, values in found.items() if any(v is not None for v in values)}


def _step_table(steps: pd.DataFrame | None) -> Table | None:
    if steps is None or steps.empty:
        return None
    rows = [
        (title, cell_text(value, 0 if name == "steps" else 3))
        for name, title, value in step_rows(step_summary(steps))
    ]
    return {"headers": [], "rows": rows}


def _step_curves(steps: pd.DataFrame | None) -> dict[str, Any]:
    """Milliseconds of the steps of each rank; of long runs medians of neighbours."""
    if steps is None or steps.empty:
        return {}
    together, ranks = 1, []
    for rank, mine in steps.groupby("rank", sort=True):
        times = 1e3 * mine["step_time_s"].reset_index(drop=True)
        together = max(together, -(-len(times) // POINTS))
        ranks.append({"rank": int(rank), "ms": thinned(times, together).round(3).tolist()})
    return {"together": together, "ranks": ranks}


def _trace(files: RunFiles, root: Path) -> dict[str, Any] | None:
    """Verdict and times of the first rank's trace, where it was recorded."""
    now = results.snapshot()
    folder = files.results.relative_to(root)
    path = RunFiles(folder, files.stem).trace(rank=0)
    if not now.holds(path):
        return None
    try:
        summary = traces.trace_summary(path.as_posix())
    except ScalebookError as error:
        return {"verdict": str(error), "times": None}
    time = summary["time"]
    whole = time["busy_us"] + time["idle_us"]
    rows = [
        (title, cell_text(time[name] / 1e3, 2), cell_text(100 * time[name] / whole, 1))
        for name, title in TIMES.items()
        if whole and time.get(name) is not None
    ]
    headers = ["the device was", "time (ms)", "share (%)"]
    return {"verdict": summary["verdict"], "times": {"headers": headers, "rows": rows}}


def _attempts(manifest: Mapping[str, Any]) -> Table | None:
    keys = ("number", "start", "end", "ended", "reason", "first_epoch", "first_step")
    headers = ["attempt", *keys[1:5], "first epoch", "first step"]
    attempts = contract.attempts_of(dict(manifest))
    rows = [[cell_text(attempt.get(name) or None, 0) for name in keys] for attempt in attempts]
    return {"headers": headers, "rows": rows} if rows else None


def _sacct(path: Path) -> Table | None:
    """Slurm's record, a row a job and step."""
    rows = list(csv.DictReader(io.StringIO(tail(path))))
    cells = [[row.get(name) or "–" for name in SACCT_HEADERS] for row in rows]
    return {"headers": list(SACCT_HEADERS.values()), "rows": cells} if cells else None


# --------------------------------------------------------------------------- reported runs


def _reported(run: Mapping[str, Any]) -> dict[str, Any]:
    """What others reported of a job whose files are not here."""
    table = results.reported()
    mine = table[table["job_id"] == run["job_id"]].to_dict("records")
    rows = [
        (_quantity(row["metric"]), f"{row['value']:,.6g} {row['unit']}", row["as_written"])
        for row in mine
    ]
    names = results.reported_files().get(run["job_id"], [])
    left = ("expected files", ", ".join(names))
    return {
        # Nothing is drawn, and the template leaves out what it is not given.
        "epochs": {},
        "steps": {},
        "utilisation": None,
        "lead": f"{run['note'][:1].upper()}{run['note'][1:]}",
        "values": {"headers": ["quantity", "value", "as written"], "rows": rows},
        "settings": pairs([("job", run["job_id"]), *_settings(run, {}), left]),
        "record": pairs([]),
        "environment": pairs([]),
        "files": sorted({row["source_file"] for row in mine}),
    }


def _quantity(metric: str) -> str:
    """What a reader calls a reported quantity; its unit stands with the value."""
    if metric in REPORTED_HEADERS:
        return REPORTED_HEADERS[metric]
    known = results.METRICS.get(metric)
    return known.title if known else metric.replace("_", " ")


# --------------------------------------------------------------------------- helpers


def pairs(rows: Iterable[tuple[str, Any]]) -> Table:
    """Rows of a name and a value; what has no value is left out."""
    shown = [(name, str(value)) for name, value in rows if value not in (None, "")]
    return {"headers": [], "rows": shown}


def tail(path: Path) -> str:
    """End of a text file of the study; empty where it is not there."""
    if contract.leads_out(contract.find_root(), path):
        return f"{path.name} {contract.LEADS_OUT}"
    try:
        with open(path, "rb") as file:
            file.seek(0, io.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
