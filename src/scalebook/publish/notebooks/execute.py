"""Execute one notebook through papermill, in a process of its own.

``python -m scalebook.publish.notebooks.execute SOURCE OUTPUT TIMEOUT`` reads the parameters as
JSON from standard input and answers with one JSON object on standard output. A process a notebook
keeps their environments apart, and a kernel that dies takes no other with it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import jupytext
import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

#: Seconds a kernel may take to come up.
START_TIMEOUT = 60


class OwnKernel(AsyncKernelManager):
    """Kernel of this interpreter, whatever kernels somebody has installed under its name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        return KernelSpec(**get_kernel_dict())


def read_source(path: Path) -> nbformat.NotebookNode:
    """Read a py:percent notebook as nbformat 4, with cell ids that do not change.

    Raises
    ------
    ValueError
        If the file cannot be read as a notebook.
    """
    notebook: nbformat.NotebookNode = jupytext.read(path, fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
        cell.metadata.setdefault("tags", [])  # papermill looks into them
    notebook.metadata.setdefault(
        "kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"}
    )
    return notebook


def parameter_names(path: Path) -> list[str]:
    """Names assigned in the cell tagged ``parameters``."""
    return list(papermill.inspect_notebook(read_source(path)))


# Parameters are whatever JSON holds.
def execute(source: Path, output: Path, parameters: dict[str, Any], timeout: float) -> str | None:
    """Execute `source` into `output`, which holds an error too where a cell failed.

    Parameters
    ----------
    source : Path
        A py:percent notebook; its folder is the kernel's working directory.
    output : Path
        The executed ``.ipynb``: no time stamps and no paths, so that the same answers
        give the same file.
    parameters : dict
        Put over the values of the ``parameters`` cell.
    timeout : float
        Seconds a cell may take.

    Returns
    -------
    str or None
        What failed, in one line, or None.
    """
    with tempfile.TemporaryDirectory(prefix="scalebook-") as scratch:
        prepared = Path(scratch) / "prepared.ipynb"
        raw = Path(scratch) / "executed.ipynb"
        nbformat.write(read_source(source), prepared)
        for attempt in (1, 2):
            try:
                failure = _run(prepared, raw, source.parent, parameters, timeout)
                break
            except RuntimeError:  # the kernel did not come up
                if attempt == 2 or _cells_started(raw):
                    raise
        if raw.is_file():
            notebook = nbformat.read(raw, as_version=4)
            _strip(notebook)
            nbformat.write(notebook, output)
    return failure


def _run(
    prepared: Path, raw: Path, folder: Path, parameters: dict[str, Any], timeout: float
) -> str | None:
    """Execute through papermill; what failed in one line, or None."""
    try:
        papermill.execute_notebook(
            prepared, raw, parameters, kernel_name="python3", progress_bar=False, cwd=folder,
            execution_timeout=timeout, start_timeout=START_TIMEOUT, config=_kernel(raw.parent),
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        message = click.unstyle(f"{error.ename}: {error.evalue}")
        return f"code cell {error.exec_count}: {one_line(message)}"
    except CellTimeoutError:
        return f"code cell {_cells_started(raw)}: took longer than {timeout:g} s"
    except DeadKernelError:
        return f"code cell {_cells_started(raw)}: the kernel died"
    return None


def _kernel(folder: Path) -> Config:
    """Start `OwnKernel`, and talk to it over sockets in a folder of its own where they fit.

    Ports are picked free and bound later; kernels that start at the same moment on one
    machine can pick the same, and then wait for each other's answers.
    """
    path = str(folder / "k")
    fits = os.name == "posix" and len(path.encode()) < 90  # of 107, for what zmq appends
    manager = {"KernelManager": {"transport": "ipc", "ip": path}} if fits else {}
    return Config({"NotebookClient": {"kernel_manager_class": OwnKernel}, **manager})


def one_line(text: str, limit: int = 300) -> str:
    """First line of a message that is not empty, shortened."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    first = lines[0] if lines else "no message"
    return first if len(first) <= limit else first[: limit - 1] + "…"


def _cells_started(path: Path) -> int:
    """How many code cells papermill has started, so the number of the running one."""
    if not path.is_file():
        return 0
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return sum(cell.metadata.get("papermill", {}).get("start_time") is not None for cell in cells)


def _strip(notebook: nbformat.NotebookNode) -> None:
    """Drop time stamps, durations and absolute paths."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"


def main(arguments: list[str]) -> int:
    """Entry of the process; see the module's description."""
    source, output, timeout = Path(arguments[0]), Path(arguments[1]), float(arguments[2])
    parameters = json.load(sys.stdin)
    try:
        failure = execute(source, output, parameters, timeout)
    except Exception as error:  # a kernel that cannot start, a source that cannot be parsed
        failure = one_line(f"{type(error).__name__}: {error}")
    print(json.dumps({"failure": failure}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
