"""What stands behind the numbers of the book: each number's pages, the runs, what is drawn."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from sphinx.environment import BuildEnvironment

from scalebook import results
from scalebook.contract import EVIDENCE, RunFiles, ScalebookError, Stem
from scalebook.publish import downloads, pages, values
from scalebook.values import SHORT, Value

#: Kinds of inputs that `drawn` lists, in the words of the page.
DRAWN = {"figure": "figure", "table": "table", "text": "sentence"}


@dataclass
class Entry:
    """One number of the book, the texts it is shown as, and the pages that show it."""

    value: Value
    texts: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


class Run(NamedTuple):
    """One run behind the numbers, and its files relative to the study's root."""

    stem: str
    experiment: str
    system: str
    ranks: int
    seed: str
    files: tuple[str, ...]


class Drawn(NamedTuple):
    """A figure, table or sentence of the study, with its digest and the pages that show it."""

    kind: str
    name: str
    digest: str
    pages: list[str]


def entries(env: BuildEnvironment) -> list[Entry]:
    """Every number that a page shows, by kind and key."""
    found: dict[str, Entry] = {}
    for docname, page in _pages_of_the_book(env):
        for key, (value, texts) in page.numbers.items():
            entry = found.setdefault(key, Entry(value))
            entry.texts += [text for text in texts if text not in entry.texts]
            entry.pages.append(docname)
    return sorted(
        found.values(), key=lambda number: (values.KINDS.index(number.value.kind), number.value.key)
    )


def _pages_of_the_book(env: BuildEnvironment) -> Iterator[tuple[str, pages.Page]]:
    """Each page that was read, as ``_toc.yml`` has them; others after those."""
    # A page that is read again is the last that was read, which is not its place in the book.
    read = pages.all_pages(env)
    for docname in dict.fromkeys([*pages.in_order(env), *sorted(read)]):
        if docname in read:
            yield docname, read[docname]


def runs(env: BuildEnvironment, shown: Iterable[Entry]) -> list[Run]:
    """The runs behind measured numbers; reported jobs, which left no files, are not among them."""
    root = Path(env.srcdir)
    stems = dict.fromkeys(stem for entry in shown for stem in entry.value.runs)
    catalogue = {run["stem"]: run for run in results.runs().to_dict("records")}
    found = []
    for stem in stems:
        if files := tuple(files_of(root, stem)):
            parsed, row = Stem.parse(stem), catalogue.get(stem, {})
            experiment = _text(row.get("experiment", parsed.experiment))
            system, seed = _text(row.get("system")), _text(row.get("seed"))
            found.append(Run(stem, experiment, system, parsed.world_size, seed, files))
    return sorted(found, key=lambda run: (run.system, run.stem))


def files_of(root: Path, stem: str) -> Iterator[str]:
    """Files of a run that are there, relative to the study's root."""
    try:
        ranks = Stem.parse(stem).world_size
    except ScalebookError:
        return
    run = RunFiles(root / EVIDENCE, stem)
    paths = [
        run.csv, run.steps, run.manifest, run.log, run.sacct,
        run.allreduce, run.allreduce.with_suffix(".json"),
        *(run.trace(rank) for rank in range(ranks)),
    ]  # fmt: skip
    for path in paths:
        name = path.relative_to(root).as_posix()
        if downloads.may_offer(root, name):
            yield name


def file_kind(name: str) -> str:
    """What a file of a run is, in a word."""
    folder = name.split("/")[1]
    words = {"csv": "epochs", "steps": "steps", "manifests": "manifest", "profiling": "trace"}
    if name.endswith(".sacct.csv"):
        return "accounting"
    if folder == "allreduce":
        return "curve" if name.endswith(".csv") else "manifest"
    return words.get(folder, "log")


def _text(value: Any) -> str:  # whatever a DataFrame holds
    return "" if value is None or pd.isna(value) else str(value)


def drawn(env: BuildEnvironment) -> list[Drawn]:
    """Every figure, table and sentence."""
    found: dict[tuple[str, str], Drawn] = {}
    for docname, page in _pages_of_the_book(env):
        for (kind, name), digest in page.inputs.items():
            if kind in DRAWN:
                new = Drawn(DRAWN[kind], name, digest[:SHORT], [])
                found.setdefault((kind, name), new).pages.append(docname)
    kinds = list(DRAWN)
    return [found[pair] for pair in sorted(found, key=lambda pair: (kinds.index(pair[0]), pair[1]))]
