"""Bring results from a study on another machine: rsync over ssh, checked, nothing lost.

What is there is mirrored into a folder of its own and moved into ``results/`` run by run, the
manifest last, once it is whole. A file that is here already is never overwritten unless the one
that comes continues it; nothing is ever deleted, here or there.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalebook import contract
from scalebook.contract import RunFiles, ScalebookError
from scalebook.launch import rsync
from scalebook.launch.checking import check_file, check_run, run_of
from scalebook.train import locking


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
    remote = rsync.Source.parse(source)
    if shutil.which("rsync") is None or shutil.which("ssh") is None:
        raise ScalebookError("fetch: rsync and ssh are needed here and there: install both")
    results = root / "results"
    results.mkdir(exist_ok=True)
    stage = root / ".scalebook" / "fetch" / hashlib.sha256(str(remote).encode()).hexdigest()[:8]
    stage.mkdir(parents=True, exist_ok=True)
    with (
        locking.alone(stage.with_suffix(".lock"), "fetching results"),
        rsync.connection(remote.host, ssh_options) as ssh,
    ):
        command = rsync.command(remote, ssh, results, stage, trials)
        rsync.call(command, remote, show=True)
        changing, links = rsync.compare(command, remote)
        fetched = Arrival(root, stage, changing).take(trials)
        fetched.left |= {f"results/{name}": "a link there: it is not followed" for name in links}
        return fetched


# --------------------------------------------------------------------------- taking


class _Left(Exception):
    """A run is not taken: which of its files is why, and what is the matter with it."""


class Arrival:
    """What lies in the stage: checked, and moved into ``results/`` run by run."""

    def __init__(self, root: Path, stage: Path, changing: set[str]) -> None:
        self._root, self._stage, self._changing = root, stage, changing
        self._results = root / "results"
        self._fetched = Fetched()

    def take(self, trials: bool) -> Fetched:
        """Move what is whole into its place, with `trials` what lies in ``local`` too."""
        runs: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self._stage.rglob("*")):
            name = path.relative_to(self._stage).as_posix()
            if not path.is_file() or path.is_symlink() or "/.partial/" in f"/{name}":
                continue
            folder = "local/" if name.startswith("local/") else ""
            if folder and not trials:  # of an earlier call
                continue
            stem = run_of(name.removeprefix(folder))
            if stem is None:
                self._fetched.left[f"results/{name}"] = "its name is not that of a file of a run"
            else:
                runs.setdefault((folder, stem), []).append(name)
        for (folder, stem), names in runs.items():
            try:
                self._take_run(folder, stem, names)
            except _Left as left:
                name, why = left.args
                self._fetched.left[f"results/{name}"] = why
        return self._fetched

    def _take_run(self, folder: str, stem: str, names: list[str]) -> None:
        """Take all files of one run that are not here yet, or none."""
        for name in names:
            if contract.leads_out(self._root, f"results/{name}"):
                raise _Left(name, f"here it {contract.LEADS_OUT}")
        wanted = [name for name in names if not self._is_here(name)]
        if not wanted:
            return
        manifest = f"{folder}manifests/{stem}.json"
        document = _document(self._stage / manifest)
        if document is not None:
            self._check(manifest)
        last = (contract.attempts_of(document) or [{}])[-1] if document else {"ended": "unknown"}
        if not last.get("ended") or self._changing & set(names):
            self._fetched.running.append(stem)
            return
        for name in names:
            self._check(name, foreign=document is None)
        if last["ended"] == "completed":
            try:
                check_run(RunFiles(self._stage / folder, stem), f"results/{folder}".rstrip("/"))
            except ScalebookError as error:
                raise _Left(manifest, f"the run is not whole: {error}") from None
        later = _continues(_document(self._results / manifest), document)
        for name in wanted:
            if not (later or self._goes_on(name)):
                theirs = (self._stage / name).relative_to(self._root).as_posix()
                raise _Left(name, f"differs from the one here, which stays; theirs: {theirs}")
        # Whoever reads meanwhile takes a run without its manifest for none.
        for name in sorted(wanted, key=lambda name: (name.endswith(".json"), name)):
            updated = (self._results / name).exists()
            _move(self._stage / name, self._results / name)
            (self._fetched.updated if updated else self._fetched.new).append(f"results/{name}")
        self._fetched.runs.append(stem)

    def _is_here(self, name: str) -> bool:
        here, there = self._results / name, self._stage / name
        return here.exists() and (here.samefile(there) or filecmp.cmp(here, there, shallow=False))

    def _check(self, name: str, foreign: bool = False) -> None:
        """Refuse a file that cannot be read to its end."""
        try:
            check_file(self._stage / name, f"results/{name}", foreign)
        except ScalebookError as error:
            why = str(error).removeprefix(f"results/{name}").lstrip(": ,")
            raise _Left(name, why) from None

    def _goes_on(self, name: str) -> bool:
        """Whether the file that came continues the one here: rows and lines are only appended."""
        here, there = self._results / name, self._stage / name
        if not here.exists():
            return True
        return not name.endswith(".json") and there.read_bytes().startswith(here.read_bytes())


def _document(manifest: Path) -> dict[str, Any] | None:
    try:
        return contract.read_json(manifest)
    except ScalebookError:
        return None


def _continues(here: dict[str, Any] | None, there: dict[str, Any] | None) -> bool:
    """Whether the run that comes is a later state of the one here."""
    if not here or not there or not here.get("run_uuid"):
        return False
    if here["run_uuid"] != there.get("run_uuid"):
        return False
    before, after = contract.attempts_of(here), contract.attempts_of(there)
    if before and before[-1].get("ended") == "completed":
        return False
    closed = [attempt for attempt in before if attempt.get("ended")]
    return after[: len(closed)] == closed and len(after) >= len(before)


def _move(source: Path, target: Path) -> None:
    """Put a file in its place whole, also across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError:
        contract.write_whole(target, source.read_bytes())
        source.unlink()


def _of(name: str, stem: str) -> bool:
    """Whether a file, relative to the study's root, is one of the run."""
    return run_of(name.removeprefix("results/").removeprefix("local/")) == stem


def as_text(fetched: Fetched) -> str:
    """What came, for a person: one line for each run, and one for each file that was left."""
    lines = []
    for stem in fetched.runs:
        counts = [
            f"{count} {what}"
            for what, names in (("new", fetched.new), ("updated", fetched.updated))
            if (count := sum(_of(name, stem) for name in names))
        ]
        lines.append(f"{stem}: {', '.join(counts)} files")
    lines += [f"{stem}: still running there; fetch it again later" for stem in fetched.running]
    lines += [f"left: {file}: {why}" for file, why in fetched.left.items()]
    return "\n".join(lines or ["nothing new"])
