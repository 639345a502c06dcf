"""The project's own book, built whole and opened in a browser."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from paths import REPOSITORY

from scalebook.publish import build

PAGES = [
    "book/index", "book/paper", "book/proposal", "book/slides", "book/system", "book/reproduce",
    "book/runs", "book/provenance",
    "notebooks/01_run", "notebooks/02_throughput", "notebooks/03_accuracy",
    "notebooks/04_scaling", "notebooks/05_profile",
]  # fmt: skip
#: Figures that must be on a page; further ones may be.
DRAWN = {
    "book/index": 1, "book/paper": 4, "book/slides": 6, "notebooks/02_throughput": 1,
    "notebooks/03_accuracy": 1, "notebooks/04_scaling": 1, "notebooks/05_profile": 1,
}  # fmt: skip


@pytest.fixture(scope="session")
def html(tmp_path_factory) -> Path:
    """The book of what git sees of this project, built once without a warning."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    root = tmp_path_factory.mktemp("the book")
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    return build.build_book(root).parent


@pytest.mark.slow
def test_every_page_is_there_and_every_inner_link_leads_somewhere(html):
    for name in PAGES:
        path = html / f"{name}.html"
        assert path.is_file()
        for link in re.findall(r'<a [^>]*href="([^"]+)"', path.read_text()):
            target, fragment = urldefrag(link)
            target = target.partition("?")[0]  # such as the run that a page is to show
            if re.match(r"[a-z]+:", target):
                continue
            to = (path.parent / unquote(target)).resolve() if target else path
            assert to.is_file(), f"{name}: {link}"
            if fragment and to.suffix == ".html":
                assert f'id="{fragment}"' in to.read_text(), f"{name}: {link}"


@pytest.mark.slow
def test_every_page_describes_itself_and_offers_what_it_is_made_of(html):
    for name in PAGES:
        text = (html / f"{name}.html").read_text()
        about = re.findall(r'<meta name="description" content="([^"]+)">', text)
        assert len(about) == 1 and 20 < len(about[0]) <= 202, name
        assert len(re.findall(r'<meta property="og:title" content="[^"]+">', text)) == 1, name
        assert "Cite as: " in text
    offered = {
        "notebooks/04_scaling": "_sources/notebooks/04_scaling.ipynb",
        "book/paper": "docs/paper.pdf",
    }
    for name, file in offered.items():
        assert f'href="../{file}"' in (html / f"{name}.html").read_text()
    notebook = json.loads((html / offered["notebooks/04_scaling"]).read_text())
    assert any(cell.get("outputs") for cell in notebook["cells"])
    assert (html / offered["book/paper"]).read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_no_page_shows_where_it_was_built(html):
    for path in html.rglob("*.html"):
        assert str(html.parent.parent) not in path.read_text(), path.name


# --------------------------------------------------------------------------- in a browser


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def site(html) -> Iterator[str]:
    """Address of the book on this machine."""
    handler = functools.partial(_Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Visit:
    """One window onto the book that notes whatever goes wrong."""

    def __init__(
        self, browser, site: str, width: int = 1280, scheme: str = "light", touch: bool = False
    ):
        self.site = site
        self.wrong: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            has_touch=touch,
            is_mobile=touch,
        )
        self.context.route(lambda url: not url.startswith(site), self._refuse)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("requestfailed", self._failed)

    def _refuse(self, route) -> None:
        if not route.request.url.startswith(("data:", "blob:")):
            self.wrong.append(f"asked {route.request.url}")
        route.abort()

    def _failed(self, request) -> None:
        # Leaving a page cuts short what it still asks for; a missing file answers 404 instead.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"failed: {request.url}")

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def open(self, name: str, query: str = "") -> None:
        self.page.goto(f"{self.site}{name}.html{query}", wait_until="load")
        self.page.wait_for_function(  # what a page has yet to be asked for is not shown
            "[...document.querySelectorAll('.sb-plot')]"
            ".every(e => e.querySelector('.main-svg') || !e.offsetParent)"
        )

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *exception) -> None:
        self.context.close()


#: What a window of this width and scheme shows of one page, beside what axe-core says of it.
MEASURE = """() => {
    const shown = [...document.querySelectorAll("article h1, figure .sb-plot")]
        .filter(element => element.offsetParent);
    const plots = [...document.querySelectorAll(".sb-plot.js-plotly-plot")];
    return {
        wide: document.documentElement.scrollWidth,
        window: document.documentElement.clientWidth,
        title: Math.max(0, ...shown.filter(e => e.tagName === "H1").map(e => e.offsetHeight)),
        tallest: Math.max(0, ...shown.filter(e => e.tagName !== "H1").map(e => e.offsetHeight)),
        asked: document.querySelectorAll("script.sb-plot-data").length,
        drawn: plots.map(plot => [plot.getAttribute("role"), plot.getAttribute("aria-label")]),
        cut: plots.flatMap(plot => {
            const { right, top } = plot.getBoundingClientRect();
            return [...plot.querySelectorAll(".main-svg text")].filter(text => {
                const box = text.getBoundingClientRect();
                return box.width && (box.right > right + 1 || box.top < top - 1);
            }).map(text => text.textContent);
        }),
    };
}"""
#: Long tables are alike from row to row.
SHORTEN = "document.querySelectorAll('tbody > tr:nth-child(n + 20)').forEach(row => row.remove())"


@pytest.fixture(scope="module", params=[(1280, "light"), (1280, "dark"), (390, "light")], ids=str)
def seen(request, html, site, browser) -> dict[str, dict]:
    """What is found on every page, each opened once in a window of this width and scheme."""
    width, scheme = request.param
    options: dict = {"rules": {"label-content-name-mismatch": {"enabled": True}}}  # else left out
    if scheme == "dark":  # only colours are others
        options = {"runOnly": ["color-contrast", "link-in-text-block"]}
    options["resultTypes"] = ["violations"]
    run = min((html / "runs/data").iterdir()).stem
    names = [path.relative_to(html).with_suffix("").as_posix() for path in html.rglob("*.html")]
    names = [name for name in names if not name.startswith("_static/")]
    names.remove("index")  # it only leads on to the first page
    found = {}
    with Visit(browser, site, width=width, scheme=scheme) as visit:
        for name in sorted(names):
            visit.open(name, f"?run={run}" if name == "runs/run" else "")
            if DRAWN.get(name):
                visit.page.wait_for_timeout(300)  # figures are given room after they are drawn
            found[name] = visit.page.evaluate(MEASURE)
            found[name].update(wrong=visit.wrong.copy(), phone=width < 500)
            visit.page.evaluate(SHORTEN)
            violations = Axe().run(visit.page, options=options).response["violations"]
            serious = [one for one in violations if one["impact"] in ("serious", "critical")]
            at = [(one["id"], node["target"]) for one in serious for node in one["nodes"]]
            found[name]["shut_out"] = at
            visit.wrong.clear()  # axe-core asks for style sheets by addresses of its own
    assert set(PAGES) <= set(found)
    return found


@pytest.mark.browser
def test_every_figure_is_drawn_and_no_other_host_is_asked(seen):
    for name, page in seen.items():
        assert page["wrong"] == [], name
        assert len(page["drawn"]) >= max(DRAWN.get(name, 0), page["asked"]), name
        for role, label in page["drawn"]:
            assert role == "figure" and len(label) > 20  # "img" would hide its buttons


@pytest.mark.browser
def test_no_page_is_wider_than_its_window_and_a_phone_shows_title_and_figure_whole(seen):
    for name, page in seen.items():
        assert page["wide"] <= page["window"], name
        if page["phone"]:
            assert page["title"] < 844 / 4, name
            assert page["tallest"] < 844 - 2 * 72, name  # its bar, and its caption


@pytest.mark.browser
def test_no_letter_of_a_figure_is_cut_at_its_edge(seen):
    assert {name: page["cut"] for name, page in seen.items() if page["cut"]} == {}


@pytest.mark.browser
def test_no_page_shuts_anybody_out(seen):
    assert {name: page["shut_out"] for name, page in seen.items() if page["shut_out"]} == {}


@pytest.mark.slow
def test_the_landing_page_groups_all_pages_and_explains_its_words(html):
    text = (html / "book/index.html").read_text()
    groups = re.findall(r'class="caption-text">([^<]+)<', text)
    assert groups[:3] == ["Documents", "Results", "Run it again"]
    for word in ("ranks", "Strong", "weak", "control"):
        assert f"<em>{word}</em>" in text


@pytest.mark.browser
def test_figures_follow_the_theme(site, browser):
    title = "getComputedStyle(document.querySelector('.sb-plot .gtitle')).fill"
    with Visit(browser, site) as visit:
        visit.open("book/index")
        light = visit.page.evaluate(title)
        visit.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        visit.page.wait_for_function(f"{title} !== '{light}'")
        background = (
            "getComputedStyle(document.querySelector('.sb-plot .main-svg')).backgroundColor"
        )
        assert visit.page.evaluate(background) == "rgba(0, 0, 0, 0)"
        assert _luminance(visit.page.evaluate(title)) > 0.6 > 0.3 > _luminance(light)


def _luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.browser
def test_a_number_says_where_it_came_from_to_the_keyboard(site, browser):
    with Visit(browser, site) as visit:
        visit.open("book/paper")
        value = visit.page.locator(".sb-value .sb-number").last
        note = visit.page.locator(".sb-value .sb-note").last
        assert not note.is_visible()
        value.focus()  # scrolls there
        assert note.is_visible() and note.inner_text()
        visit.page.wait_for_function(
            "note => { const box = note.getBoundingClientRect();"
            " return box.top >= 0 && box.bottom <= window.innerHeight; }",
            arg=note.element_handle(),
        )
        assert value.get_attribute("aria-describedby") == note.get_attribute("id")
        visit.page.keyboard.press("Escape")
        assert not note.is_visible()
        visit.open("book/proposal")
        value = visit.page.locator(".sb-behind").first  # a number of a formula
        value.focus()
        note = visit.page.locator(f"#{value.get_attribute('aria-describedby')}")
        assert note.is_visible() and visit.page.locator(".sb-mathnumber.sb-focused").count() == 1
        for key in ("Enter", "Tab", "Enter"):
            visit.page.keyboard.press(key)
        visit.page.wait_for_url("**/provenance.html#num-*")


@pytest.mark.browser
def test_a_click_pins_the_note_of_a_number_and_moves_nothing(site, browser):
    with Visit(browser, site) as visit:
        visit.open("book/paper")
        keyboard, mouse = visit.page.keyboard, visit.page.mouse
        value = visit.page.locator(".sb-value .sb-number").last
        note = visit.page.locator(".sb-value .sb-note").last
        value.scroll_into_view_if_needed()
        before = value.bounding_box()
        expanded = functools.partial(value.get_attribute, "aria-expanded")
        assert expanded() == "false" and value.get_attribute("role") == "button"
        assert value.get_attribute("aria-controls") == note.get_attribute("id")
        closings = (
            value.click,
            lambda: keyboard.press("Escape"),
            lambda: mouse.click(700, 5),
            lambda: keyboard.press("Enter"),
        )
        for close in closings:
            value.click()
            mouse.move(5, 500)  # what only hovering shows goes
            visit.page.wait_for_timeout(50)
            assert note.is_visible() and expanded() == "true"
            assert value.bounding_box() == before
            close()
            assert not note.is_visible() and expanded() == "false"
        keyboard.press("Space")
        assert note.is_visible()
        keyboard.press("Tab")
        assert note.locator("a").first.evaluate("one => one === document.activeElement")
        for _ in range(note.locator("a").count()):
            keyboard.press("Tab")
        assert not note.is_visible() and expanded() == "false"
        assert visit.page.url.endswith("book/paper.html")
        visit.open("book/proposal")
        number = visit.page.locator(".sb-mathnumber").first
        number.click()
        note = visit.page.locator(f"#{number.get_attribute('aria-describedby')}")
        mouse.move(5, 500)
        visit.page.wait_for_timeout(400)
        assert note.is_visible()
        number.click()
        assert not note.is_visible()


@pytest.mark.browser
def test_a_finger_opens_the_note_of_a_number_and_closes_it(site, browser):
    with Visit(browser, site, width=390, touch=True) as visit:
        visit.open("book/paper")
        value = visit.page.locator(".sb-value .sb-number").nth(1)
        note = visit.page.locator(".sb-value .sb-note").nth(1)
        for close in (
            value.tap,
            lambda: visit.page.touchscreen.tap(4, 450),
            lambda: visit.page.keyboard.press("Escape"),
        ):
            value.tap()
            assert note.is_visible()
            box = note.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            close()
            assert not note.is_visible()
        value.tap()
        note.get_by_role("link", name="where it comes from").tap()
        visit.page.wait_for_url("**/provenance.html#num-*")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_number_leads_to_its_row_which_can_be_searched(site, browser, width):
    with Visit(browser, site, width=width) as visit:
        visit.open("book/paper")
        value = visit.page.locator(".sb-value a.sb-number").first
        target = value.get_attribute("href").partition("#")[2]
        shown = value.inner_text().replace("\u00a0", " ")
        value.click()
        visit.page.get_by_role("link", name="where it comes from").click()
        visit.page.wait_for_url(f"**/provenance.html#{target}")
        row = visit.page.locator(f"#{target}")
        assert shown in row.inner_text().replace("\u00a0", " ")
        visit.page.wait_for_function(
            "row => { const box = row.getBoundingClientRect();"
            " return box.top >= 0 && box.top < window.innerHeight; }",
            arg=row.element_handle(),
        )
        rows = visit.page.locator("table.sb-ledger tbody tr")
        everything = rows.count()
        visit.page.locator(".sb-filter select").select_option("reported")
        visit.page.locator(".sb-filter input").fill("2649 epoch_time_s")
        assert 0 < rows.locator("visible=true").count() < everything
        assert "shown" in visit.page.locator(".sb-filter output").inner_text()
        assert visit.wrong == []
