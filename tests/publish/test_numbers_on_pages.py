"""Numbers in every place of a page, their notes, and the page that says where they come from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import book_helpers
import pytest
from book_helpers import jb, put_back
from fabricate import add_run
from paths import REPOSITORY

from scalebook.values import ledger_digest

pytestmark = pytest.mark.slow

CONFIG = f"""\
{book_helpers.CONFIG}\
parse: {{myst_enable_extensions: [amsmath, colon_fence, dollarmath]}}
latex: {{latex_engine: xelatex, use_jupyterbook_latex: false}}
"""
TOC = book_helpers.toc("book/other", "book/origins")

#: Where a number can stand, with ``@`` for what asks for it: in text, or in a formula.
PLACES = {
    "prose": "Reached @.",
    "list-table": ":::{list-table} Title\n* - a\n  - @\n:::",
    "table": "| a |\n|---|\n| @ |",
    "table-title": "```{study-table} runs\nWith @ in its title.\n```",
    "figure-caption": "```{study-figure} throughput_comparison\nWith @ in its caption.\n```",
    "admonition": ":::{note}\n- An item with @.\n:::",
    "math": "So $x = @$ holds.",
    "math-block": "$$\nx = @\n$$",
    "math-labelled": "$$\nx = @\n$$ (eq-one)",
    "amsmath": "\\begin{align}\nx &= @ \\\\\ny &= 1\n\\end{align}",
    "math-directive": "```{math}\nx = @\n```",
}
RATE = "baseline.local.throughput.median"
ACCURACY = "baseline.local.final_val_acc.median"


def asked(place: str, key: str, rest: str = "|,.0f|unit") -> str:
    """Text of a place that asks for a number."""
    rest = rest.replace("|", r"\|") if place == "table" else rest
    text = rf"\val{{{key}{rest}}}" if "math" in place else f"{{value}}`{key}{rest}`"
    return PLACES[place].replace("@", text)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, tuple[str, ...]]:
    """A small study with a number in every place, built once; and the stems of its runs."""
    root = tmp_path_factory.mktemp("numbers everywhere")
    shutil.copytree(REPOSITORY / "data" / "reported", root / "data" / "reported")
    shutil.copy(REPOSITORY / "study.yaml", root)
    shutil.copytree(REPOSITORY / "book" / "sentences", root / "book" / "sentences")
    stems = tuple(
        add_run(root, seed=seed, rate=1200 + 40 * seed, accuracy=(40.0, 45.0, 50.0 + seed))
        for seed in range(3)
    )
    index = "# Small\n\n" + "\n\n".join(asked(place, RATE) for place in PLACES)
    for name, text in {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "book/index.md": index + "\n\n```{study-text} own-gpu\n```\n",
        "book/other.md": f"# Other\n\nIt is {{value}}`{ACCURACY}|.1f|unit`, not 50.0 %.\n"
        "\n## Typed\n\n```{study-title} slide-exchange\n```\n\nBelow.\n"
        "\n## Long ladders\n\n```{study-text} ladders\n```\n",
        "book/origins.md": "# Origins\n\nDigest {ledger-digest}`sha256`.\n\n"
        + "".join(
            f"```{{study-provenance}} {part}\n```\n\n" for part in ("numbers", "runs", "drawn")
        ),
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    done = jb(root, "-W", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    return root, stems


@pytest.fixture
def study(built) -> Iterator[Path]:
    """The study, to change and build again; its files are put back, its build is not."""
    root, _ = built
    with put_back(root):
        yield root


def page(root: Path, name: str) -> str:
    return (root / "_build" / "html" / "book" / f"{name}.html").read_text()


def words(markup: str) -> list[str]:
    """What a reader of a page sees, word by word."""
    article = markup.partition("<article")[2].partition("</article>")[0]
    return re.sub(r"<[^>]+>", " ", article).split()


# --------------------------------------------------------------------------- in every place


def test_a_computed_title_stands_in_heading_and_menu_and_keeps_its_address(built):
    text = page(built[0], "other")
    heading = re.search(r'<section id="typed">\s*<h2>(.*?)<a', text, re.S)[1]
    assert (
        "45 MB of gradients cross the network" in heading.replace("\u00a0", " ")
        and "<" not in heading
    )
    menu = re.search(r'href="#typed">(.*?)</a>', text, re.S)[1]
    assert "cross the network" in menu and "Typed" not in text


def test_a_number_stands_in_every_place_with_note_and_link(built):
    text = page(built[0], "index")
    entry = "origins.html#num-baseline--local--throughput--median"
    # The table of runs shows each run by itself, and so not this number.
    in_text = re.findall(
        rf'<a class="sb-number" aria-describedby="(sb-note-\d+)" href="{entry}">'
        "1,240\u00a0images/s</a>",
        text,
    )
    in_maths = re.findall(
        r'<mrow class="sb-mathnumber sb-measured" '
        r'aria-describedby="(sb-note-\d+)"><mn>1,240</mn><mtext>\u00a0images/s</mtext></mrow>',
        text,
    )
    behind = rf'<a class="sb-behind" aria-describedby="(sb-note-\d+)" href="{entry}">1,240'
    assert re.findall(behind, text) == in_maths
    maths = [place for place in PLACES if "math" in place]
    assert len(in_maths) == len(maths) and len(in_text) == len(PLACES) - len(maths)
    for name in in_text + in_maths:
        note = text.partition(f'id="{name}">')[2].partition("</span></span>")[0]
        assert "3 runs of one rank on one machine" in note and "1,200 to 1,280 images/s" in note
        assert entry in note
    assert r"x = {1{,}240\,\text{images/s}}" in text and "sbval" not in text


def test_computed_sentences_stand_in_the_page(built):
    assert "Nothing in this part is a statement about GPUs" in page(built[0], "index")


def test_a_section_whose_sentences_have_nothing_to_say_is_left_out(built):
    assert "Long ladders" not in page(built[0], "other")


def test_a_number_of_a_table_keeps_its_origin(built):
    root, stems = built
    text = page(root, "index")
    assert f"origins.html#num-run--{stems[0]}--throughput" in text
    assert "origins.html#num-reported--2649--epoch_time_s" in text


def test_the_page_of_origins_lists_number_run_and_files(built):
    root, stems = built
    text = page(root, "origins")
    row = text.partition('<tr id="num-baseline--local--throughput--median"')[2].partition("</tr>")[
        0
    ]
    for part in (
        'data-kind="measured"', "1,240\u00a0images/s", "n = 3", "column throughput",
        "scalebook.<wbr>analysis.<wbr>tables.<wbr>configuration_<wbr>table", 'href="index.html"',
    ):  # fmt: skip
        assert part in row, part
    for stem in stems:
        assert f'href="#run-{stem}"' in row
        run = text.partition(f'<tr id="run-{stem}">')[2].partition("</tr>")[0]
        links = re.findall(r'href="\.\./([^"]+)"', run)
        assert f"results/csv/{stem}.csv" in links and len(links) >= 3
        for link in links:
            copied = (root / "_build" / "html" / link).read_bytes()
            assert copied == (root / link).read_bytes()
    reported = text.partition('<tr id="num-reported--2649--epoch_time_s"')[2].partition("</tr>")[0]
    assert "jobs.2649.values.epoch_time_s" in reported
    assert 'href="../data/reported/magic-castle-2025.yaml"' in reported
    for name in ("throughput_comparison", "runs", "own-gpu"):
        assert f"<code>{name}</code>" in text


def test_the_digest_of_the_ledger_is_shown(built, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(built[0]))
    assert ledger_digest(short=True) in page(built[0], "origins")


# --------------------------------------------------------------------------- and only where


def test_one_changed_value_changes_its_number_and_nothing_else(study, built):
    assert jb(study).returncode == 0
    before = {name: page(study, name) for name in ("index", "other", "origins")}
    csv = study / f"results/csv/{built[1][1]}.csv"
    assert ",51.0," in csv.read_text()
    csv.write_text(csv.read_text().replace(",51.0,", ",51.5,"))
    done = jb(study)
    assert done.returncode == 0, done.stderr
    after = {name: page(study, name) for name in before}
    assert before["other"].count("51.0\u00a0%") == 1 and after["other"].count("51.5\u00a0%") == 1
    changed = [
        pair for pair in zip(words(before["other"]), words(after["other"])) if len(set(pair)) > 1
    ]
    assert changed == [("51.0", "51.5")]
    # The table of runs on this page shows the run itself.
    changed = [
        pair for pair in zip(words(before["index"]), words(after["index"])) if len(set(pair)) > 1
    ]
    assert changed == [("51.00", "51.50")]
    gone = set(words(before["origins"])) - set(words(after["origins"]))
    assert {"51.0", "51.00"} <= gone and not any("1,240" in word for word in gone)


# --------------------------------------------------------------------------- what fails


def test_a_missing_number_fails_in_every_place_with_file_and_line(study):
    index, lines = "# Small\n\n", []
    for place in PLACES:
        text = asked(place, "reported.2644.nothing")
        lines.append(index.count("\n") + 1)
        index += text + "\n\n"
    index += "$x = \\val y$\n\n```{study-text} nothing\n```\n\n```{study-provenance} all\n```\n"
    (study / "book" / "index.md").write_text(index)
    done = jb(study)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    told = re.findall(
        r"book/index\.md:(\d+): value 'reported\.2644\.nothing': no number", done.stderr
    )
    assert len(told) == len(PLACES), done.stderr
    for start, end in zip(lines, [*lines[1:], 10**6]):
        assert any(start <= int(line) <= end for line in told), (start, told)
    assert r"\val: write \val{key}" in done.stderr
    assert "study-text: no text 'nothing'" in done.stderr
    assert "study-provenance: no part 'all'" in done.stderr


def test_an_ambiguous_number_fails_in_every_place(study):
    stem = add_run(study, seed=7, versions={"torch": "2.0.1"})
    try:
        done = jb(study)
    finally:
        for path in study.rglob(f"{stem}*"):
            path.unlink()
    assert done.returncode == 1
    told = re.findall(
        r"book/index\.md:\d+: value 'baseline\.local\.\S+': \S+ ambiguous", done.stderr
    )
    assert len(told) == len(PLACES), done.stderr


# --------------------------------------------------------------------------- in print


def test_print_gets_numbers_in_formulas_and_a_table_of_origins(study):
    done = jb(study, "-W", "--keep-going", "--builder", "latex")
    assert done.returncode == 0, done.stdout + done.stderr
    tex = "".join(path.read_text() for path in (study / "_build" / "latex").glob("*.tex"))
    assert tex.count(r"{1{,}240\,\text{images/s}}") == 5 and "sbval" not in tex
    assert "Where it comes from" in tex and "3 runs of one rank on one machine" in tex


def test_the_titles_of_book_and_page_are_text(study):
    (study / "_config.yml").write_text(CONFIG.replace("title: Small", "title: <s>Small</s>"))
    (study / "book/other.md").write_text("# \\<s>Other\\</s>\n")
    done = jb(study, "-W", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (study / "_build/html").rglob("*.html"):
        assert "<s>" not in path.read_text(), path.name
    assert "&lt;s&gt;Small&lt;/s&gt;" in page(study, "other")


# --------------------------------------------------------------------------- links


def test_what_a_link_leads_to_is_neither_offered_nor_shown(study, built, tmp_path):
    (tmp_path / "secret.md").write_text("# Secret\n\nmine alone\n")
    (tmp_path / "secret.log").write_text("mine alone\n")
    log = study / f"results/logs/{built[1][0]}.log"
    log.parent.mkdir()
    log.symlink_to(tmp_path / "secret.log")
    done = jb(study, "-W", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (study / "_build/html" / log.relative_to(study)).exists()
    assert log.name not in page(study, "origins")
    log.unlink()

    index, other = study / "book/index.md", study / "book/other.md"
    link = study / "book/shown.png"
    shutil.copy(REPOSITORY / "results/plots/throughput_comparison.png", tmp_path / "secret.png")
    link.symlink_to(tmp_path / "secret.png")
    (study / "book/part.txt").symlink_to(tmp_path / "secret.md")
    index.write_text("# Small\n\n![a](shown.png)\n\n```{literalinclude} part.txt\n```\n")
    done = jb(study, "-W", "--keep-going")
    assert done.returncode == 1
    for name in ("book/shown.png", "book/part.txt"):
        assert f"scalebook: {name}: leads out of the study" in done.stdout + done.stderr
    link.unlink()
    (study / "book/part.txt").unlink()
    index.write_text("# Small\n")

    other.unlink()
    other.symlink_to(tmp_path / "secret.md")
    done = jb(study, "-W", "--keep-going")
    assert done.returncode == 1
    assert "scalebook: book/other.md: leads out of the study" in done.stdout + done.stderr
    built_files = [path for path in (study / "_build/html").rglob("*") if path.is_file()]
    assert not any(b"mine alone" in path.read_bytes() for path in built_files)
    other.unlink()  # so that it is put back as a file
