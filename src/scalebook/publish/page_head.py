"""What a page says about itself: its description for search engines and previews, its downloads.

The theme's menu of downloads offers the source and the browser's print. Here it also gets the
executed notebook, with its outputs, and the typeset PDF of a document.
"""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from scalebook.contract import leads_out
from scalebook.publish import pages
from scalebook.publish.notebooks import update
from scalebook.study import citation

#: Longest description in characters; search engines show about as many.
LONGEST = 200
#: Folder of the typeset documents, in the study and in the book.
DOCUMENTS = "docs"


def description(doctree: nodes.document) -> str:
    """First paragraph of a page's running text, cut at a word; empty where it has none."""
    for paragraph in doctree.findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section | nodes.container):
            continue
        if text := " ".join(paragraph.astext().split()):
            cut = text[: LONGEST + 1].rpartition(" ")[0]
            return text if len(text) <= LONGEST else f"{cut.rstrip(',;:')} …"
    return ""


def tags(title: str, book: str, about: str) -> str:
    """Elements of a page's head that describe it."""
    said = {"og:type": "article", "og:title": title, "og:site_name": book, "og:description": about}
    found = [f'<meta name="description" content="{html.escape(about)}">'] if about else []
    found += [
        f'<meta property="{name}" content="{html.escape(value)}">'
        for name, value in said.items()
        if value
    ]
    return "\n".join([*found, '<meta name="twitter:card" content="summary">'])


def _describe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    if not isinstance(doctree, nodes.document) or app.builder.name == pages.DECK:
        return
    title = next((node.astext() for node in doctree.findall(nodes.title)), "")
    about = tags(title, app.config.project, description(doctree))
    context["metatags"] = "\n".join(filter(None, [context.get("metatags"), about]))
    for group in context.get("header_buttons") or []:
        if group.get("label") == "download-buttons":
            for button in group["buttons"]:
                if button["label"] == "download-pdf-button":  # the page as a browser prints it
                    button["text"] = "print"
            group["buttons"][:0] = _downloads(app, pagename, context["pathto"])


def _downloads(app: Sphinx, pagename: str, pathto: Any) -> list[dict[str, str]]:
    """Entries of a page's menu: its executed notebook, its typeset PDF."""
    root, out = Path(app.srcdir), Path(app.outdir)
    found = []
    notebook = update.executed(out.parent, pagename)
    if pagename.startswith(f"{update.FOLDER}/") and notebook.is_file():
        found.append((".ipynb", "Download the notebook with its outputs", notebook,
                      f"_sources/{pagename}.ipynb", "fas fa-code"))  # fmt: skip
    name = app.env.metadata.get(pagename, {}).get("pdf")
    typeset = f"{DOCUMENTS}/{name}.pdf"
    if name and (root / typeset).is_file() and not leads_out(root, typeset):
        found.append(
            (".pdf", "Download the typeset document", root / typeset, typeset, "fas fa-file-pdf")
        )
    entries = []
    for text, tooltip, source, place, icon in found:
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out / place)
        entries.append({"type": "link", "url": pathto(place, 1), "text": text, "tooltip": tooltip,
                        "icon": icon, "label": f"download-{Path(place).suffix[1:]}"})  # fmt: skip
    return entries


def _cite(app: Sphinx, config: Config) -> None:
    """Say at the foot of each page how its documents are cited."""
    options = getattr(config, "html_theme_options", None)
    if options is not None and not options.get("extra_footer"):
        line = citation.reference(Path(app.srcdir))
        if line:
            options["extra_footer"] = f'<p class="sb-cite">Cite as: {html.escape(line)}</p>'


def setup(app: Sphinx) -> None:
    """Describe each page once the theme has its buttons."""
    app.connect("config-inited", _cite, priority=300)
    app.connect("html-page-context", _describe, priority=900)
