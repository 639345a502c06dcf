"""Runs for a machine without this package: written to one file, and their results taken in.

`scalebook.train.tools.campaign` runs them there. What comes back is read as if an enemy had made
it: nothing is written but files of runs, below ``results/``, and none is overwritten.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from scalebook import contract, study
from scalebook.contract import RunFiles, ScalebookError, Stem, UsageError
from scalebook.launch.campaign import Planned, as_text
from scalebook.launch.checking import run_of
from scalebook.launch.fetch import Arrival, Fetched
from scalebook.results import files, manifests, scan
from scalebook.train import locking
from scalebook.train.tools.campaign import LIMIT, SCHEMA

#: Most bytes of what an archive holds, and most members.
_UNPACKED_LIMIT, _MEMBERS_LIMIT = 8 * LIMIT, 10_000


def pack(planned: Sequence[Planned], root: Path, path: Path) -> None:
    """Write the runs that are to be run to a file, in their order.

    Raises
    ------
    ScalebookError
        If there is none, or one has several ranks.
    """
    # With torch, which takes seconds to import.
    from scalebook.train import machine

    todo = [run for run in planned if run.state == "to run"]
    if not todo:
        raise ScalebookError("run --pack: nothing is left to run")
    for run in todo:
        if (ranks := run.resolved["layout"]["world_size"]) > 1:
            raise UsageError(f"run --pack: {run}: has {ranks} ranks; packed runs have one each")
    job = contract.new_job_id()
    runs = [
        {"job": f"{job}-{number}", "label": _label(run), "resolved": run.resolved}
        for number, run in enumerate(todo, 1)
    ]
    contract.write_json(path, {"schema": SCHEMA, "code": machine.code_version(root), "runs": runs})


def _label(planned: Planned) -> str:
    return ", ".join(filter(None, (str(planned), as_text(planned.resolved["overrides"]))))


def collect(archive: Path, root: Path) -> Fetched:
    """Take in the runs of an archive.

    What the study's rules of evidence admit goes to ``results/``, the rest to ``results/local/``;
    a run that is here already stays where it is.

    Raises
    ------
    ScalebookError
        If the archive cannot be read to its end.
    """
    data = files.read_bytes(archive, archive.name, LIMIT)
    (root / "results").mkdir(exist_ok=True)
    stage = root / ".scalebook" / "fetch" / hashlib.sha256(data).hexdigest()[:8]
    with locking.alone(stage.with_suffix(".lock"), "taking in an archive"):
        shutil.rmtree(stage, ignore_errors=True)
        left = _unpack(files.gunzip(data, archive.name, _UNPACKED_LIMIT), archive.name, stage)
        left |= _sort(stage, root)
        fetched = Arrival(root, stage, set()).take(trials=True)
        if not fetched.left:
            shutil.rmtree(stage)
    fetched.left |= left
    return fetched


def _unpack(data: bytes, where: str, stage: Path) -> dict[str, str]:
    """Write the members that are files of runs below `stage`; the others, and why they are none."""
    left = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as members:
            for number, member in enumerate(members, 1):
                if number > _MEMBERS_LIMIT:
                    raise ScalebookError(f"{where}: holds more than {_MEMBERS_LIMIT} files")
                if not member.isreg() or member.issparse():
                    left[member.name] = "it is no plain file"
                elif run_of(member.name) is None:
                    left[member.name] = "its name is not that of a file of a run"
                elif (stage / member.name).exists():
                    left[member.name] = "it is there twice: the first one counts"
                else:
                    content = members.extractfile(member)
                    assert content is not None
                    contract.write_whole(stage / member.name, content.read())
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise ScalebookError(f"{where}: is no archive of runs, or cut ({error})") from None
    return left


def _sort(stage: Path, root: Path) -> dict[str, str]:
    """Move trials into ``local``, and take away what belongs to no run that has a manifest."""
    folders: dict[str, str] = {}
    for path in (stage / "manifests").glob("*.json"):
        folders[path.stem] = _folder(path, root)
        job = f"gpu_util_{Stem.parse(path.stem).job_id}"
        folders[job] = folders[path.stem]
    left = {}
    for path in sorted(stage.glob("*/*")):
        name = path.relative_to(stage).as_posix()
        folder = folders.get(str(run_of(name)))
        if folder is None:
            left[name] = "the archive holds no manifest of its run"
            path.unlink()
        elif folder:
            (stage / folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.rename(stage / folder / name)
    return left


def _folder(manifest: Path, root: Path) -> str:
    """``local`` for a trial, nothing for a run that may become evidence."""
    if known := contract.locate(root, manifest.stem):
        return "" if known == RunFiles(root / contract.EVIDENCE, manifest.stem) else "local"
    try:
        row = manifests.row(manifests.read(manifest, manifest.name)[0])
    except ScalebookError:  # who takes it in says what is wrong with it
        return "local"
    return "" if scan.admitted(study.load(root), row) else "local"
