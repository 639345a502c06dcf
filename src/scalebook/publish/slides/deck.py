"""``scalebook slides``: the page of slides as a deck for a browser, and as a PDF.

The deck lies in ``_build/deck`` and needs no network: reveal.js is brought along, figures are
pictures. Chromium prints it, a page a slide, into ``_build/latex/slides.pdf``.
"""

import io
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Error, sync_playwright
from pypdf import PdfReader, PdfWriter
from sphinx.application import Sphinx

from scalebook import contract, study
from scalebook.contract import ScalebookError
from scalebook.figures import rendering
from scalebook.publish import pages
from scalebook.publish.build import run_quietly
from scalebook.publish.slides.page import FOLDER, PDF
from scalebook.publish.slides.revealjs import SLIDE
from scalebook.study.document import beside
from scalebook.values import ledger_digest

#: The page whose sections are the slides.
PAGE = "book/slides"
STATIC = Path(__file__).parent / "deck_static"
#: What a deck needs of reveal.js: the rest of what comes with it stays out.
FONT = "dist/theme/fonts/source-sans-pro"
REVEAL = (
    "dist/reveal.js",
    "dist/reveal.css",
    "plugin/notes/notes.js",
    "LICENSE",
    f"{FONT}/LICENSE",
    f"{FONT}/source-sans-pro-regular.woff",
    f"{FONT}/source-sans-pro-semibold.woff",
)
#: Longest the browser may take to open the deck, and to print it, in milliseconds.
TIMEOUT_MS = 60_000
#: Whether reveal.js has put every slide on a page: while it does, the slides are nowhere.
LAID_OUT = """() => {
  const pages = document.querySelectorAll(".pdf-page").length;
  return Reveal.isReady() && pages && pages === document.querySelectorAll(".slides section").length
    && document.fonts.status === "loaded" && [...document.images].every((one) => one.complete);
}"""


def build_deck(root: Path, say: Callable[[str], None]) -> Path:
    """Build the deck of a study.

    Parameters
    ----------
    root : Path
        Folder of the study.
    say : callable
        Takes each line of progress.

    Returns
    -------
    Path
        The page to open.

    Raises
    ------
    ScalebookError
        If there are no slides, or the page cannot be built.
    """
    if not (root / f"{PAGE}.md").is_file():
        raise ScalebookError(f"{PAGE}.md: not there, so there are no slides to build")
    out = root / "_build" / FOLDER
    shutil.rmtree(out, ignore_errors=True)
    command = ["-m", "scalebook.publish.slides.deck", str(root), str(out)]
    try:
        run_quietly(command, root, "deck", "deck.log", say)
    except ScalebookError:
        shutil.rmtree(out, ignore_errors=True)
        raise
    _keep_what_is_needed(out)
    contract.write_whole(
        out / "index.html",
        f'<!doctype html><meta charset="utf-8"><title>Slides</title>'
        f'<meta http-equiv="refresh" content="0; url={PAGE}.html">'
        f'<a href="{PAGE}.html">Slides</a>\n',
    )
    return out / f"{PAGE}.html"


def settings(root: Path) -> dict[str, object]:
    """Configuration of Sphinx for the deck of a study."""
    fixed = beside(__file__)
    size = dict(zip(("width", "height"), SLIDE))
    return {
        **fixed,
        "project": study.load(root).title,
        "root_doc": PAGE,
        "include_patterns": [f"{PAGE}.md"],
        "revealjs_static_path": [str(STATIC)],
        "revealjs_script_conf": {**size, **fixed["revealjs_script_conf"]},
    }


def _keep_what_is_needed(out: Path) -> None:
    """Drop what Sphinx and reveal.js bring and a deck never asks for."""
    reveal = out / "_static" / "revealjs"
    for path in sorted(reveal.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(reveal).as_posix() not in REVEAL:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name in (".doctrees", "_sources"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("objects.inv", ".buildinfo", "searchindex.js", "search.html", "genindex.html"):
        (out / name).unlink(missing_ok=True)


# --------------------------------------------------------------------------- PDF


def print_deck(page: Path, target: Path, metadata: dict[str, str] | None = None) -> int:
    """Print a deck as PDF, a page a slide; the same deck gives the same bytes.

    Parameters
    ----------
    page : Path
        HTML of the deck.
    target : Path
        The PDF to write.
    metadata : dict, optional
        Entries of its information, such as ``{"/Title": …}``.

    Returns
    -------
    int
        Number of pages.

    Raises
    ------
    ScalebookError
        If there is no browser, it fails, or a slide does not fit its page.
    """
    program = rendering.browser()
    if program is None:
        raise ScalebookError(
            "slides: no browser to print with: install chromium, or set BROWSER_PATH"
        )
    # In a thread of its own: playwright refuses one that runs an event loop, as a notebook's does.
    with ThreadPoolExecutor(max_workers=1) as thread:
        raw, expected = thread.submit(_print, program, page).result()
    content, pages = _settled(raw, metadata or {})
    if pages != expected:
        raise ScalebookError(
            f"{PAGE}.md: {expected} slides take {pages} pages: shorten the one that does not fit"
        )
    contract.write_whole(target, content)
    return pages


def _print(program: str, page: Path) -> tuple[bytes, int]:
    """The deck as the browser prints it, and the number of its slides."""
    arguments = ["--disable-gpu", "--disable-quic"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=arguments)
            try:
                width, height = SLIDE
                tab = browser.new_page(viewport={"width": width, "height": height})
                tab.set_default_timeout(TIMEOUT_MS)
                tab.goto(f"{page.resolve().as_uri()}?print-pdf", wait_until="load")
                tab.wait_for_function(LAID_OUT)
                slides = tab.locator(".slides section").count()
                raw = tab.pdf(
                    prefer_css_page_size=True, print_background=True, tagged=True, outline=True
                )
            finally:
                browser.close()
    except Error as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ScalebookError(f"slides: {program} could not print the deck ({reason})") from None
    return raw, slides


def _settled(raw: bytes, metadata: dict[str, str]) -> tuple[bytes, int]:
    """The PDF with its information in place of the time it was made, and its number of pages."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(raw)))
    writer.metadata = {"/Producer": "Chromium, pypdf", **metadata}
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue(), len(writer.pages)


def build(root: Path, say: Callable[[str], None]) -> tuple[Path, Path]:
    """Build the deck and its PDF; returns the page to open, and the PDF."""
    page = build_deck(root, say)
    pdf = root / "_build" / "latex" / PDF
    title = study.load(root).title
    keywords = f"ledger {ledger_digest()}"
    print_deck(page, pdf, {"/Title": title, "/Subject": "Slides", "/Keywords": keywords})
    shutil.copyfile(pdf, root / "_build" / FOLDER / PDF)
    return page, pdf


def _main(root: Path, out: Path) -> int:
    """Run Sphinx alone, without the book's theme and furniture; warnings fail."""
    doctrees = root / "_build" / "scalebook" / "deck-doctrees"
    shutil.rmtree(doctrees, ignore_errors=True)
    app = Sphinx(
        srcdir=root,
        confdir=None,
        outdir=out,
        doctreedir=doctrees,
        buildername=pages.DECK,
        confoverrides=settings(root),
        warningiserror=True,
        keep_going=True,
    )
    app.build()
    return app.statuscode


if __name__ == "__main__":
    raise SystemExit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
