"""``jb build . --builder pdfhtml``: the pages printed by the system's browser.

Jupyter Book builds one page of all, over the book, and has playwright print it with a browser
of playwright's own. Here that one is the browser of the system, and the book's own pages are
made again by the next build.
"""

import json
import os
from pathlib import Path

import playwright
from sphinx.application import Sphinx

from scalebook import contract
from scalebook.figures import rendering
from scalebook.publish import pages

BUILDER = "singlehtml"
#: Says that ``index.html`` is the one page.
_MARK = ".one-page"
_VARIABLE = "PLAYWRIGHT_BROWSERS_PATH"


def setup(app: Sphinx) -> None:
    """Offer the browser before the pages are built, put the page in its place after."""
    app.connect("builder-inited", _clear)
    app.connect("builder-inited", _offer_browser)
    app.connect("build-finished", _move_to_top)


def _clear(app: Sphinx) -> None:
    """Take away what a build of one page left where the book goes."""
    mark = Path(app.outdir) / _MARK
    if app.builder.name == "html" and mark.is_file():
        for name in ("index.html", ".buildinfo", _MARK):
            (Path(app.outdir) / name).unlink(missing_ok=True)


def _offer_browser(app: Sphinx) -> None:
    if app.builder.name != BUILDER or os.environ.get(_VARIABLE):
        return
    program = rendering.browser()
    if program is None:
        pages.say("note: no browser to print with: install chromium, or set BROWSER_PATH")
        return
    folder = Path(app.outdir).parent / "scalebook" / "browsers"
    for name in _expected():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(program).resolve())
    os.environ[_VARIABLE] = str(folder)


def _expected() -> list[str]:
    """Where this release of playwright looks for the browsers it can print with."""
    listed = Path(playwright.__file__).parent / "driver" / "package" / "browsers.json"
    revisions = {
        browser["name"]: browser["revision"]
        for browser in json.loads(listed.read_text())["browsers"]
    }
    chromium = f"chromium-{revisions['chromium']}"
    shell = f"chromium_headless_shell-{revisions.get('chromium-headless-shell', '')}"
    return [
        f"{chromium}/chrome-linux/chrome",
        f"{chromium}/chrome-linux64/chrome",
        f"{shell}/chrome-linux/headless_shell",
        f"{shell}/chrome-headless-shell-linux64/chrome-headless-shell",
    ]


def _move_to_top(app: Sphinx, error: Exception | None) -> None:
    """Put the page where its style sheets and pictures are looked for from: at the top."""
    out = Path(app.outdir)
    name = f"{app.config.root_doc}.html"
    if app.builder.name != BUILDER or error is not None or not (out / name).is_file():
        return
    page = (out / name).read_text(encoding="utf-8").replace(f'href="{name}#', 'href="#')
    if name != "index.html":
        (out / name).unlink()
    contract.write_whole(out / "index.html", page)
    (out / _MARK).touch()
