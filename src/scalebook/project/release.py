"""``scalebook release``: refuse what is not ready, then tag it and pack what belongs to it."""

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import tomllib
import yaml

from scalebook import contract
from scalebook.contract import ScalebookError, UsageError
from scalebook.project import deliverables
from scalebook.publish.build import build_book
from scalebook.study import citation
from scalebook.study.document import validated
from scalebook.values import ledger_digest

#: Folder of the archives, below the study's root.
FOLDER = "_build/release"
_VERSION = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}")


def release(root: Path, version: str, say: Callable[[str], None]) -> Path:
    """Tag a version and pack its archive.

    Nothing is tagged unless every deliverable is in place and the archive is written.

    Parameters
    ----------
    root : Path
        Folder of the study, a git checkout without changes.
    version : str
        As ``1.2.3``; the tag is ``v1.2.3``.
    say : callable
        Told each line worth showing.

    Returns
    -------
    Path
        ``_build/release/<name>-<version>.tar.gz``. The same commit and the same built pages give
        the same bytes.

    Raises
    ------
    ScalebookError
        If something is not ready: one line that says what.
    """
    if not _VERSION.fullmatch(version):
        raise UsageError(f"release: {version!r} is no version: make release VERSION=1.2.3")
    tag = f"v{version}"
    _clean(root)
    if _git(root, "tag", "--list", tag):
        raise ScalebookError(f"release: the tag {tag} is there already; take the next version")
    if not _is_known(root):
        raise ScalebookError(
            "release: git does not know who makes the tag: git config user.name NAME && "
            "git config user.email ADDRESS"
        )
    name, about = _same_version(root, version)
    creators = _creators(about)
    _in_place(root, say)
    shutil.rmtree(root / "_build" / "html", ignore_errors=True)  # no page of an older book
    say(str(build_book(root, say)))
    _clean(root)
    commit, seconds, date = _git(root, "show", "--no-patch", "--format=%H %ct %cs").split()
    files = dict(_files(root))
    files[".zenodo.json"] = _json(_zenodo(about, creators, version, date))
    files["manifest.json"] = _json(_manifest(files, version, tag, commit))
    archive = root / FOLDER / f"{name}-{version}.tar.gz"
    contract.write_whole(archive, pack(files, f"{name}-{version}", int(seconds), _programs(root)))
    try:
        _git(root, "tag", "--annotate", tag, "--message", f"Version {version}")
    except ScalebookError:
        archive.unlink()
        raise
    say(f"tagged {tag}; publish it with: git push origin {tag}")
    return archive


# --------------------------------------------------------------------------- refusing


def _clean(root: Path) -> None:
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ScalebookError(
            f"release: not committed: {changed[0][2:].strip()}{more}; commit first"
        )


def _is_known(root: Path) -> bool:
    """Whether git has a name and an address for whoever makes a tag."""
    try:
        return bool(_git(root, "var", "GIT_COMMITTER_IDENT"))
    except ScalebookError:
        return False


def _same_version(root: Path, version: str) -> tuple[str, dict[str, Any]]:
    """Name of the project and its citation; refuses where a file tells another version."""
    project = (
        tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if (root / "pyproject.toml").is_file()
        else {}
    )
    try:
        about = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8")) or {}
        changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    except OSError as error:
        raise ScalebookError(f"release: {error.filename}: cannot be read") from None
    newest = re.search(r"^## \[?v?([^\s\]]+)", changes, re.M)
    file, declared = "pyproject.toml", project.get("version", version)
    if "version" in project.get("dynamic", []):
        file = f"src/{project['name']}/__init__.py"
        found = re.search(r'^__version__ = "(.+)"', (root / file).read_text(encoding="utf-8"), re.M)
        declared = found[1] if found else "no version"
    told = {
        file: declared,
        "CITATION.cff": about.get("version"),
        "CHANGELOG.md": newest[1] if newest else "no version",
    }
    for file, said in told.items():
        if str(said) != version:
            raise ScalebookError(f"release: {file} says {said}, not {version}: correct it, commit")
    name = project.get("name") or root.resolve().name
    return str(name), {"description": project.get("description", ""), **about}


def _in_place(root: Path, say: Callable[[str], None]) -> None:
    """Refuse where a deliverable is not, and tell which."""
    lacking = [deliverable for deliverable in deliverables.check(root) if deliverable.fails]
    for deliverable in lacking:
        say(f"{deliverable.status}: {deliverable.name}: {deliverable.found} -> {deliverable.mend}")
    if lacking:
        raise ScalebookError(
            f"release: not in place: {len(lacking)} of the deliverables; see above"
        )


# --------------------------------------------------------------------------- packing


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Name in the archive and content of the committed files and the built book."""
    listed = _git(root, "ls-files", "-z").split("\0")
    for name in filter(None, listed):
        if contract.leads_out(root, name):
            raise ScalebookError(f"release: {name}: {contract.LEADS_OUT}")
        yield name, (root / name).read_bytes()
    html = root / "_build" / "html"
    for path in sorted(html.rglob("*")):
        if path.is_file() and path.name != ".buildinfo":
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _programs(root: Path) -> set[str]:
    """Committed files that can be executed."""
    listed = _git(root, "ls-files", "--stage", "-z").split("\0")
    return {line.partition("\t")[2] for line in listed if line.startswith("100755")}


def _manifest(files: dict[str, bytes], version: str, tag: str, commit: str) -> dict[str, Any]:
    return {
        "schema": "scalebook.release/1",
        "version": version,
        "tag": tag,
        "commit": commit,
        "ledger": ledger_digest(),
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in sorted(files.items())
        },
    }


def _creators(about: dict[str, Any]) -> list[str]:
    """Names of the authors as Zenodo has them, the family name first; refuses where one has none.

    A person may have a family name alone, and an institution its name.
    """
    written = about.get("authors") or []
    if not isinstance(written, list):
        raise ScalebookError("release: CITATION.cff: authors: write a list of them")
    authors = [
        validated(citation.Author, author, "release: CITATION.cff", f"authors.{number}.")
        for number, author in enumerate(written)
    ]
    names = [
        author.name or ", ".join(filter(None, (author.family, author.given))) for author in authors
    ]
    if "" in names:
        raise ScalebookError(
            f"release: CITATION.cff: authors.{names.index('')}: give family-names and given-names, "
            "or the name of an institution"
        )
    return names


def _zenodo(about: dict[str, Any], creators: list[str], version: str, date: str) -> dict[str, Any]:
    """Metadata as Zenodo reads it, from the citation alone."""
    return {
        "upload_type": "software",
        "title": about.get("title", ""),
        "description": about.get("abstract") or about.get("description") or about.get("title", ""),
        "creators": [{"name": name} for name in creators],
        "version": version,
        "publication_date": date,
        "access_right": "open",
        "license": str(about.get("license", "")).lower(),
        "language": "eng",
    }


def pack(
    files: dict[str, bytes], folder: str, seconds: int, programs: Collection[str] = ()
) -> bytes:
    """Gzipped tar of files below `folder`; the same input gives the same bytes.

    Parameters
    ----------
    files : dict of str to bytes
        Content by name.
    folder : str
        Put before each name.
    seconds : int
        Time that every file bears, as Unix counts it.
    programs : collection of str
        Names of those that can be executed.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime = len(data), seconds
            entry.mode = 0o755 if name in programs else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=seconds)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _git(root: Path, *arguments: str) -> str:
    """What git answers.

    Raises
    ------
    ScalebookError
        With git's own first line, if it fails or is not there.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        raise ScalebookError("release: git is not there; install it") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word"])[0]
        raise ScalebookError(f"release: git {arguments[0]}: {said}")
    return done.stdout.strip("\n")
