"""Plain Jupyter Book on small studies that tests make and change."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from waiting import PATIENCE_S

#: ``_config.yml`` of a small book; further keys may follow.
CONFIG = """\
title: Small
author: Nobody
logo: ""
only_build_toc_files: true
execute: {execute_notebooks: "off"}
sphinx: {extra_extensions: [scalebook.publish.sphinx_ext]}
"""


def toc(*pages: str) -> str:
    """``_toc.yml`` of a small book with these pages below ``book/index``."""
    chapters = "".join(f"  - {{file: {page}}}\n" for page in pages)
    return f"format: jb-book\nroot: book/index\nchapters:\n{chapters}"


def jb(root: Path, *options: str) -> subprocess.CompletedProcess:
    """``jb build`` of a study, with the interpreter of the tests."""
    start = "import sys; from jupyter_book.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", start, "build", *options, "."],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def launch_link(hub: str, notebook: str) -> str:
    """Where the launch button of a notebook leads, in a book made of github.com/some/study."""
    query = {
        "repo": "https://github.com/some/study",
        "urlpath": f"lab/tree/study/{notebook}",
        "branch": "main",
    }
    return f"{hub}/hub/user-redirect/git-pull?{urlencode(query, safe='/')}"


@contextlib.contextmanager
def put_back(root: Path) -> Iterator[None]:
    """Afterwards the files of a study are as they were; its build stays as it is."""
    kept = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kept = {path: content for path, content in kept.items() if root / "_build" not in path.parents}
    yield
    for path, content in kept.items():
        path.write_bytes(content)
