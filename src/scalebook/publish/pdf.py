"""``scalebook pdf``: the documents as PDFs, quietly, with what TeX complains about."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import yaml

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.publish import tex
from scalebook.publish.build import BuildFailed, mouths, run_jupyter_book
from scalebook.publish.latex import documents, log

#: Folder of the PDFs that are committed, below the study's root.
FOLDER = "docs"


def build_pdfs(root: Path, echo: Callable[[str], None] | None = None) -> int:
    """Typeset the documents of a study and copy all but the whole book to ``docs/``.

    The slides are printed too, where the study has some.

    Parameters
    ----------
    root : Path
        Folder of the study.
    echo : callable, optional
        Told each line worth showing; printed where left out, complaints to standard error.

    Returns
    -------
    int
        0, or 1 if a document was not made.

    Raises
    ------
    ScalebookError
        If TeX is not there, with the line that installs it.
    """
    say, complain = mouths(echo)
    if gone := tex.missing():
        raise ScalebookError(f"pdf: no {', '.join(gone)}: {tex.install_line()}")
    # Started by make, it would take part in that make's jobs.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    folder = root / "_build" / "latex"
    try:
        run_jupyter_book(root, "pdflatex", say)
    except BuildFailed as failure:
        for line in [*_stopped(folder), *failure.lines]:
            complain(line)
        return 1
    failed = 0
    made = []
    for document in of_study(root):
        pdf = folder / f"{document.name}.pdf"
        for line in log.complaints(folder / f"{document.name}.log"):
            complain(f"warning: {line}")
        made.append((pdf, document.style != "book"))
    try:
        made += [(path, True) for path in _slides(root, say)]
    except ScalebookError as error:
        complain(f"scalebook: {error}")
        failed = 1
    for pdf, released in made:
        target = root / FOLDER / pdf.name if released else pdf
        if released:
            contract.write_whole(target, pdf.read_bytes())
        say(str(target))
    return failed


def of_study(root: Path) -> list[documents.Document]:
    """Documents that a study's ``_config.yml`` names."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8")) or {}
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")) or {}
    setting = ((config.get("sphinx") or {}).get("config") or {}).get("scalebook_documents")
    return documents.declared(setting, str(toc.get("root", "index")))


def _stopped(folder: Path) -> list[str]:
    """What TeX said where it stopped."""
    return [
        line
        for path in sorted(folder.glob("*.log"))
        for line in log.complaints(path)
        if line.startswith(f"{path.stem}: error")
    ]


def _slides(root: Path, say: Callable[[str], None]) -> list[Path]:
    from scalebook.publish.slides import deck

    if not (root / f"{deck.PAGE}.md").is_file():
        return []
    return [path for path in deck.build(root, say) if path.suffix == ".pdf"]
