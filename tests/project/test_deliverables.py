"""What `scalebook check` tells about each deliverable, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from fabricate import add_run
from paths import REPOSITORY
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from scalebook.cli import main
from scalebook.contract import ScalebookError
from scalebook.figures import plot_files
from scalebook.project import deliverables, pdf_facts, specification
from scalebook.values import ledger_digest


@pytest.fixture(autouse=True)
def one_plot(request, monkeypatch):
    """One plot of all is held against its files, but where all deliverables are there."""
    if "study_root" in request.fixturenames:
        gantt = {"gantt": plot_files.plots()["gantt"]}
        monkeypatch.setattr(plot_files, "plots", lambda: gantt)


def rows(root: Path) -> dict[str, deliverables.Deliverable]:
    return {one.name: one for one in deliverables.check(root)}


def declare(root: Path, **wanted) -> None:
    (root / "data").mkdir(exist_ok=True)
    (root / deliverables.FILE).write_text(yaml.safe_dump(wanted))


def make_pdf(path: Path, pages: list[str], digest: str = "", held: bool = True) -> None:
    """A PDF with a line of text for each line of `pages`, in one font."""
    writer = PdfWriter()
    descriptor = DictionaryObject({NameObject("/Type"): NameObject("/FontDescriptor")})
    if held:
        descriptor[NameObject("/FontFile2")] = writer._add_object(StreamObject())
    font = DictionaryObject({
        NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/TrueType"),
        NameObject("/BaseFont"): NameObject("/Some"), NameObject("/FontDescriptor"): descriptor,
    })  # fmt: skip
    for text in pages:
        page = writer.add_blank_page(595, 842)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = StreamObject()
        lines = "".join(f"({line}) Tj 0 -20 Td\n" for line in text.splitlines())
        stream.set_data(f"BT /F1 12 Tf 50 800 Td\n{lines}ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    writer.add_metadata({"/Keywords": f"scaling, ledger {digest}" if digest else "scaling"})
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write(path)


@pytest.fixture
def paper(study_root) -> Path:
    """A study with one document of two sections and its PDF of two current pages."""
    document = {"source": "book/paper.md", "pdf": "docs/paper.pdf", "pages": [2, 3],
                "sections": ["Abstract", "Results"], "shows": ["gantt"]}  # fmt: skip
    declare(study_root, documents={"paper": document})
    (study_root / "book").mkdir()
    (study_root / "book/paper.md").write_text(
        "# A paper\n:::{container} abstract\nShort.\n:::\n"
        "## Results\n```{study-figure} gantt\n```\n"
    )
    make_pdf(study_root / "docs/paper.pdf", ["One", "Two"], ledger_digest())
    return study_root


# --------------------------------------------------------------------------- documents


def test_a_document_in_place_is_ok(paper):
    found = rows(paper)
    assert found["paper: text"].status == "ok"
    assert found["docs/paper.pdf"][1:] == ("ok", "2 pages, fonts embedded, numbers current", "")


def test_a_missing_section_figure_and_pdf_are_named(paper):
    (paper / "book/paper.md").write_text("# A paper\n## Abstract\n")
    (paper / "docs/paper.pdf").unlink()
    found = rows(paper)
    assert found["paper: text"].status == "missing"
    assert found["paper: text"].found == "Results and 1 more"
    assert found["docs/paper.pdf"].status == "missing"
    assert found["docs/paper.pdf"].mend == "scalebook pdf"


def test_a_pdf_of_other_numbers_is_stale(paper):
    add_run(paper)  # changes the ledger
    assert rows(paper)["docs/paper.pdf"].status == "stale"
    make_pdf(paper / "docs/paper.pdf", ["One", "Two"])
    assert "does not say" in rows(paper)["docs/paper.pdf"].found


@pytest.mark.parametrize(
    ("pages", "held", "said"),
    [(["One"], True, "1 pages, not 2 to 3"), (["One", "Two"], False, "not embedded: Some")],
)
def test_a_pdf_too_short_or_without_its_font_is_wrong(paper, pages, held, said):
    make_pdf(paper / "docs/paper.pdf", pages, ledger_digest(), held)
    found = rows(paper)["docs/paper.pdf"]
    assert found.status == "wrong" and said in found.found


def test_a_file_that_is_no_pdf_is_told_in_one_line(paper):
    (paper / "docs/paper.pdf").write_text("no")
    found = rows(paper)["docs/paper.pdf"]
    assert found.status == "wrong" and "\n" not in found.found


@pytest.mark.parametrize(
    ("pages", "counted"),
    [
        (["Text", "More\nstill\nmore\nReferences\nA list", "List"], 2),
        (["Text", "A head\nReferences\nA list", "List"], 1),
        (["Text", "See References therein"], 2),
    ],
)
def test_references_are_not_counted(tmp_path, pages, counted):
    make_pdf(tmp_path / "a.pdf", pages)
    assert pdf_facts.read(tmp_path / "a.pdf").before_references == counted


# --------------------------------------------------------------------------- everything else


def test_files_plots_and_results(study_root):
    declare(study_root, files=["LICENSE", "README.md"], figures=["gantt", "nothing"])
    (study_root / "LICENSE").write_text("MIT")
    found = rows(study_root)
    assert (found["LICENSE"].status, found["README.md"].status) == ("ok", "missing")
    assert found["plot gantt"].status == "missing"
    assert found["plot nothing"].status == "wrong"
    assert found["runs behind the documents"].status == "missing"
    assert not any("SYSTEM.md" in name for name in found)  # this study does not ask for it


def test_tables_of_the_specification_must_be_current(study_root):
    page = study_root / "docs/SYSTEM.md"
    page.parent.mkdir()
    shutil.copy(REPOSITORY / "docs/SYSTEM.md", page)
    name = "tables of docs/SYSTEM.md"
    assert rows(study_root)[name].status == "stale"  # other runs than this study's
    specification.refresh(study_root)
    assert rows(study_root)[name].status == "ok"


def test_a_run_of_slurm_needs_its_accounting(study_root):
    attempt = {"number": 1, "start": "2026-11-23T09:00:00Z", "end": "2026-11-23T09:10:00Z",
               "ended": "completed", "reason": "", "scheduler": {"name": "slurm"}}  # fmt: skip
    stem = add_run(study_root, attempts=[attempt])
    name = "Slurm's accounting of each run"
    assert rows(study_root)[name].found == stem
    logs = study_root / "results/logs"
    logs.mkdir(exist_ok=True)
    (logs / f"{stem}.sacct.csv").write_text("JobID\n1\n")
    assert rows(study_root)[name].status == "ok"


@pytest.mark.parametrize("text", ["see /home/ada/data", "ssh ada@login.example.org"])
def test_a_personal_path_is_found(study_root, text):
    logs = study_root / "results/logs"
    logs.mkdir(parents=True)
    (logs / "a.log").write_text("755 images/s, results/csv/a.csv, 2 / 3\n")
    (one,) = deliverables.personal(study_root)
    assert one.status == "ok"
    (logs / "a.log").write_text(text)
    (one,) = deliverables.personal(study_root)
    assert one.status == "wrong" and one.found.startswith("results/logs/a.log: ")


def test_what_is_too_large_is_named(study_root):
    (study_root / "large.bin").write_bytes(b"0" * 2_000_000)
    (one,) = deliverables.budget(study_root, 1)
    assert one.status == "wrong" and one.mend.endswith("large.bin")


def test_exit_status_and_json(study_root, monkeypatch):
    shutil.copytree(REPOSITORY / "docs", study_root / "docs")
    said = CliRunner().invoke(main, ["check", "--json"])
    assert said.exit_code == 1
    assert {"name", "status", "found", "mend"} == set(json.loads(said.output)[0])
    monkeypatch.setattr(
        deliverables, "check", lambda *_: [deliverables.Deliverable("a", "ok", "there")]
    )
    said = CliRunner().invoke(main, ["check"])
    assert (said.exit_code, said.output) == (0, "ok       a  there\n")


def test_a_mistake_in_the_declaration_is_one_line(study_root):
    declare(study_root, figurs=["gantt"])
    with pytest.raises(ScalebookError, match="deliverables.yaml: figurs: unknown key"):
        deliverables.check(study_root)


def test_the_declaration_of_this_study_names_what_there_is():
    wanted = deliverables.load(REPOSITORY)
    assert set(wanted.documents) == {"paper", "proposal", "slides"}
    for name in wanted.files:
        assert (REPOSITORY / name).is_file(), name
    for document in wanted.documents.values():
        said = deliverables._source(REPOSITORY, "it", document)
        assert said.status == "ok", said


@pytest.mark.slow
def test_every_deliverable_of_this_study_is_in_place(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    lacking = [one for one in deliverables.check(REPOSITORY) if one.fails]
    assert not lacking, "\n".join(f"{one.name}: {one.found} -> {one.mend}" for one in lacking)


def test_facts_about_a_machine_of_another_study_are_a_row_and_not_the_end(study_root):
    (study_root / "docs").mkdir(exist_ok=True)
    (study_root / "docs/SYSTEM.md").write_text(
        "# System\n\n<!-- facts: nowhere -->\n\n<!-- end -->\n"
    )
    found = {one.name: one for one in deliverables.check(study_root)}
    row = found["tables of docs/SYSTEM.md"]
    assert row.status == "wrong" and "nowhere" in row.found and "another study" in row.mend
    assert "size of committed files" in found


def test_what_a_link_leads_to_is_not_looked_into(study_root, tmp_path_factory):
    file = tmp_path_factory.mktemp("outside") / "log"
    file.write_text("/home/mine/secret\n")
    (study_root / "results/logs").mkdir(parents=True)
    (study_root / "results/logs/a.log").symlink_to(file)
    assert all(one.status == "ok" for one in deliverables.personal(study_root))
    found = {one.name: one.found for one in deliverables.results_complete(study_root)}
    assert "results/logs/a.log: leads out" in found["results are read without an error"]


def test_what_only_the_owner_knows_is_asked_for_and_fails_nothing(study_root):
    declare(study_root, documents={"paper": {"source": "a.md", "pdf": "a.pdf", "pages": [1, 2]}})
    path = study_root / "CITATION.cff"
    entry = '  - {name: "IE University"}'
    text = "cff-version: 1.2.0\npreferred-citation:\n  authors:\n"
    path.write_text(f"{text}  {entry}\n")
    one = rows(study_root)["authors of the documents"]
    assert one.status == "to fill" and "names of the authors" in one.found
    assert not one.fails
    person = "{given-names: Ada, family-names: B, affiliation: IE University, email: a@b.c}"
    path.write_text(f"{text}    - {person}\n")
    found = rows(study_root)
    one = found["authors of the documents"]
    assert (one.status, one.found) == ("ok", "Ada B, IE University")
    one = found["address of the repository"]
    assert one.status == "to fill" and "repository-code" in one.found
    path.write_text(f"{path.read_text()}repository-code: https://example.org\n")
    assert rows(study_root)["address of the repository"].status == "ok"
    shutil.copy(REPOSITORY / "data/plan.yaml", study_root / "data/plan.yaml")
    one = rows(study_root)["applicant of the proposal"]
    assert one.status == "to fill" and one.found.startswith("Principal investigator")
    assert not one.fails
