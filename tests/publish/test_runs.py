"""A page for every run, and the explorer over all: what is written, when, what a reader does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from book_helpers import CONFIG, jb, toc
from fabricate import add_run
from paths import REPOSITORY

from scalebook import results
from scalebook.analysis.comparable import to_python
from scalebook.publish.runs import data
from scalebook.publish.runs.best import best

HOSTILE = "<script>document.title = 'taken'</script> & <b>bold</b>"


#: Tables that are wider than their place on the page.
CUT = """[...document.querySelectorAll('.sb-run-list, .sb-scrolls')]
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"""


def write(root: Path) -> tuple[int, int]:
    return data.write(root, root / "out", root / "record.json", lambda name: None)


def taken(path: Path) -> dict:
    """What a script hands to the page."""
    text = path.read_text()
    assert text.startswith("scalebook.take(") and text.endswith(");\n")
    return json.loads(text[len("scalebook.take(") : -3])


def column(index: dict, name: str) -> list:
    found = next(one for one in index["columns"] if one["name"] == name)
    return found.get("values") or [found["texts"][at] for at in found["at"]]


def test_the_data_of_a_run_hold_its_numbers_and_its_log_as_text(study_root):
    stem = add_run(study_root, accuracy=(40.0, 50.5), world=2)
    log = study_root / f"results/logs/{stem}.log"
    log.parent.mkdir(parents=True)
    log.write_text(HOSTILE)
    count, _ = write(study_root)
    run = taken(study_root / "out" / data.FOLDER / data.file_name(stem))
    assert run["epochs"]["val_acc"] == [40.0, 50.5]
    assert [len(one["ms"]) for one in run["steps"]["ranks"]] == [24, 24]
    assert run["settings"]["torch"] == "2.13.0" and run["settings"]["ranks"] == "2"
    assert run["title"] == "Baseline, local, 2026-01-01 00:00"
    assert f"<code>{stem}</code>" in run["html"]
    assert run["html"].index('id="settings"') < run["html"].index('id="results"')
    assert "&lt;script&gt;" in run["html"] and "<script" not in run["html"]
    index = taken(study_root / "out" / data.INDEX)
    assert count == len(index["keys"]) > 1  # with the reported ones
    assert column(index, "final_val_acc")[index["keys"].index(stem)] == 50.5
    assert column(index, "experiment")[index["keys"].index(stem)] == "baseline"


def test_a_reported_run_says_what_is_known_of_it(study_root):
    write(study_root)
    run = taken(study_root / "out" / data.FOLDER / data.file_name("reported.2644"))
    assert "4,460 images/s" in run["html"] and "Its files are not here" in run["html"]
    assert ">time per epoch</th><td" in run["html"].replace(' scope="row"', "")
    assert run["title"] == "Baseline, magic-castle, job 2644"
    assert run["settings"]["device"] == "NVIDIA Tesla T4" and run["settings"]["ranks"] == "1"
    assert "_s</th>" not in run["html"] and "val acc" not in run["html"]


def test_only_what_changed_is_written_again(study_root):
    first, second = add_run(study_root, seed=0), add_run(study_root, seed=1, local=True)
    count, changed = write(study_root)
    assert count == changed
    folder = study_root / "out" / data.FOLDER
    files = [folder / data.file_name(stem) for stem in (first, second)]
    before = [path.stat().st_ino for path in files]
    assert write(study_root) == (count, 0)
    (study_root / f"results/csv/{first}.csv").touch()  # looked at again, its content is the same
    add_run(study_root, seed=1, local=True, accuracy=(10.0,))
    assert write(study_root) == (count, 2)
    after = [path.stat().st_ino for path in files]
    assert after[0] == before[0] and after[1] != before[1]
    for kind in ("csv", "manifests", "steps"):
        shutil.rmtree(study_root / "results/local" / kind)
    assert write(study_root) == (count - 1, 0) and not files[1].exists()


def test_a_study_without_runs_and_a_broken_manifest_are_said(study_root):
    shutil.rmtree(study_root / "data/reported")
    assert write(study_root) == (0, 0)
    assert taken(study_root / "out" / data.INDEX)["start"].startswith("scalebook run ")
    stem = add_run(study_root)
    (study_root / f"results/manifests/{stem}.json").write_text("{")
    assert write(study_root) == (0, 0)
    (problem,) = taken(study_root / "out" / data.INDEX)["problems"]
    assert problem == {
        "file": f"results/manifests/{stem}.json",
        "problem": "cannot be read as JSON",
    }


def test_the_best_runs_are_those_on_the_same_real_images(study_root):
    whole = {"train_images": 50000}
    accurate = add_run(study_root, seed=0, rate=1200, accuracy=(40.0, 50.0, 60.25), dataset=whole)
    fast = add_run(study_root, seed=1, rate=1300.5, accuracy=(40.0, 55.0, 60.0), dataset=whole)
    part = {"train_images": 6144, "subset": True}
    add_run(study_root, "ddp_1node", system="mini-open", rate=9000, accuracy=(90.0,), dataset=part)
    for seed, name in enumerate(("synthetic", "cifar10-jpeg"), 2):  # generated; a trial
        add_run(
            study_root, seed=seed, rate=9000, accuracy=(99.0,), local=True, dataset={"name": name}
        )
    (group,) = best(
        {name: to_python(value) for name, value in run.items()}
        for run in results.runs().to_dict("records")
    )
    assert (
        group["which"]
        == "2 runs behind the documents on all 50,000 training images of cifar10-jpeg"
    )
    assert group["best"] == [
        {"key": accurate, "why": "highest validation accuracy, 60.25 % after 3 epochs"},
        {"key": fast, "why": "highest throughput, 1,300.5 images/s on 1 rank"},
    ]


def test_a_row_of_the_explorer_takes_few_letters(study_root):
    add_run(study_root)
    rows = results.runs().to_dict("records")
    many = {f"baseline_t261123-{n:06}-89a6_1cpu_t261123-{n:06}-89a6": rows[-1] for n in range(5000)}
    assert len(data.script(data.index(many))) < 200 * len(many)


# --------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> tuple[Path, list[str]]:
    """A book whose numbers rest on three runs, one of them a trial."""
    root = tmp_path_factory.mktemp("runs in a book")
    shutil.copy(REPOSITORY / "study.yaml", root)
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    stems = [
        add_run(root, seed=0, rate=1200),
        add_run(root, seed=1, rate=1300, code={"commit": "b0b"}),
        add_run(root, "quick", seed=2, local=True, dataset={"name": "synthetic"}),
    ]
    rate = "Rate {value}`baseline.local.throughput.median`.\n\n```{study-table} runs\n```\n"
    for name, text in {
        "_config.yml": CONFIG,
        "_toc.yml": toc("book/runs"),
        "book/index.md": f"# Small\n\n{rate}",
        "book/runs.md": (REPOSITORY / "book/runs.md").read_text(),
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    done = jb(root, "-W", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "_build/html", stems


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 1440])
def test_no_column_of_the_explorer_is_cut(book, browser, width):
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.goto((book[0] / "book/runs.html").as_uri())
    page.wait_for_selector(".sb-run-list tbody tr")
    assert page.evaluate(CUT) == []


@pytest.mark.browser
def test_cards_on_a_phone_are_sorted_by_the_keyboard_and_the_address_keeps_it(book, browser):
    html, (first, second, _) = book
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{(html / 'book/runs.html').as_uri()}#standing=evidence")
    stems = page.locator(".sb-run-list tbody tr")
    page.wait_for_selector(".sb-run-list tbody tr")
    sort, order = (page.locator(f"select[name={name}]") for name in ("sort", "order"))
    assert sort.input_value() == "started" and order.input_value() == "-"
    sort.focus()
    page.keyboard.type("images/s")
    page.keyboard.press("Tab")
    page.keyboard.type("asc")
    titles = [row.locator("a").get_attribute("title") for row in stems.all()]
    assert titles == [first, second]
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector(".sb-run-list tbody tr")
    assert "sort=throughput" in page.url
    assert sort.input_value() == "throughput" and order.input_value() == ""


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1300])
def test_the_best_run_shows_its_settings_first(book, browser, width):
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.goto((book[0] / "book/runs.html").as_uri())
    page.locator(".sb-best a").last.click()
    page.wait_for_selector(".sb-run")
    table = page.get_by_role("group", name="Settings", exact=True)
    assert "one rank (baseline)" in table.inner_text()
    assert table.bounding_box()["y"] < 900
    assert page.locator(".sb-back a").get_attribute("href").endswith("book/runs.html")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1300])
def test_a_link_to_some_runs_shows_them_at_once_and_leads_back_to_all(book, browser, width):
    html, _ = book
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    address = f"{(html / 'book/runs.html').as_uri()}?runs=tbase-1-0,tbase-1-1"
    page.goto(f"{address},nobody")
    page.wait_for_selector(".sb-overlay .main-svg")
    page.wait_for_selector(".sb-compare tbody tr")
    heading = page.locator("#chosen")
    assert heading.inner_text() == "2 chosen runs"
    what = page.locator(".sb-chosen-what").inner_text()
    assert what == "one rank on one machine (2); 1 of those asked for are not in this book"
    assert page.evaluate("document.activeElement.id") == "chosen"
    assert 0 <= heading.bounding_box()["y"] < 300
    label = page.locator(".sb-compare thead th").first
    assert label.bounding_box()["width"] >= 9 * 13
    page.get_by_role("link", name=re.compile("Back to all")).click()
    assert page.locator(".sb-run-list").evaluate("one => one === document.activeElement")
    assert 0 <= page.locator(".sb-explorer").bounding_box()["y"] < 300
    page.locator(".sb-to-chosen").click()
    page.get_by_role("button", name="Clear selection").click()
    assert not page.locator(".sb-chosen").is_visible()
    assert page.locator(".sb-box input:checked").count() == 0


@pytest.mark.browser
def test_runs_are_found_compared_and_kept_in_the_address_from_a_disk(book, browser):
    html, (_, second, _) = book
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda one: wrong.append(one.text) if one.type != "log" else None)
    page.goto(f"{(html / 'book/runs.html').as_uri()}")
    rows = page.locator(".sb-run-list tbody tr")
    page.wait_for_selector(".sb-run-list tbody tr")
    everything = rows.count()
    assert page.locator(".sb-is-trial").count() == 1
    marked = page.locator("tr:has(.sb-is-trial) td[data-label='validation accuracy (%)']")
    assert marked.inner_text().endswith(" synthetic")
    page.locator(".sb-explorer input[name=q]").fill("throughput>1250 baseline seed>=0")
    assert rows.count() == 1
    page.get_by_role("button", name="Show all", exact=True).click()
    assert rows.count() == everything
    page.locator(".sb-explorer input[name=q]").fill("nothing at all")
    assert rows.inner_text() == "No run matches; show all"
    assert not page.locator(".sb-scatter").is_visible()
    rows.get_by_role("button").click()
    assert rows.count() == everything and page.locator(".sb-scatter").is_visible()
    page.locator("select[name=standing]").select_option("evidence")
    page.get_by_role("button", name="images/s", exact=True).click()
    assert second in rows.nth(0).locator("a").get_attribute("title")
    before = page.locator(".sb-run-list").bounding_box()
    page.locator(".sb-box input").first.check()
    assert page.locator(".sb-run-list").bounding_box() == before
    page.wait_for_selector(".sb-compare tbody tr")
    assert page.locator(".sb-what").inner_text() == "Its settings"
    for box in page.locator(".sb-box input").all():
        box.check()
    page.wait_for_selector(".sb-overlay .main-svg")
    differs = page.locator(".sb-compare tbody").inner_text()
    assert "code.commit" in differs and "torch" not in differs
    page.locator(".sb-equal input").check()
    assert "torch" in page.locator(".sb-compare tbody").inner_text()
    assert page.evaluate(CUT) == []
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".sb-overlay .main-svg")
    assert rows.count() == 2 and page.locator(".sb-box input:checked").count() == 2
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("images/s")
    rows.nth(0).locator("a").click()
    page.wait_for_selector(".sb-run-plot .main-svg")
    assert (
        page.locator(".sb-runs-page h1").inner_text() == "One rank, one machine, 2026-01-01 00:00"
    )
    assert second in page.locator(".sb-stem").inner_text()
    page.locator(".sb-run details summary").first.click()
    assert page.evaluate(CUT) == []
    assert page.locator(".bd-sidebar-primary li.current").inner_text() == "All runs"
    assert wrong == []


@pytest.mark.browser
@pytest.mark.parametrize("query", ["tbase-1-1", "one machine evidence", "BASELINE local"])
def test_the_search_leads_to_runs(book, browser, query):
    html, (_, second, _) = book
    page = browser.new_context().new_page()
    page.goto(f"{(html / 'search.html').as_uri()}?q={query}")
    page.wait_for_selector("#runs-found")
    found = page.locator("#runs-found li a")
    assert query != "tbase-1-1" or found.count() == 1
    title = found.first.inner_text()
    found.first.click()
    page.wait_for_selector(".sb-run")
    assert (
        page.locator(".sb-runs-page h1").inner_text()
        == title
        == "One rank, one machine, 2026-01-01 00:00"
    )
    assert second in page.locator(".sb-stem").inner_text()
    page.go_back()
    page.locator("#runs-found p > a").last.click()
    page.wait_for_selector(".sb-run-list tbody tr")
    assert second in [a.get_attribute("title") for a in page.locator(".sb-run-list th a").all()]


@pytest.mark.browser
def test_numbers_and_rows_lead_to_their_runs(book, browser):
    html, (first, _, _) = book
    text = (html / "book/index.html").read_text()
    assert 'href="runs.html?runs=tbase-1-0,tbase-1-1"' in text and "its 2 runs" in text
    assert f'href="../runs/run.html?run={first}"' in text
    page = browser.new_context().new_page()
    page.goto(f"{(html / 'book/runs.html').as_uri()}?runs=tbase-1-0,tbase-1-1")
    page.wait_for_selector(".sb-overlay .main-svg")
    assert page.locator(".sb-chosen-runs li").count() == 2
    page.goto(f"{(html / 'runs/run.html').as_uri()}?run=nobody")
    page.wait_for_function("document.querySelector('.sb-message').textContent")
    assert "no run nobody" in page.locator(".sb-message").inner_text()
