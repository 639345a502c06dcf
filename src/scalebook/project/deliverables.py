"""``scalebook check``: everything the study hands over, and whether it is there and current.

`data/deliverables.yaml` lists what that is, so that another study names its own.
"""

import gzip
import re
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from scalebook import results, study
from scalebook.analysis.tables import steps_that_disagree
from scalebook.contract import (
    EVIDENCE,
    RunFiles,
    ScalebookError,
    attempts_of,
    leads_out,
    read_json,
)
from scalebook.figures import build, plot_files, plots, rendering, theme
from scalebook.project import pdf_facts, specification, typed
from scalebook.study import citation
from scalebook.study.document import read
from scalebook.study.plan import FILE as PLAN
from scalebook.values import ledger_digest

FILE = "data/deliverables.yaml"

OK, MISSING, STALE, WRONG = "ok", "missing", "stale", "wrong"
#: For the owner to fill in: nobody else knows it, and nothing fails by it.
FILL = "to fill"


class Deliverable(NamedTuple):
    """What it is, its status, what was found, what to do about it."""

    name: str
    status: str
    found: str
    mend: str = ""

    @property
    def fails(self) -> bool:
        """Whether it is missing, stale or wrong."""
        return self.status not in (OK, FILL)


def about(name: str, lacking: list[str], found: str, mend: str, status: str) -> Deliverable:
    """One row about many things: fine, or the first of those that are not."""
    if not lacking:
        return Deliverable(name, OK, found)
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return Deliverable(name, status, f"{lacking[0]}{more}", mend)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(_Strict):
    """A document: its source, its PDF, and what both must have."""

    source: str
    pdf: str
    pages: tuple[int, int]
    without_references: bool = False
    sections: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    slides: int | None = None


class Wanted(_Strict):
    """What a study has to hand over."""

    documents: dict[str, Document] = Field(default_factory=dict)
    figures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    budget_mib: float = 30


def load(root: Path) -> Wanted:
    """Read what a study has to hand over; nothing where it does not say."""
    return read(Wanted, root, FILE) if (root / FILE).is_file() else Wanted()


def check(root: Path, say: Callable[[str], object] = str) -> list[Deliverable]:
    """Look at every deliverable of the study around here.

    Parameters
    ----------
    root : Path
        Folder of the study.
    say : callable
        Takes what is looked at next, in a few words.

    Returns
    -------
    list of Deliverable
        In the order in which one would mend them.

    Raises
    ------
    ScalebookError
        If `data/deliverables.yaml` is wrong.
    """
    wanted = load(root)
    found: list[Deliverable] = []
    for what, look in (
        ("files", _files(root, wanted)),
        ("authors", _authors(root, wanted)),
        ("results", results_complete(root)),
        ("personal paths in results", personal(root)),
        ("figures", _figures(wanted)),
        (specification.FILE, _specification(root)),
        ("numbers typed by hand", _typed(root)),
        ("documents", _documents(root, wanted)),
        ("size of committed files", budget(root, wanted.budget_mib)),
    ):
        say(f"looking at {what}")
        with results.one_snapshot():
            found += look
    return found


# --------------------------------------------------------------------------- files


def _files(root: Path, wanted: Wanted) -> Iterator[Deliverable]:
    for name in wanted.files:
        path = root / name
        there = path.is_file() and path.stat().st_size > 0
        lacking = [] if there else ["not there, or empty"]
        yield about(name, lacking, "there", f"write it, or take it from {FILE}", MISSING)


def _authors(root: Path, wanted: Wanted) -> Iterator[Deliverable]:
    if wanted.documents:
        written = citation.authors(root)
        found = citation.line(written)
        yield about("authors of the documents", citation.to_fill(written), found,
                     f"for the owner to fill: {citation.FILE}", FILL)  # fmt: skip
        address = citation.repository(root)
        lacking = [] if address else ["repository-code: address of the repository"]
        yield about("address of the repository", lacking, address,
                     f"for the owner to fill: {citation.FILE}", FILL)  # fmt: skip
    plan = study.load().plan
    if plan and plan.applicant:
        lacking = [field for field, answer in plan.applicant.items() if not answer]
        yield about("applicant of the proposal", lacking, f"{len(plan.applicant)} answers",
                     f"for the owner to fill: {PLAN}", FILL)  # fmt: skip


# --------------------------------------------------------------------------- what is made of them


def _figures(wanted: Wanted) -> Iterator[Deliverable]:
    out, stale = plot_files.folder(), plot_files.stale()
    mend = "scalebook figures"
    for name in wanted.figures:
        title = f"plot {name}"
        gone = [s for s in plot_files.SUFFIXES if not (out / f"{name}{s}").is_file()]
        if name not in plots():
            yield Deliverable(title, WRONG, "no figure is called so", f"correct {FILE}")
        elif gone and theme.is_provisional(drawn := build(name)):
            yield Deliverable(title, MISSING, "nothing to draw yet", drawn.layout.meta["caption"])
        elif gone:
            yield Deliverable(title, MISSING, f"no {', '.join(gone)}", mend)
        elif name in stale:
            yield Deliverable(title, STALE, "shows other numbers than the results", mend)
        else:
            with Image.open(out / f"{name}.png") as picture:
                dpi = round(picture.info.get("dpi", (0, 0))[0])
            fine = dpi == rendering.DPI
            found = f"PNG at {dpi} dpi, and SVG"
            yield Deliverable(title, OK if fine else WRONG, found, "" if fine else mend)
    others = [name for name in stale if name not in wanted.figures]
    yield about("other plots", others, "current", mend, STALE)


def _specification(root: Path) -> Iterator[Deliverable]:
    path = root / specification.FILE
    if not path.is_file():  # whether it must be there is declared
        return
    page = path.read_text(encoding="utf-8")
    try:
        stale = specification.refreshed(page, root) != page
    except ScalebookError as error:
        mend = "correct it, or take it away where it tells of another study"
        yield Deliverable(f"tables of {specification.FILE}", WRONG, str(error), mend)
        return
    lacking = ["they say something else than the facts and runs"] if stale else []
    yield about(
        f"tables of {specification.FILE}", lacking, "current", "scalebook specification", STALE
    )


def _typed(root: Path) -> Iterator[Deliverable]:
    found = [str(number) for number in typed.typed_numbers(root)]
    mend = f"ask for it by key, or name it with its reason in {typed.ALLOWED}"
    yield about("no number typed by hand", found, "every number has its key", mend, WRONG)


def _documents(root: Path, wanted: Wanted) -> Iterator[Deliverable]:
    digest = ledger_digest() if wanted.documents else ""
    for name, document in wanted.documents.items():
        yield _source(root, name, document)
        yield _pdf(root, name, document, digest)


def _source(root: Path, name: str, document: Document) -> Deliverable:
    """Sections and figures that a document's source must have."""
    title = f"{name}: text"
    path = root / document.source
    if not path.is_file():
        return Deliverable(title, MISSING, f"no {document.source}", "write it")
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#{1,4}\s+(.+)$|^:{3,}\s*\{container\}\s*(\w+)", text, re.M)
    titles = [f"{heading}{container}".casefold() for heading, container in headings]
    lacking = [
        s for s in document.sections if not any(s.casefold() in heading for heading in titles)
    ]
    lacking += [
        f"figure {figure}"
        for figure in document.shows
        if not re.search(rf"\{{study-figure\}}\s+{re.escape(figure)}\b", text)
    ]
    count = len(re.findall(r"^##\s", text, re.M))
    if document.slides is not None and count != document.slides:
        lacking.append(f"{document.slides} slides, there are {count}")
    parts = [f"{count} slides"] if document.slides is not None else []
    parts += [f"{len(document.sections)} sections"] if document.sections else []
    found = ", ".join([*parts, f"{len(document.shows)} figures"])
    return about(title, lacking, found, f"write it in {document.source}", MISSING)


def _pdf(root: Path, name: str, document: Document, digest: str) -> Deliverable:
    """A document's PDF: pages, fonts, and whether its numbers are those of now."""
    path = root / document.pdf
    if not path.is_file():
        return Deliverable(document.pdf, MISSING, "not there", "scalebook pdf")
    try:
        facts = pdf_facts.read(path)
    except ScalebookError as error:
        return Deliverable(document.pdf, WRONG, str(error), "scalebook pdf")
    least, most = document.pages
    pages = facts.before_references if document.without_references else facts.pages
    count = f"{pages} pages" + (" without references" if document.without_references else "")
    if not least <= pages <= most:
        limit = f"{least}" if least == most else f"{least} to {most}"
        return Deliverable(document.pdf, WRONG, f"{count}, not {limit}", f"edit {document.source}")
    if facts.loose_fonts:
        fonts = ", ".join(facts.loose_fonts[:3])
        return Deliverable(document.pdf, WRONG, f"fonts not embedded: {fonts}", "scalebook pdf")
    if facts.digest != digest:
        found = "does not say from which numbers it was made"
        if facts.digest:
            found = f"made from ledger {facts.digest[:12]}, now {digest[:12]}"
        return Deliverable(document.pdf, STALE, found, "scalebook pdf")
    return Deliverable(document.pdf, OK, f"{count}, fonts embedded, numbers current")


# --------------------------------------------------------------------------- what is committed

_SUFFIXES = (".csv", ".json", ".log", ".gz", ".svg")
#: Absolute paths in a person's folders, and mail addresses or logins.
_PERSONAL = re.compile(
    rb"(?<![\w./-])/(?:home|Users|root|scratch|project|work)/[\w.@-]+"
    rb"|\b[a-z_][\w.-]*@[\w-]+(?:\.[\w-]+)+"
)
#: Folders that are never committed, for a study that is no git checkout.
_IGNORED = {".git", ".venv", "_build", ".scalebook", "checkpoints", "cache", "local", "__pycache__",
            "cifar-10-batches-py", "cifar10-images"}  # fmt: skip
_MIB = 1 << 20


def results_complete(root: Path) -> Iterator[Deliverable]:
    """Runs behind the documents, and Slurm's accounting of those that Slurm ran."""
    runs = results.runs(evidence=True)
    stems = list(runs.loc[runs["kind"] == "measured", "stem"])
    by_slurm = results.of_each(_ran_by_slurm, stems, "manifest")
    uncounted = [
        stem
        for stem in stems
        if by_slurm.get(stem) and not RunFiles(root / EVIDENCE, stem).sacct.is_file()
    ]
    yield about("runs behind the documents", [] if stems else ["none"], f"{len(stems)} runs",
                 "scalebook run --all", MISSING)  # fmt: skip
    yield about("Slurm's accounting of each run", uncounted, "beside every run that Slurm ran",
                 "scalebook collect, on the cluster", MISSING)  # fmt: skip
    unlike = [f"{stem}: {problem}" for stem, problem in steps_that_disagree(stems).items()]
    yield about("steps add up to their epochs", unlike, "in every run", "run it again", WRONG)
    problems = results.problems()
    errors = problems[problems["severity"] == "error"]
    wrong = [f"{problem.file}: {problem.problem}" for problem in errors.itertuples()]
    yield about("results are read without an error", wrong, "all", "mend or remove it", WRONG)


def _ran_by_slurm(now: results.Snapshot, run: RunFiles) -> bool:
    try:
        attempts = attempts_of(read_json(now.root / run.manifest))
    except ScalebookError:  # which `results.problems` tells
        return False
    return any((attempt.get("scheduler") or {}).get("name") == "slurm" for attempt in attempts)


def personal(root: Path) -> Iterator[Deliverable]:
    """Folders, logins and addresses of persons in what is committed of the results."""
    found = []
    for name in listed(root, "results"):
        if name.endswith(_SUFFIXES):
            match = _PERSONAL.search(_content(root / name))
            if match:
                found.append(f"{name}: {match[0].decode('utf-8', 'replace')[:60]}")
    yield about("no personal paths in results", found, "none",
                 "replace it in the file, and run with a current scalebook", WRONG)  # fmt: skip


def _content(path: Path) -> bytes:
    """A file's content, unpacked; empty where it cannot be read, which `results_complete` tells."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error):
        return b""


def budget(root: Path, most_mib: float) -> Iterator[Deliverable]:
    """Size of all that is committed."""
    sizes = {name: (root / name).stat().st_size for name in listed(root)}
    size = sum(sizes.values()) / _MIB
    largest = max(sizes, key=sizes.__getitem__, default="")
    found = f"{size:.1f} of {most_mib:g} MiB"
    over = [found] if size > most_mib else []
    mend = f"take something out, such as {largest}"
    yield about("size of committed files", over, found, mend, WRONG)


def listed(root: Path, folder: str = ".") -> list[str]:
    """Files that are committed, or would be; where git is not there, all but what is never."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", folder]
    try:
        listing = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
        names = listing.stdout.decode("utf-8", "surrogateescape").split("\0")
    except (OSError, subprocess.SubprocessError):
        names = [
            path.relative_to(root).as_posix()
            for path in (root / folder).rglob("*")
            if not _IGNORED & set(path.relative_to(root).parts)
        ]
    return [
        name for name in names if name and (root / name).is_file() and not leads_out(root, name)
    ]
