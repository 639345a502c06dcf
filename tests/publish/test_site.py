"""The book as a site: its search, its icons, its script of figures, pages that change at once."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from book_helpers import CONFIG, jb, put_back, toc
from paths import REPOSITORY

from scalebook.publish import plots
from scalebook.publish.site import search

PAGE = """
<section id="top"><h1>Results of ResNet-18<a class="headerlink" href="#top">#</a></h1>
<p>Rate <span class="sb-value"><span class="sb-number">4,460 images/s</span><span class="sb-note"
id="n">measured</span></span> with <code><span class="pre">run_epoch</span></code>.<br>Next</p>
<figure id="rates"><div class="sb-plot"><noscript><p>Bars.</p><p>The interactive figure needs
JavaScript.</p></noscript></div><script type="application/json">{"data": [1]}</script>
<figcaption><p><span class="caption-number">Figure 1 </span>Rates &lt; 1</p>
<details><summary>Details</summary><p>How.</p></details></figcaption>
</figure>
<section id="deeper"><h2>Deeper</h2><table><tr><th>run</th><th>rate</th></tr><tr><td>a</td>
<td>1</td></tr></table><p>After</p></section></section>
"""


def test_the_text_of_a_page_is_read_by_section_without_fallbacks_and_with_cells_apart():
    assert search.sections(PAGE, "the paper") == [
        ["", "Results of ResNet-18", "Rate 4,460 images/s with run_epoch. Next"],
        ["rates", "Figure 1 of the paper", "Rates < 1 How."],
        ["deeper", "Deeper", "run · rate · a · 1 · After"],
    ]


def test_a_figure_of_other_types_of_traces_loads_the_whole_of_plotly():
    bars = {"data": [{"type": "bar", "y": [1]}, {"y": [1]}]}
    map_ = {"data": [{"type": "heatmap", "z": [[1]]}]}
    assert plots.script(plots.types(bars)) == plots.BASIC
    assert plots.script([*plots.types(bars), *plots.types(map_)]) == plots.PLOTLY


def test_the_part_of_plotly_is_of_the_release_of_the_whole():
    # Where this fails: `npm pack plotly.js-basic-dist-min@RELEASE` brings the new one.
    release = re.compile(r"plotly\.js (?:\(\w+ - minified\) )?v([\d.]+)")
    heads = [path.read_text(encoding="utf-8")[:200] for path in (plots.BASIC, plots.PLOTLY)]
    part, whole = (release.search(head)[1] for head in heads)
    assert part == whole
    digest = hashlib.sha256(plots.BASIC.read_bytes()).hexdigest()
    assert f"sha256 {digest}" in plots.BASIC.with_name("LICENSES.txt").read_text()


# --------------------------------------------------------------------------- a small book

SPY = """
from pathlib import Path


def look(app):
    root = Path(app.srcdir)
    page = root / "_build/html/book/index.html"
    (root / "seen.html").write_text(page.read_text() if page.is_file() else "")
    if (root / "fail").exists():
        raise RuntimeError("as asked")
    return []


def setup(app):
    app.connect("html-collect-pages", look, priority=900)
"""
FIGURE = """
```{{study-figure}} reported_speedup
:name: fig-{0}
```
"""
INDEX = "# Small\n\nFirst words.\n" + FIGURE.format("first")
WORDS = """\
# Spelling

Batch normalisation is colourful, `Trainer.run_epoch` counts.

## Warm-up

Gigabits a second reach every node: a node, a node.
What the warm-up is, and the batch-norm of {value}`reported.2644.throughput`.

| run | rate |
|---|---|
| alpha | beta |

## Nothing of it

All-reduce waits for a second node. See {numref}`fig-words` and {numref}`fig-first`.

## Marked

```{note}
Read <https://github.com/pydata/pydata-sphinx-theme>.
```

```{seealso}
More.
```

```{error}
Wrong.
```

```{versionadded} 2.0
New.
```
""" + FIGURE.format("words")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A small study with its book, and an extension that looks at the book while it is built."""
    root = tmp_path_factory.mktemp("a site")
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    shutil.copy(REPOSITORY / "study.yaml", root)
    config = CONFIG.replace("sphinx: {", "sphinx: {local_extensions: {spy: .}, ")
    for name, text in {
        "_config.yml": config,
        "_toc.yml": toc("book/words"),
        "spy.py": SPY,
        "book/index.md": INDEX,
        "book/words.md": WORDS,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    done = jb(root, "-W", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def html(root: Path, name: str = "book/index") -> Path:
    return root / "_build" / "html" / f"{name}.html"


@pytest.mark.slow
def test_while_a_book_is_built_its_old_pages_stand_whole(built):
    with put_back(built):
        before, other = html(built).read_text(), html(built, "book/words").stat().st_mtime_ns
        (built / "book/index.md").write_text(INDEX.replace("First", "Second"))
        assert jb(built).returncode == 0
        assert (built / "seen.html").read_text() == before
        assert "Second words" in html(built).read_text()
        assert html(built, "book/words").stat().st_mtime_ns == other
        before = html(built).read_text()
        (built / "book/index.md").write_text(INDEX.replace("First", "Third"))
        (built / "fail").touch()
        assert jb(built).returncode != 0
        (built / "fail").unlink()
        assert html(built).read_text() == before
    assert not list((built / "_build").glob(".html*"))


@pytest.mark.slow
def test_each_page_numbers_its_figures_and_says_how_to_repeat_them(built):
    front, words = (html(built, name).read_text() for name in ("book/index", "book/words"))
    for text in (front, words):
        assert re.findall(r'"caption-number">(\w+ \d+) ', text) == ["Figure 1"]
        fold = re.search(r'<details class="sb-repeat">.*?</details>', text, re.DOTALL)[0]
        lines = re.sub(r"<[^>]*>", "", fold)
        assert "scalebook figures reported_speedup --out _build/figures" in lines
        assert "scalebook run fp16 --system magic-castle" in lines
    found = re.findall(r'<a class="reference[^>]*href="([^"]*#fig-\w+)".*?</a>', words)
    assert found == ["#fig-words", "index.html#fig-first"]
    shown = re.sub(r"<[^>]*>", "", words)
    assert "See Figure 1 and Figure 1 of the front page." in shown
    assert "To repeat Figure 1 of the page Spelling" in shown


@pytest.mark.browser
def test_the_search_leads_to_the_figure_of_each_page(built, browser):
    page = browser.new_context().new_page()
    page.goto(f"{html(built, 'search').as_uri()}?q=repeat figure 1")
    found = page.locator("#search-results li > a")
    names = {"Figure 1 of the front page", "Figure 1 of the page Spelling"}
    assert set(found.all_inner_texts()[:2]) == names
    found.filter(has_text="of the page Spelling").first.click()
    assert page.url.endswith("book/words.html#fig-words")
    fold = page.locator("#fig-words .sb-repeat")
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert "copybtn" in page.evaluate("document.activeElement.className")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("query", "anchor", "marked"),
    [
        ("batch norm", "warm-up", "batch norm"),
        ("batch-norm", "warm-up", "batch norm"),
        ("batch normalisation", "", "Batch normalisation"),
        ("Batch Normalization", "", "Batch normalisation"),
        ("warmup", "warm-up", "warm-up"),
        ("warm up", "warm-up", "warm up"),
        ("allreduce", "nothing-of-it", "All-reduce"),
        ("second node", "nothing-of-it", "second"),
        ("colorful", "", "colourful"),
        ("run_epoch", "", "run epoch"),
        ("4,460", "warm-up", "4 460"),
    ],
)
def test_a_search_finds_sections_in_any_spelling_from_a_disk(built, browser, query, anchor, marked):
    page = browser.new_context().new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
    page.goto(f"{html(built, 'search').as_uri()}?q={query}")
    first = page.locator("#search-results li").first
    assert (
        first.locator("a")
        .get_attribute("href")
        .endswith(f"book/words.html#{anchor}" if anchor else "book/words.html")
    )
    assert marked in " ".join(first.locator("mark").all_inner_texts())
    if anchor == "warm-up":
        assert "run · rate · alpha · beta" in first.locator(".context").inner_text()
    first.locator("a").click()
    page.wait_for_selector("article span.highlighted")
    assert wrong == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_every_icon_is_a_picture_and_no_script_or_font_is_asked_for(built, browser, width):
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(html(built, "book/words").as_uri())
    empty = """[...document.querySelectorAll('button, a.btn, label.btn')].filter(one =>
        one.checkVisibility() && !one.innerText.trim() && !one.querySelector('svg, img') &&
        ![...one.querySelectorAll('[class*=fa-]')].some(icon => icon.checkVisibility() &&
            icon.getBoundingClientRect().width > 5 &&
            getComputedStyle(icon, '::before').maskImage !== 'none')
    ).map(one => one.outerHTML)"""
    assert page.evaluate(empty) == []
    assert page.locator("[class*=fa-]").count() > 5
    drawn = """[...document.querySelectorAll('.bd-article *')].flatMap(one =>
        ['::before', '::after'].map(part => getComputedStyle(one, part).maskImage))
        .filter(mask => mask !== 'none')"""
    masks = page.evaluate(drawn)
    assert len(masks) == len(set(masks)) == 5  # three kinds, a change, a link to GitHub
    assert not [address for address in asked if "fontawesome" in address or "woff" in address]


@pytest.mark.browser
def test_the_contents_of_a_phone_close_when_a_section_is_chosen(built, browser):
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(html(built, "book/words").as_uri())
    page.locator("button.secondary-toggle").click()
    page.locator("dialog[open] a", has_text="Marked").click()
    page.wait_for_selector("dialog[open]", state="detached")
    assert page.url.endswith("#marked")
    assert page.locator("#marked h2").bounding_box()["y"] < 844
