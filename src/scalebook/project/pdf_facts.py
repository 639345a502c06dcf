"""What a PDF says of itself: pages, where its references begin, fonts, and from which numbers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from scalebook.contract import ScalebookError

_DIGEST = re.compile(r"\bledger ([0-9a-f]{64})\b")
_REFERENCES = re.compile(
    r"^\s*(?:\d+\.?\s+)?(?:References|Bibliography|Literature)\s*$", re.M | re.I
)


@dataclass(frozen=True)
class PdfFacts:
    """One PDF.

    Attributes
    ----------
    pages : int
        All of them.
    before_references : int
        Pages up to the one on which the list of references begins, that one included unless it
        begins there at the top; all where there is no such list.
    loose_fonts : tuple of str
        Fonts that a page uses and the file does not hold.
    digest : str or None
        Digest of the ledger it was made from; None where it names none.
    """

    pages: int
    before_references: int
    loose_fonts: tuple[str, ...]
    digest: str | None


def read(path: Path) -> PdfFacts:
    """Read a PDF.

    Raises
    ------
    ScalebookError
        If it is no PDF, or is damaged.
    """
    try:
        reader = PdfReader(path)
        pages = list(reader.pages)
        keywords = str(reader.metadata.get("/Keywords", "")) if reader.metadata else ""
        loose = {name for page in pages for name in _loose(page.get("/Resources"), set())}
        named = _DIGEST.search(keywords)
        return PdfFacts(
            len(pages), _before_references(pages), tuple(sorted(loose)), named[1] if named else None
        )
    except (PyPdfError, OSError, ValueError, KeyError, RecursionError) as error:
        raise ScalebookError(f"{path}: cannot be read as a PDF ({error})") from None


def _before_references(pages: list[Any]) -> int:
    """Count pages before the list of references; the last heading of that name begins it."""
    for number in range(len(pages) - 1, -1, -1):
        text = pages[number].extract_text()
        found = _REFERENCES.search(text)
        if found:
            above = [line for line in text[: found.start()].splitlines() if line.strip()]
            return number + (len(above) > 2)  # a running head and a page number are no content
    return len(pages)


def _loose(resources: Any, seen: set[int]) -> Iterator[str]:
    """Names of fonts without a font file, also in the forms that figures become."""
    if resources is None:
        return
    resources = resources.get_object()
    for font in _values(resources.get("/Font")):
        inner = font.get("/DescendantFonts")
        kinds = [kind.get_object() for kind in inner.get_object()] if inner is not None else [font]
        for kind in kinds:
            if kind.get("/Subtype") == "/Type3":  # drawn by the page itself
                continue
            descriptor = kind.get("/FontDescriptor")
            held = descriptor.get_object() if descriptor is not None else {}
            if not any(key in held for key in ("/FontFile", "/FontFile2", "/FontFile3")):
                yield str(font.get("/BaseFont", "?")).removeprefix("/")
    for form in _values(resources.get("/XObject")):
        if form.get("/Subtype") == "/Form" and id(form) not in seen:
            seen.add(id(form))
            yield from _loose(form.get("/Resources"), seen)


def _values(dictionary: Any) -> list[Any]:
    if dictionary is None:
        return []
    return [value.get_object() for value in dictionary.get_object().values()]
