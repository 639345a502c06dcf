"""A release: what it refuses, and what it tags and packs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from paths import REPOSITORY

from scalebook.contract import ScalebookError, UsageError
from scalebook.project import deliverables, release

FILES = {
    "study.yaml": (REPOSITORY / "study.yaml").read_text(),
    "pyproject.toml": '[project]\nname = "tiny"\nversion = "1.2.0"\ndescription = "A study."\n',
    "CITATION.cff": "{title: Tiny, version: 1.2.0, license: MIT, authors: [{name: The group}]}\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.0 (2026-11-23)\n\n- New.\n",
    "results/csv/a.csv": "epoch\n1\n",
    "docs/paper.pdf": "%PDF",
    "env/setup.sh": "#!/bin/sh\n",
    ".gitignore": "_build/\n",
}


def git(root: Path, *arguments: str) -> str:
    who = {"GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "T",
           "GIT_COMMITTER_EMAIL": "t@t", "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
    done = subprocess.run(["git", *arguments], cwd=root, env={**os.environ, **who}, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout.strip()


def commit(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    git(root, "add", name)
    git(root, "commit", "-qm", name)


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """A study in a git repository of its own, ready for 1.2.0; the book is one page."""
    root = tmp_path / "tiny"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "env/setup.sh").chmod(0o755)
    git(tmp_path, "init", "-q", "tiny")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    git(root, "config", "user.name", "T")
    git(root, "config", "user.email", "t@t")
    monkeypatch.setenv("SCALEBOOK_ROOT", str(root))

    def book(root: Path, say) -> int:
        page = root / "_build/html/index.html"
        page.parent.mkdir(parents=True)
        page.write_text("<p>a book</p>")
        return 0

    monkeypatch.setattr(release, "build_book", book)
    monkeypatch.setattr(deliverables, "check", lambda root: [])
    return root


def attempt(root: Path, version: str = "1.2.0") -> Path:
    return release.release(root, version, lambda line: None)


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.0", "1.02.0", "1.2.0-rc1", "1.2.0\n"])
def test_a_version_that_is_none_is_refused(tiny, version):
    with pytest.raises(UsageError, match="make release VERSION="):
        attempt(tiny, version)


def test_changes_that_are_not_committed_are_refused(tiny):
    (tiny / "results/csv/b.csv").write_text("epoch\n")
    with pytest.raises(ScalebookError, match=r"not committed: results/csv/b\.csv; commit first"):
        attempt(tiny)


def test_somebody_unknown_is_refused_before_the_book_is_built(tiny, monkeypatch):
    monkeypatch.setattr(release, "build_book", None)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tiny))
    git(tiny, "config", "--unset", "user.name")
    git(tiny, "config", "--unset", "user.email")
    git(tiny, "config", "user.useConfigOnly", "true")
    with pytest.raises(ScalebookError, match="git config user.name NAME"):
        attempt(tiny)


def test_a_tag_that_is_there_is_refused(tiny):
    git(tiny, "tag", "v1.2.0")
    with pytest.raises(ScalebookError, match=r"v1\.2\.0 is there already"):
        attempt(tiny)


@pytest.mark.parametrize("file", ["pyproject.toml", "CITATION.cff", "CHANGELOG.md"])
def test_a_file_that_says_another_version_is_named(tiny, file):
    commit(tiny, file, FILES[file].replace("1.2.0", "1.1.0"))
    with pytest.raises(ScalebookError, match=rf"{file} says 1\.1\.0, not 1\.2\.0"):
        attempt(tiny)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("{family-names: Plato}", "Plato"),
        ("{family-names: Noether, given-names: Emmy}", "Noether, Emmy"),
        ("{name: The group}", "The group"),
    ],
)
def test_an_author_needs_one_name(tiny, written, name):
    text = FILES["CITATION.cff"].replace("{name: The group}", written)
    if text != FILES["CITATION.cff"]:
        commit(tiny, "CITATION.cff", text)
    with tarfile.open(attempt(tiny)) as packed:
        zenodo = json.load(packed.extractfile("tiny-1.2.0/.zenodo.json"))
    assert zenodo["creators"] == [{"name": name}]


@pytest.mark.parametrize("written", ["{orcid: x}", "[Emmy]", "{family-names: [1]}"])
def test_an_author_without_a_name_is_one_line(tiny, written):
    commit(tiny, "CITATION.cff", FILES["CITATION.cff"].replace("{name: The group}", written))
    with pytest.raises(ScalebookError, match=r"^release: CITATION\.cff: authors\.0[^\n]+$"):
        attempt(tiny)
    assert git(tiny, "tag") == ""


def test_a_version_that_stands_in_the_package_is_compared(tiny):
    (tiny / "src/tiny").mkdir(parents=True)
    commit(tiny, "src/tiny/__init__.py", '__version__ = "1.1.0"\n')
    commit(tiny, "pyproject.toml", '[project]\nname = "tiny"\ndynamic = ["version"]\n')
    with pytest.raises(ScalebookError, match=r"src/tiny/__init__\.py says 1\.1\.0, not 1\.2\.0"):
        attempt(tiny)
    commit(tiny, "src/tiny/__init__.py", '__version__ = "1.2.0"\n')
    assert attempt(tiny).is_file()


def test_changes_that_have_no_version_yet_are_refused(tiny):
    commit(tiny, "CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 1.2.0\n")
    with pytest.raises(ScalebookError, match="CHANGELOG.md says Unreleased"):
        attempt(tiny)


def test_a_deliverable_that_is_missing_is_told_and_nothing_is_tagged(tiny, monkeypatch):
    lacking = deliverables.Deliverable("docs/paper.pdf", "missing", "not there", "scalebook pdf")
    monkeypatch.setattr(deliverables, "check", lambda root: [lacking])
    said: list[str] = []
    with pytest.raises(ScalebookError, match="not in place: 1 of the deliverables"):
        release.release(tiny, "1.2.0", said.append)
    assert said == ["missing: docs/paper.pdf: not there -> scalebook pdf"]
    assert git(tiny, "tag") == ""


def test_it_tags_and_packs_all_with_checksums(tiny):
    archive = attempt(tiny)
    assert archive == tiny / "_build/release/tiny-1.2.0.tar.gz"
    assert git(tiny, "tag") == "v1.2.0" and git(tiny, "cat-file", "-t", "v1.2.0") == "tag"
    with tarfile.open(archive) as packed:
        files = {
            name.removeprefix("tiny-1.2.0/"): packed.extractfile(name).read()
            for name in packed.getnames()
        }
        modes = {
            name.removeprefix("tiny-1.2.0/"): packed.getmember(name).mode
            for name in packed.getnames()
        }
    assert set(git(tiny, "ls-files").splitlines()) <= set(files)
    assert [name for name, mode in modes.items() if mode == 0o755] == ["env/setup.sh"]
    assert {"_build/html/index.html", "docs/paper.pdf", "results/csv/a.csv", "CITATION.cff",
            ".zenodo.json", "manifest.json"} <= set(files)  # fmt: skip
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["commit"] == git(tiny, "rev-parse", "HEAD")
    assert {name: one["sha256"] for name, one in manifest["files"].items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    zenodo = json.loads(files[".zenodo.json"])
    assert zenodo["creators"] == [{"name": "The group"}]
    assert (zenodo["version"], zenodo["license"], zenodo["title"]) == ("1.2.0", "mit", "Tiny")


def test_the_same_commit_gives_the_same_bytes(tiny):
    first = attempt(tiny).read_bytes()
    git(tiny, "tag", "--delete", "v1.2.0")
    assert attempt(tiny).read_bytes() == first


@pytest.mark.parametrize("name", ["LICENSE", "results/csv/b.csv", "docs/plan.pdf"])
def test_a_committed_link_out_of_the_study_is_refused(tiny, tmp_path, name):
    (tmp_path / "private").write_text("mine")
    (tiny / name).symlink_to(tmp_path / "private")
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "a link")
    with pytest.raises(ScalebookError, match=f"^release: {name}: leads out of the study"):
        attempt(tiny)
    assert not git(tiny, "tag")
