"""Which PDFs a study has, what is written on each, and what makes them the same twice."""

import datetime as dt
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from myst_parser.config.main import TopmatterReadError, read_topmatter
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.texescape import escape
from sphinx_external_toc.api import SiteMap
from sphinx_external_toc.parsing import parse_toc_yaml

from scalebook.contract import ScalebookError
from scalebook.publish import pages
from scalebook.study.document import beside, parse_yaml, read_text, validated
from scalebook.values import ledger_digest

THEMES = Path(__file__).parent / "themes"
#: Shown as the day of a study without a history of commits: 1 January 2026.
FIRST_DAY = 1767225600
ENGINE = "xelatex"


class Document(BaseModel):
    """A PDF, the page it begins with, and its class; what is left out is the page's or study's.

    Attributes
    ----------
    name : str
        Of the file.
    page : str
        The page it begins with.
    style : str
        Its class, a folder of ``themes/``.
    title, author, subject, keywords : str, str, str, tuple of str
        What the PDF says of itself.
    appendix : tuple of str
        Pages that come last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(pattern=r"^[\w-]+$")
    page: str
    style: str = Field(alias="class")
    title: str = ""
    author: str = ""
    subject: str = ""
    keywords: tuple[str, ...] = ()
    appendix: tuple[str, ...] = ()

    @field_validator("keywords", "appendix", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


def load(setting: object, root: Path, site_map: SiteMap | None) -> list[Document]:
    """Documents that the pages' front matter declares; the whole book where none does.

    A page says ``pdf: CLASS``, or ``pdf: {class: CLASS, …}`` with keys of `Document`.

    Parameters
    ----------
    setting : mapping
        ``scalebook_documents`` of ``_config.yml``, which `scalebook new` wrote before pages named
        their documents: name of the PDF to its class (``paper``, whose page then is
        ``book/paper``), or to a mapping of `Document`'s keys.
    root : Path
        Folder of the study.
    site_map : SiteMap, optional
        What ``_toc.yml`` names. Its first page is that of a document of class ``book``, whose
        appendix is ``book/provenance``.

    Raises
    ------
    ScalebookError
        If an entry cannot be understood.
    """
    where = "_config.yml: scalebook_documents"
    declared = setting or {}
    if not isinstance(declared, Mapping):
        raise ScalebookError(f"{where}: write NAME: CLASS lines, such as `paper: paper`")
    first = str(site_map.root.docname) if site_map else "index"
    folder = first.rpartition("/")[0]

    def read(entry: object, where: str, name: str = "", page: str = "") -> Document:
        entry = {"class": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or not isinstance(entry.get("class"), str):
            raise ScalebookError(f"{where}: give its class, such as `paper`")
        whole = entry["class"] == "book"
        defaults = {
            "name": name or ("book" if whole else page.rpartition("/")[2]),
            "page": page or (first if whole else f"{folder}/{name}".lstrip("/")),
            "appendix": f"{folder}/provenance".lstrip("/") if whole else (),
        }
        return validated(Document, {**defaults, **entry}, where)

    found = [
        read(entry, f"{page}.md: pdf", page=page)
        for page in site_map or ()
        if (entry := _front_matter(root / f"{page}.md").get("pdf"))
    ]
    found += [read(entry, f"{where}: {name}", name=str(name)) for name, entry in declared.items()]
    return list({document.name: document for document in found or [read("book", where)]}.values())


def of_study(root: Path) -> list[Document]:
    """Documents of a study, by its files alone."""
    config = parse_yaml(read_text(root, "_config.yml"), "_config.yml")
    setting = ((config.get("sphinx") or {}).get("config") or {}).get("scalebook_documents")
    return load(setting, root, parse_toc_yaml(root / "_toc.yml"))


def _of_build(config: Config, root: str | Path) -> list[Document]:
    site_map = getattr(config, "external_site_map", None)
    return load(config.scalebook_documents, Path(root), site_map)


def _front_matter(page: Path) -> dict[str, object]:
    """What a page says at its head; nothing where it says nothing, or is no Markdown."""
    if not page.is_file():
        return {}
    try:
        return dict(read_topmatter(page.read_text(encoding="utf-8")) or {})
    except TopmatterReadError:
        return {}  # MyST says so when it reads the page


# --------------------------------------------------------------------------- the same twice


def source_date(root: Path) -> int:
    """Day of the last commit that changed more than ``docs/``, as seconds since 1970.

    ``SOURCE_DATE_EPOCH`` comes first; without git it is `FIRST_DAY`. A day, so that what is
    built just before and just after a commit is the same.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdigit():
        return int(given)
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct", "--", ".", ":(exclude)docs"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    return int(answer) // 86400 * 86400 if answer.isdigit() else FIRST_DAY


def date_text(seconds: int) -> str:
    """The day as a title shows it, such as 3 May 2026."""
    day = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return f"{day.day} {day:%B %Y}"


def prepare_environment(root: Path) -> None:
    """Set what TeX, started by Jupyter Book after Sphinx, takes from the environment."""
    os.environ["SOURCE_DATE_EPOCH"] = str(source_date(root))
    os.environ["FORCE_SOURCE_DATE"] = "1"
    # An error ends TeX instead of waiting for an answer; lines of the log stay whole.
    os.environ.setdefault("LATEXMKOPTS", "-interaction=nonstopmode -halt-on-error")
    os.environ.setdefault("max_print_line", "2000")
    os.environ.setdefault("MAKEFLAGS", "-j2 --output-sync=target")


# --------------------------------------------------------------------------- Sphinx


def setup(app: Sphinx) -> None:
    """Register the configuration value and what follows from it."""
    app.add_config_value("scalebook_documents", {}, "")
    app.connect("config-inited", _configure, priority=310)
    app.connect("builder-inited", _prepare)
    # Jupyter Book cannot stand several documents when it starts; here it has looked already.
    app.connect("env-before-read-docs", _set_documents)


def _configure(app: Sphinx, config: Config) -> None:
    config.latex_engine = ENGINE
    config.latex_use_xindy = False
    config.latex_domain_indices = False
    config.latex_elements = {**beside(__file__), **config.latex_elements}
    config.latex_table_style = ["booktabs"]
    config.latex_theme_path = [*config.latex_theme_path, str(THEMES)]
    styles = sorted([*THEMES.glob("*.sty"), *THEMES.glob("*/*.cls")])
    config.latex_additional_files = [*map(str, styles), *config.latex_additional_files]


def _prepare(app: Sphinx) -> None:
    try:
        names = {document.name for document in _of_build(app.config, app.srcdir)}
    except ScalebookError as error:
        pages.end([str(error)])
    if app.builder.name != "latex":
        return
    prepare_environment(Path(app.srcdir))
    # What an earlier build wrote under other names would be typeset again.
    for path in Path(app.outdir).glob("*.tex"):
        if path.stem not in names and path.read_text(errors="replace").startswith("%% Generated"):
            path.unlink()
            path.with_suffix(".pdf").unlink(missing_ok=True)


def _set_documents(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    if app.builder.name != "latex":
        return
    found = []
    for document in _of_build(app.config, app.srcdir):
        if document.page not in env.found_docs:
            pages.end(
                [f"_config.yml: scalebook_documents: {document.name}: no page {document.page}"]
            )
        title = document.title or (study_title(app.config) if document.style == "book" else "")
        # An empty title is the page's first heading; the writer asks the page for its author.
        found.append(
            (document.page, f"{document.name}.tex", _tex(title), "", document.style, False)
        )
    app.config.latex_documents = found


def of_page(env: BuildEnvironment, page: str, style: str) -> Document:
    """Document of this class that begins with `page`."""
    found = _of_build(env.config, env.srcdir)
    return next(document for document in found if (document.page, document.style) == (page, style))


def appendix_pages(env: BuildEnvironment) -> set[str]:
    """Pages that come last in some document."""
    return {page for document in _of_build(env.config, env.srcdir) for page in document.appendix}


def study_title(config: Config) -> str:
    """Title of the book; Jupyter Book tells only the HTML builder."""
    return str(config.html_title or config.project)


def front_matter(env: BuildEnvironment, document: Document) -> dict[str, str]:
    """Author and date for the title, and the preamble's lines with what the PDF says of itself.

    The document's own entry comes first, then its page's front matter, then the study.
    """
    fields = env.metadata.get(document.page, {})
    author = document.author or fields.get("author") or env.config.author
    date = fields.get("date") or date_text(source_date(Path(env.srcdir)))
    subject = document.subject or fields.get("subject") or study_title(env.config)
    keywords = list(document.keywords) or [fields.get("keywords") or ""]
    about = {
        "pdfsubject": subject,
        "pdfkeywords": ", ".join(filter(None, [*keywords, f"ledger {ledger_digest()}"])),
        "pdfcreator": "Scalebook",
    }
    entries = ",".join(f"{key}={{{_tex(str(text))}}}" for key, text in about.items())
    return {
        "author": _tex(str(author)),
        "date": _tex(str(date)),
        "preamble": f"\\AtBeginDocument{{\\hypersetup{{{entries}}}}}",
    }


def _tex(text: str) -> str:
    return escape(text, ENGINE)
