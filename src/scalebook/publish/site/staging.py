"""Pages that are written beside the book and moved into it at the end.

Who reads the book while it is built finds the old pages whole, and a build that fails changes none.
Only what is written anew is moved, so that a small change costs what it did.
"""

import os
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.builders import Builder

from scalebook.publish.runs import links


def move(new: Path, book: Path) -> None:
    """Rename each file below `new` to its place in `book`: pages last, they name the others."""
    files = [path for path in new.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.suffix == ".html"):
        target = book / path.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


def _begin(app: Sphinx, builder: Builder) -> None:
    """Lead what is written from here on to a folder of its own; Sphinx knows what is outdated."""
    if builder.name not in links.BUILDERS:
        return
    book = app.outdir
    new = book.with_name(f".{book.name}-new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    app.outdir = builder.outdir = new

    def end(app: Sphinx, exception: Exception | None) -> None:
        app.outdir = builder.outdir = book
        if exception is None:
            move(new, book)
        shutil.rmtree(new, ignore_errors=True)

    # Before others, which add to the book what it has not yet.
    app.connect("build-finished", end, priority=100)


def setup(app: Sphinx) -> None:
    """Begin once Sphinx has compared the pages with their sources."""
    app.connect("write-started", _begin)
