"""Bring results from a study on another machine: rsync over ssh, checked, nothing lost.

What comes arrives in a folder of its own and is moved into ``results/`` run by run, the manifest
last, once it is whole. A file that is here already is never overwritten unless the one that
comes continues it; nothing is ever deleted, here or there.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError
from scalebook.launch import rsync
from scalebook.launch.checking import check_file, check_run, named

# A study that trains while it is copied needs another look; one that always changes is left.
_LOOKS = 3


@dataclass
class Fetched:
    """What came.

    Attributes
    ----------
    new, updated : list of str
        Files that are now here, relative to the study's root.
    runs : list of str
        Stems of the runs they belong to.
    running : list of str
        Stems of runs that are still being written there; fetch them again later.
    left : dict of str to str
        Files that were not taken, and why.
    """

    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def fetch(
    source: str, root: Path, ssh_options: Sequence[str] = (), trials: bool = False
) -> Fetched:
    """Bring the results of a study from another machine.

    Parameters
    ----------
    source : str
        ``USER@HOST:DIR``.
    root : Path
        Folder of the study here.
    ssh_options : sequence of str
        Options of ssh, such as ``Port=2222``.
    trials : bool
        Whether ``results/local`` comes too.

    Raises
    ------
    ScalebookError
        If the other machine cannot be reached, or holds no results there.
    """
    found = rsync.Source.parse(source)
    if shutil.which("rsync") is None or shutil.which("ssh") is None:
        raise ScalebookError("fetch: rsync and ssh are needed here and there: install both")
    results = root / "results"
    results.mkdir(exist_ok=True)
    stage = root / ".scalebook" / "fetch" / hashlib.sha256(str(found).encode()).hexdigest()[:8]
    stage.mkdir(parents=True, exist_ok=True)
    with _alone(stage), rsync.connection(found.host, ssh_options) as ssh:
        command = rsync.command(found, ssh, results, stage, trials)
        for _ in range(_LOOKS):
            rsync.call(command, found, show=True)
            changing = rsync.differing(command, found)
            if not changing:
                break
        return _Taking(root, stage, changing).take(trials)


@contextlib.contextmanager
def _alone(stage: Path) -> Iterator[None]:
    with open(f"{stage}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ScalebookError("another fetch from there is at work: wait for it") from None
        yield


# --------------------------------------------------------------------------- taking


class _Taking:
    """Moves what is in the stage into ``results/``, run by run."""

    def __init__(self, root: Path, stage: Path, changing: set[str]) -> None:
        self._root, self._stage, self._changing = root, stage, changing
        self._results = root / "results"
        self._said = Fetched()

    def take(self, trials: bool) -> Fetched:
        groups: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self._stage.rglob("*")):
            relative = path.relative_to(self._stage).as_posix()
            if not path.is_file() or "/.partial/" in f"/{relative}":
                continue
            place = "local/" if relative.startswith("local/") else ""
            if place and not trials:  # of an earlier call
                continue
            name = named(relative.removeprefix(place))
            if name is None:
                self._leave(relative, "its name is not that of a file of a run")
            else:
                groups.setdefault((place, name.stem), []).append(relative)
        for (place, stem), members in groups.items():
            self._take_run(place, stem, members)
        return self._said

    def _leave(self, relative: str, why: str) -> None:
        self._said.left[f"results/{relative}"] = why

    def _take_run(self, place: str, stem: str, members: list[str]) -> None:
        """Take all files of one run, or none."""
        manifest = f"{place}manifests/{stem}.json"
        document = self._document(manifest)
        if document is not None and not (document.get("attempts") or [{}])[-1].get("ended"):
            self._said.running.append(stem)
            return
        changing = [name for name in members if name in self._changing]
        if changing:
            self._said.running.append(stem)
            return
        if not self._sound(place, stem, members, document):
            return
        later = self._continues(manifest)
        for name in members:
            if self._kept_back(name, later):
                self._leave(
                    name,
                    f"differs from the one here, which stays; theirs: "
                    f"{self._shown(self._stage / name)}",
                )
                return
        # Whoever reads meanwhile takes a run without its manifest for none.
        for name in sorted(members, key=lambda name: (name.endswith(".json"), name)):
            there = (self._results / name).exists()
            _move(self._stage / name, self._results / name)
            (self._said.updated if there else self._said.new).append(f"results/{name}")
        self._said.runs.append(stem)

    def _document(self, manifest: str) -> dict | None:
        for folder in (self._stage, self._results):
            with contextlib.suppress(ScalebookError):
                return contract.read_json(folder / manifest)
        return None

    def _sound(self, place: str, stem: str, members: list[str], document: dict | None) -> bool:
        """Whether each file can be read, and a completed run is whole."""
        for name in members:
            try:
                check_file(self._stage / name, f"results/{name}", foreign=document is None)
            except ScalebookError as error:
                self._leave(name, str(error).removeprefix(f"results/{name}").lstrip(": ,"))
                return False
        if document is None or document["attempts"][-1].get("ended") != "completed":
            return True
        try:
            check_run(
                RunFiles(self._results / place, stem), self._root,
                staged=RunFiles(self._stage / place, stem),
            )  # fmt: skip
        except ScalebookError as error:
            self._leave(f"{place}manifests/{stem}.json", f"the run is not whole: {error}")
            return False
        return True

    def _continues(self, manifest: str) -> bool:
        """Whether the run that comes is a later state of the one here."""
        try:
            here = contract.read_json(self._results / manifest)
            there = contract.read_json(self._stage / manifest)
        except ScalebookError:
            return False
        before, after = here.get("attempts") or [], there.get("attempts") or []
        if not here.get("run_uuid") or here["run_uuid"] != there.get("run_uuid"):
            return False
        if before and before[-1].get("ended") == "completed":
            return False
        closed = [attempt for attempt in before if attempt.get("ended")]
        return after[: len(closed)] == closed and len(after) >= len(before)

    def _kept_back(self, name: str, later: bool) -> bool:
        """Whether the file here must not be replaced by the one that came."""
        here, there = self._results / name, self._stage / name
        if later or not here.exists() or filecmp.cmp(here, there, shallow=False):
            return False
        # Rows, steps and log lines are only ever appended.
        return name.endswith(".json") or not _begins_with(there, here)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _begins_with(longer: Path, shorter: Path) -> bool:
    if longer.stat().st_size < shorter.stat().st_size:
        return False
    block = 1 << 20
    with open(longer, "rb") as a, open(shorter, "rb") as b:
        while part := b.read(block):
            if a.read(len(part)) != part:
                return False
    return True


def _move(source: Path, target: Path) -> None:
    """Put a file in its place whole, also across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        try:
            shutil.copy2(source, temporary)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        source.unlink()


def as_text(said: Fetched) -> str:
    """What came, for a person: one line for each run, and one for each file that was left."""
    lines = []
    for stem in said.runs:
        count = {
            what: sum(stem in name for name in names)
            for what, names in (("new", said.new), ("updated", said.updated))
        }
        told = ", ".join(f"{number} {what}" for what, number in count.items() if number)
        lines.append(f"{stem}: {told} files")
    lines += [f"{stem}: still running there; fetch it again later" for stem in said.running]
    lines += [f"left: {file}: {why}" for file, why in said.left.items()]
    return "\n".join(lines or ["nothing new"])
