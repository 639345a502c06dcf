"""All there is to say about one run, as the report that is mailed shows it."""

import csv
import html
import io
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML, display

from scalebook import contract, results
from scalebook.analysis.headers import SACCT_HEADERS
from scalebook.contract import RunFiles, ScalebookError, Stem
from scalebook.live.run import RunView

#: Lines of the log that a report holds at most.
LOG_LINES = 80
#: Bytes of a log or of Slurm's record that are looked at, from its end.
TAIL_BYTES = 1 << 20


@dataclass(frozen=True)
class RunReport:
    """One run of the catalogue and its files.

    Attributes
    ----------
    stem : str
        The run.
    manifest : dict
        Its own record; empty for an imported run, which has none.
    files : RunFiles
        Where its files lie, whether they are there or not.
    """

    stem: str
    manifest: dict[str, Any]
    files: RunFiles

    @property
    def about(self) -> pd.DataFrame:
        """What it was and what came out, as pairs of ``property`` and ``value``."""
        table = RunView(self.stem, "").about
        table = table[table["property"] != "shown because"]
        run = results.runs(stem=self.stem)
        run = run[run["kind"] != "reported"].iloc[0]
        shown = {
            "throughput": ("median throughput (images/s)", 1),
            "epoch_time_s": ("median time per epoch (s)", 2),
            "final_val_acc": ("final validation accuracy (%)", 2),
        }
        rows = [
            (title, f"{run[name]:,.{digits}f}")
            for name, (title, digits) in shown.items()
            if pd.notna(run[name])
        ]
        rows += [("repeat it with", self.command)] if self.command else []
        return pd.concat([table, _pairs(rows)], ignore_index=True)

    @property
    def command(self) -> str:
        """The line that would run it again; empty where the record does not say."""
        resolved = self.manifest.get("resolved") or {}
        if "experiment" not in resolved:
            return ""
        experiment, system, seed = (
            str(resolved.get(key)) for key in ("experiment", "system", "seed")
        )
        words = ["scalebook", "run", experiment, "--system", system, "--seed", seed]
        for key, value in (resolved.get("overrides") or {}).items():
            words += ["--set", f"{key}={_word(value)}"]
        return shlex.join(words)

    @property
    def steps(self) -> pd.DataFrame:
        """Percentiles of the step time; a count is a whole number."""
        table = RunView(self.stem, "").steps
        whole = [int(value) if float(value).is_integer() else value for value in table["value"]]
        return table.assign(value=pd.Series(whole, index=table.index, dtype=object))

    @property
    def attempts(self) -> pd.DataFrame:
        """How each attempt began and ended."""
        keys = ("number", "start", "end", "ended", "reason", "first_epoch", "first_step")
        rows = [[one.get(key) for key in keys] for one in contract.attempts_of(self.manifest)]
        return pd.DataFrame(rows, columns=["attempt", *keys[1:5], "first epoch", "first step"])

    @property
    def configuration(self) -> pd.DataFrame:
        """Every setting the ranks read, as ``property`` and ``value``."""
        return _pairs(_flat(self.manifest.get("resolved") or {}))

    @property
    def environment(self) -> pd.DataFrame:
        """Code, versions, nodes and devices, as ``property`` and ``value``."""
        names = ("code", "versions", "backend", "driver", "nodes", "devices", "dataset", "model",
                 "submitted", "command")  # fmt: skip
        return _pairs(_flat({name: self.manifest.get(name) for name in names}))

    @property
    def sacct(self) -> pd.DataFrame:
        """Slurm's record, a row a job and step; empty where there is none."""
        rows = list(csv.DictReader(io.StringIO(_tail(self.files.sacct))))
        cells = [[row.get(name) or None for name in SACCT_HEADERS] for row in rows]
        return pd.DataFrame(cells, columns=list(SACCT_HEADERS.values()))

    @property
    def job(self) -> str:
        """Its job id."""
        return Stem.parse(self.stem).job_id

    @property
    def watched(self) -> bool:
        """Whether something looked at the devices meanwhile."""
        return self.job in results.utilisation_files()

    @property
    def log(self) -> str:
        """Last lines of the log; empty where there is none."""
        return "\n".join(_tail(self.files.log).splitlines()[-LOG_LINES:])


def run_report(stem: str) -> RunReport:
    """Collect what there is about a run of the catalogue."""
    root = contract.find_root()
    try:
        manifest = results.manifest(stem)
    except ScalebookError:
        manifest = {}
    files = contract.locate(root, stem) or RunFiles(root / contract.EVIDENCE, stem)
    return RunReport(stem, manifest, files)


def show_text(text: str, empty: str) -> None:
    """Display text as it is, escaped."""
    shown = f"<pre>{html.escape(text)}</pre>" if text else f"<p><em>{html.escape(empty)}</em></p>"
    display(HTML(shown))


# --------------------------------------------------------------------------- helpers


def _pairs(rows: Any) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["property", "value"], dtype=object)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a JSON value with their path; a list of words is one leaf."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "schema":
                yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{number}]")
    elif isinstance(value, list):
        joined = shlex.join(map(str, value)) if name in ("submitted", "command") else None
        yield name, joined or ", ".join(map(str, value))
    elif value not in (None, ""):
        yield name, _word(value)


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, list)) else str(value)


def _tail(path: Path) -> str:
    """End of a text file of the study; empty where it is not there."""
    if contract.leads_out(contract.find_root(), path):
        return f"{path.name} {contract.LEADS_OUT}"
    try:
        with open(path, "rb") as file:
            file.seek(0, io.SEEK_END)
            start = max(0, file.tell() - TAIL_BYTES)
            file.seek(start)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
