"""Files of the study that a page offers for download, brought beside it.

A notebook links to ``../results/profiling/NAME``, which is where the file lies for a reader
in JupyterLab. A book holds the files that its pages link to in the same place.
"""

from __future__ import annotations

import filecmp
import html
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from sphinx.application import Sphinx

from scalebook.contract import leads_out

#: Folder whose files a notebook may offer, below the study's root.
FOLDER = "results/profiling"
#: What the page of origins may offer: committed results, and what numbers are read from.
OFFERED = (
    "results/csv/",
    "results/steps/",
    "results/manifests/",
    "results/logs/",
    "results/allreduce/",
    "results/profiling/",
    "data/reported/",
    "data/systems/",
    "data/cited/",
    "data/examples/",
    "data/plan.yaml",
    "study.yaml",
)

_LINK = re.compile(r'<a href="\.\./([^"]+)" download')


def setup(app: Sphinx) -> None:
    """Bring the files as each page is written."""
    app.connect("doctree-resolved", _bring)


def links(markup: str) -> list[str]:
    """Files below `FOLDER` that HTML of a notebook offers, relative to the study's root."""
    found = [unquote(html.unescape(target)) for target in _LINK.findall(markup)]
    return [path for path in found if Path(path).parent.as_posix() == FOLDER]


def _bring(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for node in doctree.findall(nodes.raw):
        for name in links(node.astext()):
            bring(app, name)


def may_offer(root: Path, name: str) -> bool:
    """Whether a file of the study, relative to `root`, is there and may lie in the book."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    there = inside and name.startswith(OFFERED) and (root / name).is_file()
    return there and not leads_out(root, name)


def bring(app: Sphinx, name: str) -> None:
    """Copy a file of the study to its place in the book, unless it is there already."""
    source, target = Path(app.srcdir) / name, Path(app.outdir) / name
    if not may_offer(Path(app.srcdir), name):
        return
    if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
