"""``scalebook check``: everything the study hands over, and whether it is there and current.

`data/deliverables.yaml` declares what that is, so that another study names its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from scalebook.contract import ScalebookError
from scalebook.project import committed
from scalebook.project.deliverable import MISSING, OK, STALE, WRONG, Deliverable, about
from scalebook.study.document import read

DECLARED = "data/deliverables.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(_Strict):
    """A document: its source, its PDF, and what both must have."""

    source: str
    pdf: str
    pages: tuple[int, int]
    without_references: bool = False
    sections: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    slides: int | None = None


class Declared(_Strict):
    """What a study has to hand over."""

    documents: dict[str, Document] = Field(default_factory=dict)
    figures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    budget_mib: float = 30


def declared(root: Path) -> Declared:
    """Read what a study has to hand over; nothing where it does not say."""
    path = root / DECLARED
    return read(Declared, path, DECLARED) if path.is_file() else Declared()


def check(root: Path) -> list[Deliverable]:
    """Look at every deliverable of the study around here.

    Parameters
    ----------
    root : Path
        Folder of the study.

    Returns
    -------
    list of Deliverable
        In the order in which one would mend them.

    Raises
    ------
    ScalebookError
        If `data/deliverables.yaml` is wrong.
    """
    wanted = declared(root)
    parts: list[Callable[[], Iterator[Deliverable]]] = [
        lambda: _files(root, wanted),
        lambda: committed.results_complete(root),
        lambda: committed.personal(root),
        lambda: _figures(wanted),
        lambda: _specification(root),
        lambda: _typed(root),
        lambda: _documents(root, wanted),
        lambda: committed.budget(root, wanted.budget_mib),
    ]
    return [one for part in parts for one in part()]


# --------------------------------------------------------------------------- files


def _files(root: Path, wanted: Declared) -> Iterator[Deliverable]:
    for name in wanted.files:
        path = root / name
        there = path.is_file() and path.stat().st_size > 0
        yield Deliverable(
            name, OK if there else MISSING, "there" if there else "not there, or empty",
            "" if there else "write it, or take it from data/deliverables.yaml",
        )  # fmt: skip


# --------------------------------------------------------------------------- what is made of them


def _figures(wanted: Declared) -> Iterator[Deliverable]:
    from PIL import Image

    from scalebook.figures import FIGURES, build, static, theme

    out, stale = static.folder(), static.stale()
    mend = "scalebook figures"
    for name in wanted.figures:
        title = f"plot {name}"
        gone = [s for s in static.SUFFIXES if not (out / f"{name}{s}").is_file()]
        if name not in FIGURES:
            yield Deliverable(title, WRONG, "no figure is called so", f"correct {DECLARED}")
        elif gone and theme.is_empty(drawn := build(name)):
            yield Deliverable(title, MISSING, "nothing to draw yet", drawn.layout.meta["caption"])
        elif gone:
            yield Deliverable(title, MISSING, f"no {', '.join(gone)}", mend)
        elif name in stale:
            yield Deliverable(title, STALE, "shows other numbers than the results", mend)
        else:
            with Image.open(out / f"{name}.png") as picture:
                dpi = round(picture.info.get("dpi", (0, 0))[0])
            fine = dpi == static.DPI
            found = f"PNG at {dpi} dpi, and SVG"
            yield Deliverable(title, OK if fine else WRONG, found, "" if fine else mend)
    others = [name for name in stale if name not in wanted.figures]
    yield about("other plots", others, "current", mend, STALE)


def _specification(root: Path) -> Iterator[Deliverable]:
    from scalebook.project import specification

    path = root / specification.FILE
    if not path.is_file():  # whether it must be there is declared
        return
    page = path.read_text(encoding="utf-8")
    try:
        stale = specification.refreshed(page, root) != page
    except ScalebookError as error:
        mend = "correct it, or take it away where it tells of another study"
        yield Deliverable(f"tables of {specification.FILE}", WRONG, str(error), mend)
        return
    lacking = ["they say something else than the facts and runs"] if stale else []
    yield about(
        f"tables of {specification.FILE}", lacking, "current", "scalebook specification", STALE
    )


def _typed(root: Path) -> Iterator[Deliverable]:
    from scalebook.project import typed

    found = [str(one) for one in typed.typed_numbers(root)]
    mend = f"ask for it by key, or name it with its reason in {typed.ALLOWED}"
    yield about("no number typed by hand", found, "every number has its key", mend, WRONG)


def _documents(root: Path, wanted: Declared) -> Iterator[Deliverable]:
    from scalebook.publish import ledger_digest

    digest = ledger_digest() if wanted.documents else ""
    for name, document in wanted.documents.items():
        yield _source(root, name, document)
        yield _pdf(root, name, document, digest)


def _source(root: Path, name: str, document: Document) -> Deliverable:
    """Sections and figures that a document's source must have."""
    title = f"{name}: text"
    path = root / document.source
    if not path.is_file():
        return Deliverable(title, MISSING, f"no {document.source}", "write it")
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#{1,4}\s+(.+)$|^:{3,}\s*\{container\}\s*(\w+)", text, re.M)
    told = [f"{one}{other}".casefold() for one, other in headings]
    lacking = [s for s in document.sections if not any(s.casefold() in one for one in told)]
    lacking += [
        f"figure {figure}"
        for figure in document.shows
        if not re.search(rf"\{{study-figure\}}\s+{re.escape(figure)}\b", text)
    ]
    count = len(re.findall(r"^##\s", text, re.M))
    if document.slides is not None and count != document.slides:
        lacking.append(f"{document.slides} slides, there are {count}")
    found = f"{len(document.sections)} sections, {len(document.shows)} figures"
    return about(title, lacking, found, f"write it in {document.source}", MISSING)


def _pdf(root: Path, name: str, document: Document, digest: str) -> Deliverable:
    """A document's PDF: pages, fonts, and whether its numbers are those of now."""
    from scalebook.project import pdf_facts

    path = root / document.pdf
    if not path.is_file():
        return Deliverable(document.pdf, MISSING, "not there", "scalebook pdf")
    try:
        facts = pdf_facts.read(path)
    except ScalebookError as error:
        return Deliverable(document.pdf, WRONG, str(error), "scalebook pdf")
    least, most = document.pages
    pages = facts.before_references if document.without_references else facts.pages
    said = f"{pages} pages" + (" without references" if document.without_references else "")
    if not least <= pages <= most:
        limit = f"{least}" if least == most else f"{least} to {most}"
        return Deliverable(document.pdf, WRONG, f"{said}, not {limit}", f"edit {document.source}")
    if facts.loose_fonts:
        fonts = ", ".join(facts.loose_fonts[:3])
        return Deliverable(document.pdf, WRONG, f"fonts not embedded: {fonts}", "scalebook pdf")
    if facts.digest != digest:
        found = f"made from ledger {facts.digest[:12]}, now {digest[:12]}" if facts.digest else (
            "does not say from which numbers it was made")  # fmt: skip
        return Deliverable(document.pdf, STALE, found, "scalebook pdf")
    return Deliverable(document.pdf, OK, f"{said}, fonts embedded, numbers current")
