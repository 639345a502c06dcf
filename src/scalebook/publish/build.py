"""``scalebook book``: Jupyter Book run quietly, with the lines that matter."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from scalebook.contract import ScalebookError
from scalebook.publish.pages import PREFIX
from scalebook.study.document import not_utf8
from scalebook.train.privacy import printable

_MATTERS = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^(\w+\.)*\w+(Error|Exception): \S")


def build_book(root: Path, say: Callable[[str], None] = click.echo) -> Path:
    """Build the HTML book of a study.

    Warnings fail the build, after all pages have been written. The full output is kept
    in ``_build/scalebook/build.log``.

    Parameters
    ----------
    root : Path
        Folder of the study.
    say : callable
        Takes each line of progress.

    Returns
    -------
    Path
        The page to open.

    Raises
    ------
    ScalebookError
        If it fails. The warnings and errors are on standard error.
    """
    run_jupyter_book(root, "html", say)
    return root / "_build" / "html" / "index.html"


def run_jupyter_book(root: Path, builder: str, say: Callable[[str], None]) -> None:
    """Run Jupyter Book on a study with warnings as errors.

    Raises
    ------
    ScalebookError
        If it fails. The warnings and errors are on standard error.
    """
    for name in ("_config.yml", "_toc.yml"):
        if not (root / name).is_file():
            raise ScalebookError(
                f"{name}: not there, so there is no book to build: copy it from Scalebook"
            )
        if problem := not_utf8((root / name).read_bytes()):
            raise ScalebookError(f"{name}: {problem}")
    # Jupyter Book has no __main__, and its script's first line breaks where paths hold spaces.
    start = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jb'; main()"
    command = ["-c", start, "build", "-W", "--keep-going", "--builder", builder, "."]
    log = "build.log" if builder == "html" else f"{builder}.log"
    try:
        run_quietly(command, root, "book", log, say)
    except ScalebookError:
        # Sphinx warns of a page only when it reads it: the next build reads all anew.
        (root / "_build" / ".doctrees" / "environment.pickle").unlink(missing_ok=True)
        raise


def run_quietly(
    arguments: list[str], root: Path, product: str, log: str, say: Callable[[str], None]
) -> None:
    """Run Python with these arguments, keep what it writes in ``_build/scalebook/<log>``.

    Only lines of this package's own are shown.

    Raises
    ------
    ScalebookError
        If it fails, so that the `product` is not there. The warnings and errors are on standard
        error.
    """
    kept = root / "_build" / "scalebook" / log
    kept.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with (
        open(kept, "w", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=root,
            env={
                **os.environ,
                "SCALEBOOK_ROOT": str(root),
                "PYTHONUNBUFFERED": "1",
                "NO_COLOR": "1",
            },
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        for raw in process.stdout or ():
            line = printable(click.unstyle(raw.rstrip()))
            file.write(line + "\n")
            lines.append(line)
            if line.startswith(PREFIX):
                say(line.removeprefix(PREFIX))
    if process.returncode:
        click.echo("\n".join(lines_that_matter(lines)), err=True)
        raise ScalebookError(
            f"the {product} was not built; everything said is in {kept.relative_to(root)}"
        )


def lines_that_matter(lines: list[str], most: int = 20) -> list[str]:
    """Warnings and errors of a build, each once; its last lines where there are none."""
    found = [line for line in lines if _MATTERS.search(line) and not line.startswith(PREFIX)]
    once = [line.replace(f"ERROR: {PREFIX}", "error: ") for line in dict.fromkeys(found)]
    return (once or [line for line in lines if line.strip()][-5:])[:most]
