"""Which PDFs a study has, what is written on each, and what makes them the same twice."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.texescape import escape

from scalebook.contract import ScalebookError
from scalebook.publish import messages

THEMES = Path(__file__).parent / "themes"
#: Shown as the day of a study without a history of commits: 1 January 2026.
FIRST_DAY = 1767225600
ENGINE = "xelatex"

#: Settings of Sphinx's templates; those of ``_config.yml`` come first.
ELEMENTS = {
    "fontpkg": r"\usepackage{scalebookfonts}",
    "extrapackages": r"\usepackage{scalebook}",
    "amsmath": "",
    "utf8extra": r"\catcode`^^^^00a0\active\protected\def^^^^00a0{\leavevmode\nobreak\ }",
    "fncychap": "",
    "passoptionstopackages": (
        r"\PassOptionsToPackage{bookmarksnumbered,bookmarksopen,pdfdisplaydoctitle,pdflang=en}"
        "{hyperref}"
    ),
    "makeindex": "",
    "printindex": "",
    "transition": "\n\n\\bigskip\\hrule\\bigskip\n\n",
    "sphinxsetup": ",".join(
        (
            "verbatimwithframe=false",
            "VerbatimColor={gray}{0.955}",
            "verbatimforcewraps=true",
            "verbatimmaxoverfull=0",
            "TitleColor={gray}{0}",
            r"HeaderFamily=\bfseries",
            "InnerLinkColor={rgb}{0.05,0.22,0.45}",
            "OuterLinkColor={rgb}{0.05,0.22,0.45}",
            "iconpackage=none",
        )
    ),
}


@dataclasses.dataclass(frozen=True)
class Document:
    """A PDF: its name, the page it begins with, its class; the rest is the page's or study's."""

    name: str
    page: str
    style: str
    title: str = ""
    author: str = ""
    subject: str = ""
    keywords: tuple[str, ...] = ()
    appendix: tuple[str, ...] = ()


def declared(setting: Any, root_page: str) -> list[Document]:
    """Documents that ``scalebook_documents`` names; the whole book where it names none.

    Parameters
    ----------
    setting : mapping
        Name of the PDF to its class (``paper``, whose page then is ``book/paper``), or to
        ``page``, ``class`` and, where wanted, ``title``, ``author``, ``subject``, ``keywords``
        and ``appendix``, the pages that come last; of a book that is ``book/provenance``.
    root_page : str
        First page of the book; the page of a document of class ``book``.

    Raises
    ------
    ScalebookError
        If an entry cannot be understood.
    """
    if not setting:
        setting = {"book": "book"}
    where = "_config.yml: scalebook_documents"
    if not isinstance(setting, Mapping):
        raise ScalebookError(f"{where}: write NAME: CLASS lines, such as `paper: paper`")
    folder = root_page.rpartition("/")[0]
    found = []
    for name, entry in setting.items():
        entry = {"class": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class"), str):
            raise ScalebookError(f"{where}: {name}: give its class, such as `{name}: paper`")
        known = {"page", "class", "title", "author", "subject", "keywords", "appendix"}
        if unknown := sorted(set(map(str, entry)) - known):
            raise ScalebookError(
                f"{where}: {name}: unknown {', '.join(unknown)}; there are "
                f"{', '.join(sorted(known))}"
            )
        if not str(name).replace("-", "").replace("_", "").isalnum():
            raise ScalebookError(f"{where}: {name}: letters, digits, - and _ make a name")
        own = root_page if entry["class"] == "book" else f"{folder}/{name}".lstrip("/")
        last = [f"{folder}/provenance".lstrip("/")] if entry["class"] == "book" else []
        found.append(
            Document(
                str(name),
                str(entry.get("page", own)),
                entry["class"],
                *(str(entry.get(key) or "") for key in ("title", "author", "subject")),
                _texts(entry.get("keywords")),
                _texts(entry.get("appendix", last)),
            )
        )
    return found


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))


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
        said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return int(said) // 86400 * 86400 if said.isdigit() else FIRST_DAY


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
    try:
        declared(config.scalebook_documents, config.root_doc)
    except ScalebookError as error:
        messages.end([str(error)])
    config.latex_engine = ENGINE
    config.latex_use_xindy = False
    config.latex_domain_indices = False
    config.latex_elements = {**ELEMENTS, **config.latex_elements}
    config.latex_table_style = ["booktabs"]
    config.latex_theme_path = [*config.latex_theme_path, str(THEMES)]
    styles = sorted([*THEMES.glob("*.sty"), *THEMES.glob("*/*.cls")])
    config.latex_additional_files = [*map(str, styles), *config.latex_additional_files]


def _prepare(app: Sphinx) -> None:
    if app.builder.name != "latex":
        return
    root = Path(app.srcdir)
    prepare_environment(root)
    # What an earlier build wrote under other names would be typeset again.
    names = {one.name for one in declared(app.config.scalebook_documents, app.config.root_doc)}
    for path in Path(app.outdir).glob("*.tex"):
        if path.stem not in names and path.read_text(errors="replace").startswith("%% Generated"):
            path.unlink()
            path.with_suffix(".pdf").unlink(missing_ok=True)


def _set_documents(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    if app.builder.name != "latex":
        return
    found = []
    for one in declared(app.config.scalebook_documents, app.config.root_doc):
        if one.page not in env.found_docs:
            messages.end([f"_config.yml: scalebook_documents: {one.name}: no page {one.page}"])
        title = one.title or (study_title(app.config) if one.style == "book" else "")
        # An empty title is the page's first heading; the writer asks the page for its author.
        found.append((one.page, f"{one.name}.tex", _tex(title), "", one.style, False))
    app.config.latex_documents = found


def of_page(config: Config, page: str, style: str) -> Document:
    """Document that begins with `page`, as declared; an undeclared one has no more to say."""
    documents = declared(config.scalebook_documents, config.root_doc)
    mine = (one for one in documents if (one.page, one.style) == (page, style))
    return next(mine, Document(page.rpartition("/")[2], page, style))


def study_title(config: Config) -> str:
    """Title of the book; Jupyter Book tells only the HTML builder."""
    return str(config.html_title or config.project)


def front_matter(env: BuildEnvironment, document: Document) -> dict[str, str]:
    """Author and date for the title, and the preamble's lines with what the PDF says of itself.

    The document's own entry comes first, then its page's front matter, then the study.
    """
    config = env.config
    author = document.author or _page_says(env, document.page, "author") or config.author
    date = _page_says(env, document.page, "date")
    date = date or date_text(source_date(Path(env.srcdir)))
    return {"author": _tex(author), "date": _tex(date), "preamble": _metadata(env, document)}


def _metadata(env: BuildEnvironment, document: Document) -> str:
    subject = (
        document.subject or _page_says(env, document.page, "subject") or study_title(env.config)
    )
    keywords = list(document.keywords) or [_page_says(env, document.page, "keywords")]
    if digest := numbers_digest():
        keywords.append(f"ledger {digest}")
    said = {"pdfsubject": subject, "pdfkeywords": ", ".join(filter(None, keywords)),
            "pdfcreator": "Scalebook"}  # fmt: skip
    return (
        "\\AtBeginDocument{\\hypersetup{"
        + ",".join(f"{key}={{{_tex(text)}}}" for key, text in said.items())
        + "}}"
    )


def numbers_digest() -> str:
    """Digest of the numbers that the documents use; empty where there is no ledger of them."""
    from scalebook import publish

    ledger_digest = getattr(publish, "ledger_digest", None)
    return str(ledger_digest()) if ledger_digest else ""


def _page_says(env: BuildEnvironment, page: str, key: str) -> str:
    """Front matter of a page; empty where it does not hold the key."""
    return str(env.metadata.get(page, {}).get(key, "") or "")


def _tex(text: str) -> str:
    return escape(text, ENGINE)
