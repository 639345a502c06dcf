"""One run as one HTML file: everything in it, nothing asked for, every text escaped."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from fabricate import add_run
from paths import REPOSITORY

from scalebook import results
from scalebook.cli import main
from scalebook.contract import ScalebookError
from scalebook.figures import theme
from scalebook.publish import report

HOSTILE = "<script>document.title = 'taken'</script> & <b>bold</b>"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A study with two runs, one of which printed markup."""
    root = tmp_path_factory.mktemp("a study")
    shutil.copy(REPOSITORY / "study.yaml", root)
    shutil.copytree(REPOSITORY / "data/systems", root / "data/systems")
    return root


@pytest.fixture(scope="module")
def stems(root) -> list[str]:
    stems = [add_run(root, job_id=f"t261123-050102-{tail}") for tail in ("7f3a", "80bc")]
    (root / "results/logs").mkdir(exist_ok=True)
    (root / f"results/logs/{stems[0]}.log").write_text(f"first\n{HOSTILE}\nlast line\n")
    (root / f"results/logs/{stems[0]}.sacct.csv").write_text(
        "JobID,JobName,State,Elapsed,MaxRSS\n17,baseline,COMPLETED,00:00:30,4152K\n"
    )
    return stems


@pytest.fixture
def here(root, stems, monkeypatch) -> Path:
    monkeypatch.setenv("SCALEBOOK_ROOT", str(root))
    return root


@pytest.fixture(scope="module")
def page(root, stems) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEBOOK_ROOT", str(root))
        return report.write(stems[0], root)


def test_a_run_is_found_by_stem_by_job_and_by_how_it_begins(here, stems):
    assert results.find(stems[0]) == stems[0]
    assert results.find("t261123-050102-7f3a") == stems[0]
    assert results.find("t261123-050102-8") == stems[1]
    with pytest.raises(ScalebookError, match="begins the names of 2 runs"):
        results.find("baseline")
    with pytest.raises(ScalebookError, match="list them with: scalebook runs"):
        results.find("")


def test_a_file_that_another_program_named_has_a_report(tmp_path, monkeypatch):
    (tmp_path / "data/reported").mkdir(parents=True)
    shutil.copy(REPOSITORY / "study.yaml", tmp_path)
    shutil.copytree(REPOSITORY / "data/systems", tmp_path / "data/systems")
    listed = (REPOSITORY / "data/reported/magic-castle-2025.yaml").read_text()
    (tmp_path / "data/reported/theirs.yaml").write_text(
        listed.replace("results/csv/baseline_2644_1gpu_2644.csv", "results/csv/theirs.csv")
    )
    profiling = tmp_path / "results/profiling"
    profiling.mkdir(parents=True)
    (profiling / "gpu_util_2644.log").write_text("index,utilization.gpu [%]\n0,97 %\n0,98 %\n")
    (tmp_path / "results/csv").mkdir()
    (tmp_path / "results/csv/theirs.csv").write_text("epoch,val_acc\n1,55.25\n")
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    text = report.write("theirs", tmp_path).read_text()
    assert "<code>theirs</code>" in text and "gpu_util_2644.log" in text


def test_an_unknown_run_is_one_line(here):
    said = CliRunner().invoke(main, ["report", "nobody"])
    assert said.exit_code == 1
    assert said.output == (
        "scalebook: no run is called 'nobody'; list them with: scalebook runs --all\n"
    )


def test_the_page_holds_the_run_and_escapes_what_it_printed(page, root, stems):
    assert page == root / "_build/reports" / f"{stems[0]}.html"
    text = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)
    assert "last line" in text and "COMPLETED" in text and "4152K" in text
    assert HOSTILE not in text and "&lt;script&gt;document.title" in text
    assert "layout.nodes" in text and "versions.torch" in text
    for place in ("cdn", "mathjax", "require.min.js", "unpkg"):
        assert place not in text.casefold()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]", text)


@pytest.mark.browser
def test_it_opens_offline_with_its_figures(page, browser):
    context = browser.new_context(offline=True, color_scheme="dark")
    tab = context.new_page()
    asked, wrong = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text))
    tab.goto(page.as_uri())
    tab.wait_for_selector(".js-plotly-plot .main-svg")
    assert tab.locator(".js-plotly-plot").count() == 2
    assert (asked, wrong) == ([page.as_uri()], [])
    assert tab.title().startswith("One rank, one machine, 2026-01-01 00:00")
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    "losses", [(2.3, 1.9, 1.2), (1348.0, 2.3, 2.1), (2.3, 0.9, 0.1), (1348.0, 2.3, 0.0), (9.0, 0.5)]
)
def test_curves_have_the_axis_that_figures_give_to_losses(study_root, browser, losses):
    stem = add_run(study_root, accuracy=(40.0,) * len(losses), steps=False)
    path = study_root / f"results/csv/{stem}.csv"
    epochs = pd.read_csv(path)
    epochs["train_loss"] = epochs["val_loss"] = losses
    epochs.to_csv(path, index=False)
    tab = browser.new_context().new_page()
    tab.goto(report.write(stem, study_root).as_uri())
    tab.wait_for_selector("[data-plot=curves] .main-svg")
    drawn = tab.evaluate("document.querySelector('[data-plot=curves]')._fullLayout.yaxis.type")
    assert drawn == theme.loss_axis(losses * 2)["type"]


def test_an_imported_run_has_a_report_though_it_has_no_record(study_root):
    path = study_root / "results/csv/baseline_2644_1gpu_2644.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,val_acc\n1,60.5\n2,77.4\n")
    text = report.write("2644", study_root, study_root / "out.html").read_text()
    assert "77.4 % validation accuracy" in text
    assert "This run was imported" in text and "no steps" in text
    assert "repeat it with" not in text
