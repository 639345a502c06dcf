"""Which notebooks are stale, by content, and the execution of those that are.

A notebook is executed again when its source, its parameters, a module of this package
that it imports, a version that shapes its output, or the *answer* to a question it put
to the results has changed. When a file was touched never matters.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# With the figures every room registers its queries, whose answers are asked for again.
from scalebook import contract, figures, results, study  # noqa: F401
from scalebook.contract import ScalebookError
from scalebook.publish.notebooks import dependencies
from scalebook.publish.notebooks.dependencies import sha256
from scalebook.publish.notebooks.execute import one_line, parameter_names

SCHEMA = "scalebook.notebook/1"
#: Folder of the sources, below the study's root.
FOLDER = "notebooks"
#: Seconds a cell may take.
CELL_TIMEOUT = 600.0


@dataclass(frozen=True)
class Notebook:
    """A notebook of the study and where its executed form lies.

    Attributes
    ----------
    source : Path
        The py:percent file.
    output, record : Path
        The executed notebook, and what it was executed from.
    parameters : dict
        From ``study.yaml``, ``notebooks.<name>``.
    """

    source: Path
    output: Path
    record: Path
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        """File name without its ending."""
        return self.source.stem

    @property
    def failed_output(self) -> Path:
        """What a failed execution left, to look into."""
        return self.output.with_suffix(".failed.ipynb")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook.

    Attributes
    ----------
    state : str
        ``"current"``, ``"executed"`` or ``"failed"``.
    seconds : float
        Time the execution took; 0 for a current one.
    message : str
        Why it was executed, or what failed: one line.
    """

    notebook: Notebook
    state: str
    seconds: float = 0.0
    message: str = ""


def folder(build_dir: Path) -> Path:
    """Where executed notebooks lie, below the book's build folder."""
    return build_dir / "scalebook" / FOLDER


def executed(build_dir: Path, docname: str) -> Path:
    """The executed notebook of a page, ``notebooks/NAME``."""
    return folder(build_dir) / f"{docname.rpartition('/')[2]}.ipynb"


def load(root: Path, build_dir: Path, names: list[str]) -> list[Notebook]:
    """Put the named notebooks together with their parameters from the study.

    Raises
    ------
    ScalebookError
        If the study gives a parameter that a notebook lacks, or names a notebook that is not there.
    """
    parameters = study.load(root).notebooks
    for name in parameters:
        if not (root / FOLDER / f"{name}.py").is_file():
            raise ScalebookError(
                f"study.yaml: notebooks.{name}: there is no {FOLDER}/{name}.py to give it to"
            )
    found = []
    for name in names:
        source = root / FOLDER / f"{name}.py"
        given = parameters.get(name, {})
        there = parameter_names(source) if given else []
        for key in given:
            if key not in there:
                raise ScalebookError(
                    f"study.yaml: notebooks.{name}.{key}: no such parameter; {FOLDER}/{name}.py "
                    f"has {', '.join(there) or 'none (no cell tagged parameters)'}"
                )
        out = folder(build_dir)
        found.append(Notebook(source, out / f"{name}.ipynb", out / f"{name}.json", given))
    return found


# --------------------------------------------------------------------------- staleness


def fingerprint(notebook: Notebook) -> dict[str, Any]:
    """Everything but the answers that the executed notebook depends on."""
    source = notebook.source.read_text(encoding="utf-8")
    return {
        "source": sha256(source),
        "parameters": notebook.parameters,
        "modules": results.answer(
            f"modules {sha256(source)}", lambda: dependencies.module_hashes(source)
        ),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("pandas", "plotly")},
        },
    }


def why_stale(notebook: Notebook) -> str | None:
    """Say what makes a notebook stale, or None where its executed form is current."""
    if not notebook.output.is_file() or not notebook.record.is_file():
        return "never executed"
    try:
        record = contract.read_json(notebook.record)
    except ScalebookError:
        return "its record cannot be read"
    if record.get("schema") != SCHEMA:
        return "its record is of another schema"
    if record.get("output") != sha256(notebook.output.read_bytes()):
        return "its executed file was changed"
    now = fingerprint(notebook)
    if record.get("source") != now["source"]:
        return "its source changed"
    if record.get("parameters") != now["parameters"]:
        return "its parameters changed"
    if record.get("versions") != now["versions"]:
        return "Python or a library changed"
    then = record.get("modules", {})
    for module in sorted(then.keys() | now["modules"].keys()):
        if then.get(module) != now["modules"].get(module):
            return f"{module} changed"
    for asked in record.get("queries", []):
        if _answer_now(asked) != asked["answer"]:
            return f"the answer of {_call(asked)} changed"
    return None


def _call(asked: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value!r}" for key, value in asked["kwargs"].items())
    return one_line(f"{asked['query']}({arguments})", limit=120)


def _answer_now(asked: dict[str, Any]) -> str | None:
    """Digest of a query's answer, None where it cannot be asked any more."""
    try:
        return results.answer_digest(asked["query"], asked["kwargs"])
    except Exception:  # whatever goes wrong, executing the notebook will say it
        return None


# --------------------------------------------------------------------------- execution


def execute_stale(
    notebooks: list[Notebook],
    root: Path,
    report: Callable[[Outcome], None],
    timeout: float = CELL_TIMEOUT,
) -> list[Outcome]:
    """Execute the stale ones of `notebooks`, several at once; all run though one fails.

    Parameters
    ----------
    notebooks : list of Notebook
        Those of the book.
    root : Path
        Folder of the study.
    report : callable
        Called with each outcome as it is known.
    timeout : float
        Seconds a cell may take.

    Returns
    -------
    list of Outcome
        In the order of `notebooks`.
    """
    with results.one_snapshot():
        reasons = {notebook.name: why_stale(notebook) for notebook in notebooks}

    def refresh(notebook: Notebook) -> Outcome:
        reason = reasons[notebook.name]
        current = Outcome(notebook, "current")
        outcome = execute(notebook, root, timeout, reason) if reason else current
        report(outcome)
        return outcome

    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        return list(pool.map(refresh, notebooks))


def execute(
    notebook: Notebook,
    root: Path,
    timeout: float = CELL_TIMEOUT,
    reason: str = "",
    may_submit: bool = False,
) -> Outcome:
    """Execute one notebook and keep it with its record, or leave the last good one.

    Parameters
    ----------
    notebook : Notebook
        What to execute.
    root : Path
        Folder of the study.
    timeout : float
        Seconds a cell may take.
    reason : str
        Why, for the progress line.
    may_submit : bool
        Whether the notebook may submit jobs. The book never lets one.
    """
    began = time.monotonic()
    notebook.output.parent.mkdir(parents=True, exist_ok=True)
    depends = fingerprint(notebook)
    with tempfile.TemporaryDirectory(prefix="scalebook-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        log, executed = scratch / "queries.jsonl", scratch / "executed.ipynb"
        failure = _run_worker(notebook, executed, timeout, _environment(root, scratch, may_submit))
        seconds = time.monotonic() - began
        if failure:
            if executed.is_file():
                contract.write_whole(notebook.failed_output, executed.read_bytes())
            message = f"{FOLDER}/{notebook.name}.py: {failure}"
            return Outcome(notebook, "failed", seconds, message)
        content = executed.read_bytes()
        record = {
            "schema": SCHEMA,
            **depends,
            "queries": _read_log(log),
            "output": sha256(content),
            "seconds": round(seconds, 1),
        }
        # The record is written last: a build cut short in between finds a stale notebook.
        contract.write_whole(notebook.output, content)
        contract.write_json(notebook.record, record)
    notebook.failed_output.unlink(missing_ok=True)
    return Outcome(notebook, "executed", seconds, reason)


def _environment(root: Path, scratch: Path, may_submit: bool) -> dict[str, str]:
    """Environment of a kernel: the study, the query log, nothing of the person's own IPython."""
    return {
        **os.environ,
        "SCALEBOOK_ROOT": str(root),
        "SCALEBOOK_QUERY_LOG": str(scratch / "queries.jsonl"),
        "SCALEBOOK_NO_SUBMIT": "0" if may_submit else "1",
        "PLOTLY_RENDERER": "plotly_mimetype",
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
    }


def _run_worker(
    notebook: Notebook, executed: Path, timeout: float, environment: dict[str, str]
) -> str | None:
    """Execute in a process of its own; what failed in one line, or None."""
    worker = "scalebook.publish.notebooks.execute"
    done = subprocess.run(
        [sys.executable, "-m", worker, str(notebook.source), str(executed), str(timeout)],
        input=json.dumps(notebook.parameters),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        failure: str | None = json.loads(done.stdout.splitlines()[-1])["failure"]
    except (IndexError, ValueError, KeyError):
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["silent"]
        return f"the worker ended with status {done.returncode}: {lines[-1]}"
    return failure


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Distinct queries of the log, in the order first asked."""
    if not path.is_file():
        return []
    lines = dict.fromkeys(path.read_text(encoding="utf-8").splitlines())
    return [json.loads(line) for line in lines]
