"""Plain ``jb build .`` of a small study: what it executes, what it refuses, what it leaves."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import book_helpers
import nbformat
import pytest
from book_helpers import jb, launch_link, put_back
from paths import REPOSITORY

from scalebook.contract import ScalebookError
from scalebook.publish import build

pytestmark = pytest.mark.slow

CONFIG = f"""\
{book_helpers.CONFIG}\
latex: {{latex_engine: xelatex, use_jupyterbook_latex: false}}
"""

TOC = book_helpers.toc("notebooks/drawn", "notebooks/asked")

INDEX = """\
# Small

Rate {value}`reported.2644.throughput|,.0f|unit`, with $E = 1$.

```{study-table} runs
:name: tab-runs
Runs.
```

See {numref}`tab-runs`.
"""

DRAWN = """\
# %% [markdown]
# # Drawn

# %%
import plotly.graph_objects as go

go.Figure(
    go.Bar(y=[1, 2]),
    {"title": "</script><img src=x onerror=alert(1)>", "meta": {"caption": "A <i>caption</i>"}},
)
"""

ASKED = """\
# %% [markdown]
# # Asked

# %%
from scalebook import results

print(results.reported().value.iloc[0])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, str]:
    """A study in a path with spaces, built once with ``jb build .``."""
    root = tmp_path_factory.mktemp("a small study")
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    shutil.copy(REPOSITORY / "study.yaml", root)
    for name, text in {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "book/index.md": INDEX,
        "notebooks/drawn.py": DRAWN,
        "notebooks/asked.py": ASKED,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    done = jb(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, done.stdout


@pytest.fixture
def study(built) -> Iterator[Path]:
    """The study, to change and build again; its files are put back, its build is not."""
    root, _ = built
    with put_back(root):
        yield root


def page(root: Path, name: str) -> str:
    return (root / "_build" / "html" / f"{name}.html").read_text()


def pages(root: Path) -> dict[str, bytes]:
    folder = root / "_build" / "html"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.html")}


def test_both_notebooks_are_executed_and_shown(built):
    root, output = built
    assert len(re.findall(r"^scalebook: (drawn|asked) +executed +[\d.]+ s", output, re.M)) == 2
    assert "90.0" in page(root, "notebooks/asked") or "4460" in page(root, "notebooks/asked")
    assert "sb-plot-data" in page(root, "notebooks/drawn")


def test_a_page_shows_where_a_number_came_from(built):
    text = page(built[0], "book/index")
    assert re.search(
        r'sb-reported"><span class="sb-number" aria-describedby="sb-note-\d+" tabindex="0">4,460',
        text,
    )  # without a page of origins, no link
    assert 'role="note" popover' in text and "job 2644" in text
    assert "<math" in text and "Table 1" in text


def test_titles_and_captions_cannot_become_markup(built):
    text = page(built[0], "notebooks/drawn")
    assert "<img src=x" not in text and "A &lt;i&gt;caption" in text
    assert "\\u003c/script\\u003e" in text


def test_plotly_is_loaded_where_there_is_a_figure_and_nothing_from_elsewhere(built):
    root, _ = built
    assert "plotly-basic.min.js" in page(root, "notebooks/drawn")
    assert "plotly" not in page(root, "book/index")
    for name, content in pages(root).items():
        text = content.decode()
        assert not re.search(r"""(src|href)=["'](https?:)?//""", re.sub(r"<a [^>]*>", "", text))
        assert "thebe" not in text.lower(), name
        assert not re.search(r"<script[^>]*mathjax", text, re.I), name


def test_a_changed_answer_executes_one_notebook_and_renews_the_page(study):
    assert jb(study).returncode == 0
    report = study / "data" / "reported" / "magic-castle-2025.yaml"
    text = report.read_text()
    for path in study.rglob("*.py"):
        path.touch()
    report.write_text(text.replace("value: 4460", "value: 4461"))
    done = jb(study)
    assert done.returncode == 0, done.stderr
    assert "the answer of reported() changed" in done.stdout
    assert re.search(r"drawn +current", done.stdout)
    assert "4,461" in page(study, "book/index")


def test_a_notebook_opens_in_the_hub_where_one_is_named(study):
    assert "user-redirect" not in page(study, "notebooks/drawn")
    hub = "launch_buttons: {notebook_interface: jupyterlab, jupyterhub_url: https://hub.example.org}\n"
    (study / "_config.yml").write_text(CONFIG + hub)
    done = jb(study)
    assert done.returncode == 1
    assert "jupyterhub_url needs repository: url" in done.stderr
    repository = "repository: {url: https://github.com/some/study, branch: main}\n"
    (study / "_config.yml").write_text(CONFIG + hub + repository)
    done = jb(study)
    assert done.returncode == 0, done.stderr
    (link,) = set(re.findall(r'href="([^"]*user-redirect[^"]*)"', page(study, "notebooks/drawn")))
    assert html.unescape(link) == launch_link("https://hub.example.org", "notebooks/drawn.py")
    assert "user-redirect" not in page(study, "book/index")


CELLS = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3, language: python}
---
# Cells

```{code-cell} python
6 * 7
```

```{code-cell} python
:tags: [skip-execution]
6 * 7
```
"""


def test_cells_that_nothing_executes_and_widgets_without_a_picture_are_warned_about(study, capsys):
    widget = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2},
        "text/plain": "IntSlider(value=3)",
    }
    picture = {**widget, "image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
    cells = [
        nbformat.v4.new_code_cell(
            "slider", outputs=[nbformat.v4.new_output("display_data", data=data)]
        )
        for data in (widget, picture)
    ]
    title = nbformat.v4.new_markdown_cell("# Saved")
    notebook = nbformat.v4.new_notebook(cells=[title, *cells])
    notebook.metadata["language_info"] = {"name": "python"}
    made = {
        "book/cells.md": CELLS,
        "book/plain.md": CELLS.partition("---\n#")[2].replace(" Cells", "# Plain", 1),
        "book/saved.ipynb": nbformat.writes(notebook),
    }
    for name, text in made.items():
        (study / name).write_text(text)
    toc = study / "_toc.yml"
    toc.write_text(TOC + "".join(f"  - file: {Path(name).with_suffix('')}\n" for name in made))
    for _ in range(2):  # said again until it is mended
        with pytest.raises(ScalebookError, match="was not built"):
            build.build_book(study)
        told = capsys.readouterr().err
        assert told.count("nothing executes this code cell: move it into a notebook") == 3
        assert re.search(r"book/cells.md:\d+: WARNING", told) and "book/plain.md:3: WARNING" in told
        assert told.count("is a widget without a picture") == 1
        assert "book/saved.ipynb: WARNING: output of cell 2 is a widget" in told
    for name in made:
        (study / name).unlink()


@pytest.mark.parametrize("name", ["_config.yml", "_toc.yml", "book/index.md", "notebooks/asked.py"])
def test_a_page_in_another_encoding_is_named(study, capsys, name):
    path = study / name
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(ScalebookError) as raised:
        build.build_book(study)
    said = f"{raised.value} {capsys.readouterr().err}"
    assert f"{name}: is in UTF-16: save it as UTF-8" in said and "Decode" not in said


def test_an_ipynb_beside_its_source_is_no_second_page(study):
    beside = study / "notebooks" / "drawn.ipynb"
    beside.write_text("{}")
    build.build_book(study, lambda _: None)
    beside.unlink()


def test_a_failing_notebook_fails_the_build_and_leaves_the_pages(study, capsys):
    before = pages(study)
    (study / "notebooks" / "asked.py").write_text(ASKED + "\n# %%\n1 / 0\n")
    (study / "notebooks" / "drawn.py").write_text(DRAWN.replace("[1, 2]", "[1, 3]"))
    (study / "book" / "index.md").write_text("# Changed\n")
    done = jb(study)
    assert done.returncode == 1
    assert "notebooks/asked.py: code cell 2: ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"drawn +executed", done.stdout)
    assert pages(study) == before

    capsys.readouterr()
    with pytest.raises(ScalebookError, match="not built; everything said is in"):
        build.build_book(study)
    told = capsys.readouterr().err
    assert "code cell 2: ZeroDivisionError" in told and "Traceback" not in told


def test_what_cannot_be_shown_fails_the_build_by_page_and_line(study):
    before = pages(study)
    (study / "book" / "index.md").write_text(
        "# Small\n\n"
        "{value}`reported.2644.throughputt`\n\n"
        "{value}`reported.2644.throughput|x`\n\n"
        "```{study-figure} nothing\n```\n\n"
        "```{study-table} nothing\n```\n"
    )
    done = jb(study)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for message in (
        "book/index.md:3: value 'reported.2644.throughputt': no number",
        "book/index.md:5: value 'reported.2644.throughput': format 'x'",
        "book/index.md:7: study-figure: no figure 'nothing'",
        "book/index.md:10: study-table: no table 'nothing'",
    ):
        assert message in done.stderr
    assert pages(study) == before


def test_after_mending_the_build_is_whole_again(study):
    index = study / "book" / "index.md"
    index.write_text(INDEX.replace("2644", "0000"))
    assert jb(study).returncode == 1
    index.write_text(INDEX.replace("Rate", "Mended"))
    assert jb(study).returncode == 0
    assert "Mended" in page(study, "book/index") and "0000" not in page(study, "book/index")


def test_builders_that_print_get_no_warning(study):
    done = jb(study, "-W", "--keep-going", "--builder", "latex")
    assert done.returncode == 0, done.stderr
    (tex,) = (study / "_build" / "latex").glob("*.tex")
    assert "4,460\u00a0images/s" in tex.read_text() or "4,460~images/s" in tex.read_text()


def test_what_another_builder_has_read_is_still_written(study):
    assert jb(study).returncode == 0
    path = study / "data/reported/magic-castle-2025.yaml"
    path.write_text(path.read_text().replace("value: 4460,", "value: 4461,"))
    assert jb(study, "--builder", "latex").returncode == 0
    assert jb(study).returncode == 0
    assert "4461" in page(study, "notebooks/asked") and "4,461" in page(study, "book/index")


def test_scalebook_book_says_little_and_names_the_page(study):
    told = []
    assert build.build_book(study, told.append) == study / "_build" / "html" / "index.html"
    assert len(told) == 2
