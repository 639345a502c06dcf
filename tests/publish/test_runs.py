"""A page for every run, and the explorer over all: what is written, when, what a reader does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from book_helpers import CONFIG, jb, toc
from fabricate import add_run
from paths import REPOSITORY

from scalebook.publish.runs import data

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
    return next(one["values"] for one in index["columns"] if one["name"] == name)


def test_the_data_of_a_run_hold_its_numbers_and_its_log_as_text(study_root):
    stem = add_run(study_root, accuracy=(40.0, 50.5), world=2)
    log = study_root / f"results/logs/{stem}.log"
    log.parent.mkdir(parents=True)
    log.write_text(HOSTILE)
    count, _ = write(study_root)
    run = taken(study_root / "out" / data.FOLDER / data.file_name(stem))
    assert run["epochs"]["val_acc"] == [40.0, 50.5]
    assert [len(one["ms"]) for one in run["steps"]["ranks"]] == [24, 24]
    assert run["settings"]["versions.torch"] == "2.13.0"
    assert "&lt;script&gt;" in run["html"] and "<script" not in run["html"]
    index = taken(study_root / "out" / data.INDEX)
    assert count == len(index["keys"]) > 1  # with the reported ones
    assert column(index, "final_val_acc")[index["keys"].index(stem)] == 50.5


def test_a_reported_run_says_what_is_known_of_it(study_root):
    write(study_root)
    run = taken(study_root / "out" / data.FOLDER / data.file_name("reported.2644"))
    assert "4,460 images/s" in run["html"] and "Its files are not here" in run["html"]


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
        "file": f"results/manifests/{stem}.json", "problem": "cannot be read as JSON"
    }  # fmt: skip


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
        add_run(root, "quick", seed=2, local=True),
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
    page.locator(".sb-explorer input[name=q]").fill("throughput>1250 baseline seed>=0")
    assert rows.count() == 1
    page.get_by_role("button", name="Show all").click()
    assert rows.count() == everything
    page.locator("select[name=standing]").select_option("evidence")
    page.get_by_role("button", name="images/s", exact=True).click()
    assert second in rows.nth(1).locator("a").get_attribute("title")
    for box in page.locator(".sb-box input").all():
        box.check()
    page.wait_for_selector(".sb-overlay .main-svg")
    differs = page.locator(".sb-compare tbody").inner_text()
    assert "code.commit" in differs and "versions" not in differs
    page.locator(".sb-equal input").check()
    assert "versions.torch" in page.locator(".sb-compare tbody").inner_text()
    assert page.evaluate(CUT) == []
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".sb-overlay .main-svg")
    assert rows.count() == 2 and page.locator(".sb-box input:checked").count() == 2
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("images/s")
    rows.nth(1).locator("a").click()
    page.wait_for_selector(".sb-run-plot .main-svg")
    assert page.locator(".sb-runs-page h1").inner_text() == f"Run {second}"
    page.locator(".sb-run details summary").first.click()
    assert page.evaluate(CUT) == []
    assert wrong == []


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
