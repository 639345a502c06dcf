"""``scalebook book``: Jupyter Book run quietly, with the lines that matter."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from scalebook.publish.messages import PREFIX
from scalebook.train import locking

_MATTERS = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^(\w+\.)*\w+(Error|Exception): \S")


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait until no other `scalebook book` is at work on this study, and keep others waiting.

    Two at once would start the first run twice and write each other's pages.
    """
    path = root / ".scalebook" / "book.lock"
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as file:
        if not locking.acquire(file, wait=False):
            print("scalebook: another build is at work here; waiting for it", file=sys.stderr)
            locking.acquire(file, wait=True)
        yield


def build_book(root: Path, echo: Callable[[str], None] | None = None) -> int:
    """Build the HTML book of a study.

    Warnings fail the build, after all pages have been written. The full output is kept
    in ``_build/scalebook/build.log``.

    Parameters
    ----------
    root : Path
        Folder of the study.
    echo : callable, optional
        Told each line worth showing; printed where left out, failures to standard error.

    Returns
    -------
    int
        0, or 1 if the build failed.
    """
    say, complain = mouths(echo)
    try:
        run_jupyter_book(root, "html", say)
    except BuildFailed as failure:
        for line in failure.lines:
            complain(line)
        return 1
    say(str(root / "_build" / "html" / "index.html"))
    return 0


def mouths(echo: Callable[[str], None] | None) -> tuple[Callable[[str], None], ...]:
    """Where a command's lines go, and its complaints; to the standard streams without `echo`."""
    return (
        echo or (lambda line: print(line, flush=True)),
        echo or (lambda line: print(line, file=sys.stderr, flush=True)),
    )


class BuildFailed(Exception):
    """A build that ended with an error; `lines` say why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[-1])
        self.lines = lines


def run_jupyter_book(root: Path, builder: str, say: Callable[[str], None]) -> Path:
    """Run Jupyter Book on a study with warnings as errors; return the log with all it said.

    Raises
    ------
    BuildFailed
        With the warnings and errors, and where the log is.
    """
    for name in ("_config.yml", "_toc.yml"):
        if not (root / name).is_file():
            raise BuildFailed(
                [f"{name}: not there, so there is no book to build: copy it from Scalebook"]
            )
    log = root / "_build" / "scalebook" / ("build.log" if builder == "html" else f"{builder}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    # Jupyter Book has no __main__, and its script's first line breaks where paths hold spaces.
    start = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jb'; main()"
    command = [sys.executable, "-c", start, "build", "-W", "--keep-going", "--builder", builder,
               "."]  # fmt: skip
    lines: list[str] = []
    with open(log, "w", encoding="utf-8") as file, subprocess.Popen(
        command, cwd=root, env=environment, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for raw in process.stdout:
            line = click.unstyle(raw.rstrip())
            file.write(line + "\n")
            lines.append(line)
            if line.startswith(PREFIX):
                say(line.removeprefix(PREFIX))
    if process.returncode:
        ending = f"the book was not built; everything said is in {log.relative_to(root)}"
        raise BuildFailed([*telling(lines), ending])
    return log


def telling(lines: list[str], most: int = 20) -> list[str]:
    """Warnings and errors of a build, each once; its last lines where there are none."""
    found = [line for line in lines if _MATTERS.search(line) and not line.startswith(PREFIX)]
    said = list(dict.fromkeys(found))
    said = [line.replace(f"ERROR: {PREFIX}", "error: ") for line in said]
    return (said or [line for line in lines if line.strip()][-5:])[:most]
