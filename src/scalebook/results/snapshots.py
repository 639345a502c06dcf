"""Which files a study has at one moment, and what was made of them.

Whoever asks for results takes a snapshot: names, sizes and times of the files. As long as none of
them changes it is the same object, and what was made of it is kept with it. What is kept, and until
what changes:

======================  =========  =====================================  ========================
what                    where      of                                     until a change of
======================  =========  =====================================  ========================
`files.read_cached`     in memory  one file, as a loader reads it         that file
`Snapshot.once`         in memory  the whole study                        any file of the study
`remembered`            in memory  the same, of a function without        the same
                                   a snapshot
`Snapshot.of_each`      on disk    one run                                its files, this package
`answer`                on disk    the whole study, by name               any file of either
======================  =========  =====================================  ========================

What depends on no file of a study, as a text that is read, is kept by `functools` where it is made.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from scalebook import contract, study
from scalebook.contract import EVIDENCE, LEADS_OUT, TRIALS, RunFiles, leads_out
from scalebook.results import files
from scalebook.results.kept import Kept, code

Value = TypeVar("Value")

#: Longest that two changes of a file can share one time, with room.
_SETTLED_NS = 2_000_000_000

#: Folders whose files numbers come from; folders within them do not count.
FOLDERS = (
    "data", "data/reported", "data/systems", "data/cited", "data/examples", "book",
    *(f"{results}/{kind}" for results in (EVIDENCE, TRIALS)
      for kind in ("csv", "steps", "manifests", "logs", "allreduce", "profiling")),
)  # fmt: skip


#: Programs of a study that write sentences, in folders too.
SENTENCES = "book/sentences"


@dataclass(frozen=True)
class Snapshot:
    """A study and the files it has.

    Attributes
    ----------
    root : Path
        Folder of the study.
    study : Study
        What it declares.
    listing : dict
        Names of the files of each of `FOLDERS`, sorted, with their stamps.
    declared : dict
        Stamps of the files that declare the rest, by place: ``study.yaml``, facts that lie
        elsewhere and the study's own sentences.
    taken_ns : int
        When that was, in ns since 1970.
    """

    root: Path
    study: study.Study
    listing: dict[str, dict[str, files.Stamp]]
    declared: dict[str, files.Stamp]
    taken_ns: int = field(compare=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    def names(self, folder: str, *endings: str) -> list[str]:
        """Names in one of `FOLDERS`, those with one of these endings."""
        return [name for name in self.listing[folder] if name.endswith(endings or "")]

    def holds(self, path: Path) -> bool:
        """Whether a file of one of `FOLDERS` is there; `path` is relative to the root."""
        return path.name in self.listing[path.parent.as_posix()]

    def read(self, load: Callable[..., Value], path: Path, *args: Hashable) -> Value:
        """``load(file, name, *args)``, read again only when the file has changed."""
        return files.read_cached(self.root / path, load, path.as_posix(), *args)

    def of_each(
        self, make: Callable[[Snapshot, RunFiles], Any], runs: Collection[RunFiles], *kinds: str
    ) -> dict[str, Any]:
        """What `make` gives for each run, made again only where one of its files has changed.

        Parameters
        ----------
        make : callable
            Takes this snapshot and the files of a run; gives what JSON can hold. It is kept on disk
            for other processes too.
        runs : collection of RunFiles
            Relative to the root.
        *kinds : str
            Files that it is made from, as `RunFiles` names them.

        Returns
        -------
        dict
            By stem, without runs that vanished meanwhile.
        """
        kept = Kept(self.root, f"{make.__module__}.{make.__name__}", code())
        found, changed = {}, []
        for run in runs:
            stamps = [self._stamp(getattr(run, kind)) for kind in kinds]
            before = kept.get(_name(run))
            if before is not None and before[0] == stamps:
                found[run.stem] = before[1]
            else:
                changed.append((run, stamps))
        # A bar in a terminal, where it takes more than a second; even one that is not shown
        # starts a thread, and on a Mac a process.
        reading = changed and tqdm(
            changed, "reading results", unit=" runs", leave=False, disable=None, delay=1
        )
        for run, stamps in reading:
            with contextlib.suppress(FileNotFoundError):
                found[run.stem] = made = make(self, run)
                if self._settled(filter(None, stamps)):
                    kept.put(_name(run), [stamps, made])
        kept.save(self._holds_run)
        return {run.stem: found[run.stem] for run in runs if run.stem in found}

    def _stamp(self, path: Path) -> list[int] | None:
        stamp = self.listing[path.parent.as_posix()].get(path.name)
        return None if stamp is None else list(stamp)

    def _settled(self, stamps: Iterable[Sequence[int]]) -> bool:
        """Whether these files are old enough that another change would show in their times."""
        return max((stamp[2] for stamp in stamps), default=0) < self.taken_ns - _SETTLED_NS

    def _holds_run(self, name: str) -> bool:
        run = RunFiles(Path(name).parent, Path(name).name)
        return self.holds(run.manifest) or self.holds(run.csv)

    def once(self, make: Callable[[Snapshot], Value]) -> Value:
        """``make(self)``, made once; what it gives is shared: do not alter it."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Value = self._made[make]
        return made


def _name(run: RunFiles) -> str:
    return f"{run.results.as_posix()}/{run.stem}"


_held: ContextVar[Snapshot | None] = ContextVar("snapshot", default=None)
_last: Snapshot | None = None


def snapshot() -> Snapshot:
    """The study's files now; the same object as long as none of them has changed."""
    global _last
    root = contract.find_root()
    held = _held.get()
    if held is not None and held.root == root:
        return held
    # Before anything is read: what changes meanwhile is then seen by the next look.
    now_ns = time.time_ns()
    listing = {folder: _listing(root, folder) for folder in FOLDERS}
    sentences = (Path(at, name) for at, _, names in os.walk(root / SENTENCES) for name in names)
    declared = _stamps(root / "study.yaml", *(path for path in sentences if path.suffix == ".py"))
    loaded = study.load(root)
    declared |= _stamps(
        *(root / system.facts for system in loaded.systems.values() if system.facts)
    )
    now = Snapshot(root, loaded, listing, declared, now_ns)
    if _last is not None and _last.study is now.study and _last == now:
        return _last
    _last = now
    return now


def _stamps(*paths: Path) -> dict[str, files.Stamp]:
    """Stamps of the files that are there, by place; an editor's lock may be a link to nowhere."""
    found = {}
    for path in sorted(paths):
        with contextlib.suppress(OSError):
            found[str(path)] = files.stamp(path)
    return found


def _listing(root: Path, folder: str) -> dict[str, files.Stamp]:
    stamps = {}
    for entry in _entries(root, folder):
        # A file that vanishes meanwhile was replaced or removed: the next look sees it.
        with contextlib.suppress(OSError):
            if entry.is_file() and not (entry.is_symlink() and leads_out(root, entry.path)):
                stamps[entry.name] = files.stamp(entry)
    return stamps


def _entries(root: Path, folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder of the study itself, by name; hidden files do not count."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not leads_out(root, f"{folder}/file"):
            with os.scandir(root / folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted(shown, key=lambda entry: entry.name)
    return []


def links(snapshot: Snapshot) -> list[files.Problem]:
    """Name the links of data and results that lead out of the study, so that nothing reads them."""
    found = []
    for folder in FOLDERS:
        if leads_out(snapshot.root, f"{folder}/file"):
            found.append(folder)
        elif "/" in folder:  # a set of images in data/ may lie on another disk
            found += [
                f"{folder}/{entry.name}"
                for entry in _entries(snapshot.root, folder)
                if entry.is_symlink() and leads_out(snapshot.root, entry.path)
            ]
    return [files.Problem(name, None, None, LEADS_OUT) for name in found]


@contextlib.contextmanager
def one_snapshot() -> Iterator[Snapshot]:
    """Let all queries within see the files of one moment, listed once."""
    token = _held.set(now := snapshot())
    try:
        yield now
    finally:
        _held.reset(token)
        if _held.get() is None and _answers in now._made:
            now.once(_answers).save()


def answer(name: str, make: Callable[[], Value]) -> Value:
    """``make()``, kept on disk until a file of the study or of this package changes.

    Parameters
    ----------
    name : str
        By which it is kept.
    make : callable
        Works it out from the study's files alone; gives what JSON can hold, and not None.
    """
    with one_snapshot() as now:
        kept = now.once(_answers)
        result = kept.get(name)
        if result is None:
            result = make()
            if now.once(_all_settled):
                kept.put(name, result)
        made: Value = result
        return made


def _all_settled(now: Snapshot) -> bool:
    groups = (*now.listing.values(), now.declared)
    return now._settled(stamp for group in groups for stamp in group.values())


def _answers(now: Snapshot) -> Kept:
    # Not orjson: a name need not be UTF-8.
    state = json.dumps([code(), now.declared, now.listing])
    return Kept(now.root, "answers", hashlib.sha256(state.encode()).hexdigest())


def remembered(function: Callable[[], Value]) -> Callable[[], Value]:
    """Keep what `function` answers until a file of the study changes; do not alter the answer.

    All queries within it see the files of one moment. While queries are logged it is called each
    time, so that every question reaches the log.
    """

    def make(now: Snapshot) -> Value:
        return function()

    @functools.wraps(function)
    def kept() -> Value:
        with one_snapshot() as now:
            return make(now) if os.environ.get("SCALEBOOK_QUERY_LOG") else now.once(make)

    return kept
