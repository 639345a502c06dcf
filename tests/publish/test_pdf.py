"""Documents as PDFs: what TeX makes of a small study, and what leads there."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from book_helpers import jb
from docutils import nodes
from hypothesis import given
from hypothesis import strategies as st
from paths import REPOSITORY
from sphinx_external_toc.parsing import parse_toc_data

from scalebook.contract import ScalebookError
from scalebook.figures import rendering
from scalebook.publish import pdf
from scalebook.publish.latex import documents, tables, tex, writer

NAMES = ("paper", "proposal", "book", "letter")
#: A document more, as somebody would add it.
PATCH = Path(__file__).parent / "new_document.patch"

CONFIG = """\
title: Small & "quoted" 100 %
author: Ada & Co
logo: ""
only_build_toc_files: true
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [amsmath, colon_fence, deflist, dollarmath]}
bibtex_bibfiles: [book/references.bib]
latex: {latex_engine: xelatex, use_jupyterbook_latex: false}
sphinx:
  extra_extensions: [scalebook.publish.sphinx_ext]
  config:
    scalebook_documents: {paper: paper, proposal: proposal, book: book}
    bibtex_default_style: unsrt
    suppress_warnings: [bibtex.duplicate_label]
"""

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Words
    chapters: [{file: book/paper}, {file: book/proposal}]
  - caption: Work
    chapters: [{file: notebooks/drawn}]
"""

PAPER = """\
---
author: Grace Murray
keywords: rings, links
---
# On {0} rings

:::{{container}} abstract
Rate {{value}}`reported.2644.throughput|,.0f|unit`: 2 ≥ 1, 3 × 4 µs ≈ 12 µs − 0, α–β → ✓.
:::

## Method

We follow {{cite:p}}`{0}ring`, see {{numref}}`{0}tab` and <https://example.org/a/very/long/address/that/{1}>.

```{{study-table}} runs
:name: {0}tab
:class: wide
Runs.
```

| Name | What it holds |
|---|---|
| `a_very_long_name_without_any_space_{1}` | {2} |

$$
S_p = \\frac{{X_p}}{{X_1}}
$$ ({0}eq)

```python
print("{1}")  # ─ │ ≥
```

:::{{warning}}
{2}
:::

```{{figure}} ring.svg
:name: {0}ring
A ring.
```

## References

```{{bibliography}}
:filter: docname in docnames
:keyprefix: {0}
```
"""

DRAWN = """\
# %% [markdown]
# # Drawn

# %%
import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML

from scalebook import figures

figures.show_table(pd.DataFrame({"ranks": ["<2> & \\\\textbf{3} | $4$ *5* {6}`7`"]}))
HTML("<script>alert(" + "1)</script>")

# %%
go.Figure(go.Bar(y=[1, 2]), {"meta": {"caption": "Two bars", "alt": "bars of 1 and 2"}})
"""

BIB = """@article{ring, author = {Ringo One}, title = {On rings}, journal = {J.}, year = {2009},
 doi = {10.1000/182}}"""
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60">'
    '<circle r="20" cx="40" cy="30"/></svg>'
)


# --------------------------------------------------------------------------- typeset


def typeset(root: Path) -> str:
    done = jb(root, "-W", "--keep-going", "--builder", "pdflatex")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def asked(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def typeset_study(tmp_path_factory) -> Path:
    """A study in a path with spaces and without browser, typeset by plain ``jb build``."""
    root = tmp_path_factory.mktemp("a study to print")
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    shutil.copy(REPOSITORY / "study.yaml", root)
    long, words = "x" * 90, "several words that take a line or two " * 5
    for name, text in {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "book/index.md": "# Small\n\n## Begin\n\nSee [](paper.md).\n",
        "book/paper.md": PAPER.format("pa", long, words),
        "book/proposal.md": PAPER.format("pr", long, words),
        "book/references.bib": BIB,
        "book/ring.svg": SVG,
        "notebooks/drawn.py": DRAWN,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "apply", PATCH], cwd=root, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWSER_PATH", "/nowhere")
        typeset(root)
    return root


@pytest.mark.tex
@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_whole(typeset_study, name):
    made = typeset_study / "_build" / "latex" / f"{name}.pdf"
    about = asked("pdfinfo", made)
    assert "(A4)" in about and "Creator:         Scalebook" in about
    assert re.search("^Author: +(Grace Murray|Hedy Lamarr|Ada & Co)$", about, re.M)
    fonts = asked("pdffonts", made).splitlines()[2:]
    assert fonts and all(line.split()[-5] == "yes" for line in fonts)  # embedded
    pages = asked("pdftotext", "-layout", made, "-").split("\f")[:-1]
    assert all(len(text.split()) > 3 for text in pages)
    assert tex.complaints(made.with_suffix(".log")) == []


@pytest.mark.tex
def test_pages_say_what_the_study_says(typeset_study):
    folder = typeset_study / "_build" / "latex"
    paper = " ".join(asked("pdftotext", folder / "paper.pdf", "-").split())
    assert "4,460 images/s: 2 ≥ 1, 3 × 4 µs ≈ 12 µs − 0, α–β → ✓" in paper
    assert paper.count("On rings") == 1 and "References" in paper and "Table 1" in paper
    about = asked("pdfinfo", folder / "paper.pdf")
    assert "On pa rings" in about and "rings, links" in about
    book = " ".join(asked("pdftotext", folder / "book.pdf", "-").split())
    assert "<2> & \\textbf{3} | $4$ *5* {6}`7`" in book
    assert "alert(1)" not in book and "IPython.core" not in book
    assert "bars of 1 and 2" in book  # no browser: words
    assert book.count("On rings, J") + book.count("On rings. J") == 2  # each page's own
    assert 'Small & "quoted" 100 %' in asked("pdfinfo", folder / "book.pdf")


@pytest.mark.tex
def test_links_and_bookmarks_work(typeset_study):
    raw = (typeset_study / "_build" / "latex" / "book.log").read_text(errors="replace")
    assert "undefined" not in raw
    pypdf = pytest.importorskip("pypdf")
    reader = pypdf.PdfReader(typeset_study / "_build" / "latex" / "book.pdf")

    def titles(outline) -> list[str]:
        return [
            t for one in outline for t in (titles(one) if isinstance(one, list) else [one.title])
        ]

    assert {"Words", "Work", "Overview"} <= set(titles(reader.outline))
    links = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    assert any(
        "/A" in link and "https://example.org" in str(link["/A"].get("/URI")) for link in links
    )
    assert all(link.get("/Border", [0, 0, 0])[2] == 0 for link in links)  # no boxes


@pytest.mark.tex
@pytest.mark.parametrize("name", NAMES)
def test_each_internal_link_has_a_destination(typeset_study, name):
    pypdf = pytest.importorskip("pypdf")
    reader = pypdf.PdfReader(typeset_study / "_build" / "latex" / f"{name}.pdf")
    notes = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    actions = [note.get("/A") for note in notes]
    inside = [action["/D"] for action in actions if action and action.get("/S") == "/GoTo"]
    assert name == "letter" or any(str(place).startswith("cite.") for place in inside)
    assert set(inside) <= set(reader.named_destinations)


@pytest.mark.tex
def test_the_same_study_gives_the_same_bytes(typeset_study, tmp_path, monkeypatch):
    folder = typeset_study / "_build" / "latex"
    first = {name: hashlib.sha256((folder / f"{name}.pdf").read_bytes()) for name in NAMES}
    shutil.rmtree(typeset_study / "_build")
    (folder / "left").mkdir(parents=True)
    (folder / "other.tex").write_text("%% Generated by Sphinx.\n\\broken")
    monkeypatch.setenv("BROWSER_PATH", "/nowhere")
    typeset(typeset_study)
    again = {name: hashlib.sha256((folder / f"{name}.pdf").read_bytes()) for name in NAMES}
    assert {n: d.hexdigest() for n, d in again.items()} == {
        n: d.hexdigest() for n, d in first.items()
    }
    assert not (folder / "other.tex").exists()


# --------------------------------------------------------------------------- what leads there


def test_documents_are_a_matter_of_the_configuration():
    site_map = parse_toc_data({"format": "jb-book", "root": "book/index"})
    found = documents.load(
        {"paper": "paper", "all": {"class": "book", "title": "T"}}, Path("/nowhere"), site_map
    )
    assert [(one.name, one.page, one.style, one.appendix) for one in found] == [
        ("paper", "book/paper", "paper", ()),
        ("all", "book/index", "book", ("book/provenance",)),
    ]
    assert [one.name for one in documents.load({}, Path("/nowhere"), None)] == ["book"]


def test_a_new_document_takes_two_files(tmp_path):
    changed = re.findall(r"^diff --git a/(\S+)", PATCH.read_text(), re.M)
    assert len(changed) == 2
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text(TOC)
    before = documents.of_study(tmp_path)
    subprocess.run(["git", "apply", PATCH], cwd=tmp_path, check=True)
    (letter,) = [one for one in documents.of_study(tmp_path) if one not in before]
    assert (letter.name, letter.page, letter.style) == ("letter", "book/letter", "proposal")


@pytest.mark.parametrize("front", ["pdf: {colour: red}", "pdf: [paper]", "pdf: {class: p, x: 1}"])
def test_front_matter_that_cannot_be_understood_is_named(tmp_path, front):
    (tmp_path / "index.md").write_text(f"---\n{front}\n---\n# Title\n")
    site_map = parse_toc_data({"format": "jb-book", "root": "index"})
    with pytest.raises(ScalebookError, match=r"^index.md: pdf: [^\n]+$"):
        documents.load({}, tmp_path, site_map)


@pytest.mark.parametrize(
    "setting", [["paper"], {"paper": 1}, {"a/b": "paper"}, {"p": {"class": "paper", "colour": 1}}]
)
def test_a_document_that_cannot_be_understood_is_named(setting):
    with pytest.raises(ScalebookError, match=r"^_config.yml: scalebook_documents: [^\n]+$"):
        documents.load(setting, Path("/nowhere"), None)


def test_the_day_is_that_of_the_last_commit_beside_docs(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert documents.source_date(tmp_path) == documents.FIRST_DAY
    (tmp_path / "docs").mkdir()
    for day, name in ((3, "study.yaml"), (9, "docs/paper.pdf")):
        (tmp_path / name).write_text("x")
        when = {"GIT_COMMITTER_DATE": f"2026-05-0{day}T14:00:00Z"}
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
        ):
            subprocess.run(
                ["git", "-C", tmp_path, *command],
                check=True,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **when},
            )
    assert documents.date_text(documents.source_date(tmp_path)) == "3 May 2026"


def table(rows: list[list[str]]) -> nodes.table:
    def row(cells: list[str]) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph(text=text)) for text in cells])

    group = nodes.tgroup("", nodes.thead("", row(rows[0])), nodes.tbody("", *map(row, rows[1:])))
    return nodes.table("", group)


PAPER_PAGE = tables.Layout(2, 243, 503, 8)


def test_a_table_that_fits_keeps_its_natural_widths():
    plan = tables.plan(table([["System", "Images/s"], ["local", "1,234.5"]]), PAPER_PAGE)
    assert plan == tables.Plan(False, False, False, "", "@{}lr@{}", False)


def test_a_table_of_sentences_takes_both_columns():
    assert tables.plan(table([["Claim", "Why"], ["word " * 30, "word " * 40]]), PAPER_PAGE).wide


@given(st.lists(st.lists(st.text(max_size=200), min_size=3, max_size=3), min_size=2, max_size=5))
def test_columns_never_take_more_than_the_page(rows):
    for page in (PAPER_PAGE, tables.Layout(turned=680)):
        plan = tables.plan(table(rows), page)
        shares = [float(share) for share in re.findall(r"[WV]\{([\d.]+)\}", plan.spec)]
        assert sum(shares) == pytest.approx(len(shares), abs=0.002)
        assert plan.wraps == bool(shares)


def test_a_picture_drawn_twice_has_the_same_names():
    def drawn(picture: str, pattern: str) -> bytes:
        return (
            f'<g id="defs-{picture}"/><clipPath id="clip{picture}xy"/><pattern id="p{picture}-'
            f'{pattern}"/><path clip-path="url(#clip{picture}xy)" style="fill: url(\'#p{picture}-'
            f'{pattern}\'); stroke: #abcdef" d="M1-2"/><g class="trace scatter trace{pattern}"/>'
        ).encode()

    settled = rendering._with_settled_names(drawn("a1b2c3", "0f0f0f"))
    assert settled == rendering._with_settled_names(drawn("99aa00", "d4d4d4"))
    assert b"#abcdef" in settled and settled.count(b"000001") == 3


def test_a_figure_at_a_side_is_a_float_that_cannot_run_off_the_page():
    one = SimpleNamespace(
        table=None, in_minipage=0, no_latex_floats=0, columns=SimpleNamespace(count=1),
        body=[], context=[], _is_wide=lambda figure: False,
    )  # fmt: skip
    figure = nodes.figure("", nodes.image(uri="tall.png"), align="right")
    writer.Translator.visit_figure(one, figure)
    assert "\\begin{figure}[!htbp]" in one.body[0] and "align" not in figure


def test_complaints_name_what_sticks_out(tmp_path):
    path = tmp_path / "paper.log"
    path.write_text(
        "Overfull \\hbox (0.9pt too wide) in paragraph at lines 1--2\n"
        "Overfull \\hbox (12.5pt too wide) in paragraph at lines 3--4\n[]\\TU/x/m/n/10 some words\n"
        "Missing character: There is no ✗ (U+2717) in font texgyretermes:mapping=x!\n"
        "Missing character: There is no 漢 (U+6F22) in font [FreeSerif.otf]/OT:script=latn!\n"
        "File: tall.png Graphic file (type bmp)\n [1\n\n]\n"
        "Overfull \\vbox (464.2pt too high) has occurred while \\output is active []\n"
        "! Dimension too large.\nl.84 \\sphinxincludegraphics{{huge}.png}\n"
        "LaTeX Warning: Reference `a' on page 1 undefined on input line 3.\n"
        "Package hyperref Warning: Token not allowed\n"
    )
    assert tex.complaints(path) == [
        "paper: line overfull by 12.5 pt in paragraph at lines 3--4, near 'some words'",
        "paper: no character ✗ in texgyretermes: write it outside formulas and addresses, where "
        "other fonts are tried, or leave it out",
        "paper: no character 漢 in FreeSerif: leave it out, or name an installed font that has it "
        "(`fc-list :charset=6f22`) in _config.yml: sphinx: config: latex_elements: {preamble: "
        "'\\sbotherfont{NAME}'}",
        "paper: page 2 (with tall.png) overfull by 464.2 pt: give what is there less height",
        "paper: error: Dimension too large. l.84 \\sphinxincludegraphics{{huge}.png}: the picture "
        "is larger than TeX can measure (5.7 m): scale it down",
        "paper: Reference `a' on page 1 undefined on input line 3.",
    ]


def test_without_tex_the_line_to_run_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScalebookError, match="sudo apt-get install .*texlive-xetex"):
        pdf.build_pdfs(tmp_path)


def test_packages_are_those_that_the_script_installs():
    script = (REPOSITORY / "env" / "apt.sh").read_text().replace("\\\n", "")
    (programs, packages) = re.search(r'tex\)\s+programs="(.*)"\s+packages="(.*)"', script).groups()
    assert packages.split() == tex.PACKAGES.split()
    assert set(tex.COMMANDS) <= set(programs.split())
