"""Who wrote the study's documents: ``preferred-citation`` of ``CITATION.cff``.

The rest of that file cites the software. Its format: https://citation-file-format.github.io
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from scalebook.study.document import read

FILE = "CITATION.cff"


class Author(BaseModel):
    """A person, or an institution by its `name`."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    given: str = Field("", alias="given-names")
    family: str = Field("", alias="family-names")
    affiliation: str = ""
    email: str = ""

    @property
    def person(self) -> str:
        """Given and family name; empty for an institution."""
        return f"{self.given} {self.family}".strip()


class _Work(BaseModel):
    model_config = ConfigDict(frozen=True)

    title: str = ""
    authors: list[Author] = Field([])


class _Citation(BaseModel):
    model_config = ConfigDict(frozen=True)

    work: _Work = Field(_Work(), alias="preferred-citation")
    code: str = Field("", alias="repository-code")
    url: str = ""
    released: date | None = Field(None, alias="date-released")


def _citation(root: Path) -> _Citation:
    return read(_Citation, root, FILE) if (root / FILE).is_file() else _Citation()


def authors(root: Path) -> list[Author]:
    """Authors of the study's documents; none where no file says.

    Raises
    ------
    ScalebookError
        One line, if the file cannot be read.
    """
    return _citation(root).work.authors


def repository(root: Path) -> str:
    """Address of the study's repository; empty where no file says."""
    citation = _citation(root)
    return citation.code or citation.url


def reference(root: Path) -> str:
    """How the study's documents are cited: authors, title, year; empty where no file says."""
    citation = _citation(root)
    year = str(citation.released.year) if citation.released else ""
    return ". ".join(filter(None, [line(citation.work.authors), citation.work.title, year]))


def line(written: list[Author]) -> str:
    """Authors as a title page has them: names, then each institution once."""
    people = [author.person for author in written if author.person]
    institutions = dict.fromkeys(author.affiliation or author.name for author in written)
    return ", ".join([*people, *filter(None, institutions)])


def to_fill(written: list[Author]) -> list[str]:
    """What the owner of the study has still to enter, each by its place in the file."""
    people = [author for author in written if author.person]
    if not people:
        return ["preferred-citation.authors: names of the authors, and an address"]
    if any(author.email for author in people):
        return []
    return ["preferred-citation.authors: an email of one of them"]
