"""``scalebook pdf``: the documents as PDFs, quietly, with what TeX complains about."""

import os
from pathlib import Path

import click

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.publish.build import run_jupyter_book
from scalebook.publish.latex import documents, tex
from scalebook.publish.slides import deck
from scalebook.train.privacy import printable

#: Folder of the PDFs that are committed, below the study's root.
FOLDER = "docs"


def build_pdfs(root: Path) -> None:
    """Typeset the documents of a study and copy all but the whole book to ``docs/``.

    The slides are printed too, where the study has some. Says which files were made, and on
    standard error what TeX complains about.

    Parameters
    ----------
    root : Path
        Folder of the study.

    Raises
    ------
    ScalebookError
        If a document was not made, or TeX is not there, with the line that installs it.
    """
    if gone := tex.missing():
        raise ScalebookError(f"pdf: no {', '.join(gone)}: {tex.install_line()}")
    # Started by make, it would take part in that make's jobs.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    folder = root / "_build" / "latex"
    try:
        run_jupyter_book(root, "pdflatex", click.echo)
    except ScalebookError:
        for log in sorted(folder.glob("*.log")):
            for line in tex.complaints(log):
                if line.startswith(f"{log.stem}: error"):
                    click.echo(printable(line), err=True)
        raise
    for document in documents.of_study(root):
        for line in tex.complaints(folder / f"{document.name}.log"):
            click.echo(printable(f"warning: {line}"), err=True)
    for document in documents.of_study(root):
        pdf = folder / f"{document.name}.pdf"
        click.echo(pdf if document.style == "book" else _released(root, pdf))
    if (root / f"{deck.PAGE}.md").is_file():
        _, pdf = deck.build(root, click.echo)
        click.echo(_released(root, pdf))


def _released(root: Path, pdf: Path) -> Path:
    """Copy a PDF to where it is committed."""
    target = root / FOLDER / pdf.name
    contract.write_whole(target, pdf.read_bytes())
    return target
