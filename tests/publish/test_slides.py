"""The slides: five for five minutes, printed a page each, and nothing asked from outside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import REPOSITORY

from scalebook import figures, study
from scalebook.contract import ScalebookError
from scalebook.figures.plan import level
from scalebook.publish import pages, pictures
from scalebook.publish.slides import deck, revealjs
from scalebook.publish.slides.page import MADE_FROM, is_current, made_from
from scalebook.values import ledger

SOURCE = (REPOSITORY / "book" / "slides.md").read_text()
#: The chapters, each from its heading on.
PARTS = re.split(r"^## ", SOURCE, flags=re.M)[1:]
NOTES = re.compile(r"^```\{speaker-notes\} (\d+)\n(.*?)^```$", re.M | re.S)
#: Words a minute that an audience can follow.
SLOW, FAST = 100, 165


def test_five_slides_with_notes_take_five_minutes():
    found = [NOTES.findall(part) for part in PARTS]
    assert [len(notes) for notes in found] == [1] * 5
    assert sum(int(seconds) for ((seconds, _),) in found) == 300
    for ((seconds, text),) in found:
        spoken = re.sub(r"\{value\}`[^`]*`", "number", text)
        assert SLOW <= 60 * len(spoken.split()) / int(seconds) <= FAST, text[:40]


def test_every_high_risk_is_named_and_no_other_than_those_of_the_plan():
    risks = {one.id: one for one in study.load(REPOSITORY).plan.risks}
    named = re.findall(r"\*\*(R\d+)\*\*", PARTS[4])
    assert set(named) <= set(risks)
    high = [one.id for one in risks.values() if level(one.likelihood, one.impact) == "high"]
    assert set(high) <= set(named)


def test_every_number_on_the_slides_is_in_the_ledger(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    keys = [key.partition("|")[0] for key in re.findall(r"\{value\}`([^`]*)`", SOURCE)]
    assert len(keys) > 10
    assert not set(keys) - set(ledger())


def test_a_figure_has_the_size_of_its_class_and_large_letters():
    figure = SimpleNamespace(get=lambda name, default: ["deck-half"])
    size = pictures._size(SimpleNamespace(parent=figure), SimpleNamespace(name="revealjs"), "")
    assert size == figures.slide(570, 400)
    for width, height in pictures.ON_SLIDES.values():
        assert width <= revealjs.SLIDE[0] - 120 and height <= revealjs.SLIDE[1] - 140


def test_a_deck_with_other_content_is_not_linked(tmp_path):
    page = tmp_path / "slides.md"
    page.write_text("# Slides\n")
    env = SimpleNamespace(
        doc2path=lambda docname: str(page),
        scalebook_pages={"book/slides": pages.Page({("value", "a"): "1", ("deck", "x"): "x"})},
    )
    assert not is_current(env, tmp_path, "book/slides")
    made = made_from(env, "book/slides")
    assert made["inputs"] == {"value a": "1"}
    deck.contract.write_json(tmp_path / MADE_FROM, made)
    assert is_current(env, tmp_path, "book/slides")
    env.scalebook_pages["book/slides"].inputs["value", "a"] = "2"
    assert not is_current(env, tmp_path, "book/slides")


def test_no_slides_and_no_browser_are_one_line_each(tmp_path, monkeypatch):
    with pytest.raises(ScalebookError, match="there are no slides to build"):
        deck.build_deck(tmp_path, print)
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScalebookError, match="install chromium, or set BROWSER_PATH") as caught:
        deck.print_deck(tmp_path / "deck.html", tmp_path / "slides.pdf")
    assert "\n" not in str(caught.value) and not (tmp_path / "slides.pdf").exists()


# --------------------------------------------------------------------------- built


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The deck of this project and its PDF, made from its files and not beside them."""
    root = tmp_path_factory.mktemp("the slides")
    shutil.copytree(REPOSITORY / "book", root / "book")
    shutil.copy(REPOSITORY / "study.yaml", root)
    for name in ("data", "results"):
        (root / name).symlink_to(REPOSITORY / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEBOOK_ROOT", str(root))
        page, pdf = deck.build(root, print)
    return page, pdf


@pytest.mark.browser
def test_a_page_a_slide_with_its_fonts_and_the_same_bytes_twice(built, tmp_path):
    from pypdf import PdfReader

    page, pdf = built
    reader = PdfReader(pdf)
    assert len(reader.pages) == 5
    for one in reader.pages:
        assert (round(one.mediabox.width), round(one.mediabox.height)) == (960, 540)
        for font in one["/Resources"]["/Font"].values():
            fonts = [font.get_object(), *[f.get_object() for f in font.get("/DescendantFonts", [])]]
            described = [f["/FontDescriptor"] for f in fonts if "/FontDescriptor" in f]
            assert any("/FontFile2" in one or "/FontFile3" in one for one in described)
    said = reader.metadata
    assert said.title and re.fullmatch(r"ledger [0-9a-f]{64}", said["/Keywords"])
    assert not {"/CreationDate", "/ModDate"} & set(said)
    again = tmp_path / "again.pdf"
    deck.print_deck(page, again, {key: said[key] for key in ("/Title", "/Subject", "/Keywords")})
    assert again.read_bytes() == pdf.read_bytes()


@pytest.mark.browser
def test_the_deck_opens_offline_and_nothing_is_cut_off(built, browser):
    page, _ = built
    asked, wrong = [], []
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("requestfailed", lambda request: wrong.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(page.as_uri(), wait_until="load")
    sections = tab.locator(".slides section")
    assert sections.count() == 5
    timing = [int(one.get_attribute("data-timing")) for one in sections.all()]
    assert sum(timing) == 300
    for position, section in enumerate(sections.all()):
        assert len(section.locator("aside.notes").text_content()) > 300
        cut = section.evaluate(
            "slide => [...slide.querySelectorAll('*')].filter(one => !one.closest('aside'))"
            ".filter(one => { const box = one.getBoundingClientRect(); return box.width &&"
            " (box.right > 1280 || box.bottom > 720 || box.left < 0 || box.top < 0); })"
            ".map(one => one.outerHTML.slice(0, 80))"
        )
        assert cut == [], position + 1
        small = section.evaluate(
            "slide => [...slide.querySelectorAll('h2, p, li, figcaption')]"
            ".filter(one => !one.closest('aside'))"
            ".filter(one => parseFloat(getComputedStyle(one).fontSize) < 24)"
            ".map(one => one.textContent)"
        )
        assert small == []
        assert all(image.get_attribute("alt") for image in section.locator("img").all())
        tab.keyboard.press("ArrowRight")
    assert all(url.startswith("file:") for url in asked) and wrong == []
    tab.close()


@pytest.mark.browser
def test_a_tall_picture_is_fitted_to_the_slide(built, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    tab.goto(built[0].as_uri(), wait_until="load")
    for inside in ("p", "figure"):
        height, bottom = tab.evaluate(
            """async inside => {
              const canvas = document.createElement("canvas");
              [canvas.width, canvas.height] = [40, 6000];
              const picture = new Image();
              picture.src = canvas.toDataURL();
              await picture.decode();
              const around = document.createElement(inside);
              around.append(picture);
              const slide = document.querySelector(".slides section");
              slide.replaceChildren(slide.querySelector("h2"), around);
              return [picture.clientHeight, around.getBoundingClientRect().bottom];
            }""",
            inside,
        )
        assert height > 400 and bottom <= 720
    tab.close()


@pytest.mark.browser
def test_the_speaker_view_shows_the_notes(built, browser):
    page, _ = built
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    tab = context.new_page()
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_function("Reveal.isReady()")
    with context.expect_page() as opened:
        tab.keyboard.press("s")
    notes = opened.value.locator(".speaker-controls-notes .value")
    notes.wait_for()
    assert "In twelve years" in notes.inner_text()
    context.close()
