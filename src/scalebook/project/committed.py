"""What is committed beside the documents: results with their records, nothing private, not much."""

from __future__ import annotations

import gzip
import re
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

from scalebook.contract import EVIDENCE, RunFiles
from scalebook.project.deliverable import MISSING, OK, WRONG, Deliverable, about

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
    """Runs behind the documents: record of each, and Slurm's where Slurm ran it."""
    from scalebook import results

    runs = results.runs(evidence=True)
    stems = list(runs.loc[runs["kind"] == "measured", "stem"])
    bare, uncounted = [], []
    for stem in stems:
        files = RunFiles(root / EVIDENCE, stem)
        if not files.manifest.is_file():
            bare.append(stem)
            continue
        attempts = results.manifest(stem).get("attempts") or []
        slurm = any((one.get("scheduler") or {}).get("name") == "slurm" for one in attempts)
        if slurm and not files.sacct.is_file():
            uncounted.append(stem)
    yield about("runs behind the documents", [] if stems else ["none"], f"{len(stems)} runs",
                 "scalebook run --all", MISSING)  # fmt: skip
    yield about("manifest of each run", bare, f"{len(stems)} of {len(stems)}",
                 "run them again: a run without its record is no evidence", MISSING)  # fmt: skip
    yield about("Slurm's accounting of each run", uncounted, "beside every run that Slurm ran",
                 "scalebook collect, on the cluster", MISSING)  # fmt: skip
    problems = results.problems()
    wrong = [f"{one.file}: {one.problem}" for one in problems[problems["severity"] == "error"]
             .itertuples()]  # fmt: skip
    yield about("results are read without an error", wrong, "all", "mend or remove it", WRONG)


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
    names = listed(root)
    size = sum((root / name).stat().st_size for name in names if (root / name).is_file()) / _MIB
    largest = max(names, key=lambda name: (root / name).stat().st_size, default="")
    fits = size <= most_mib
    yield Deliverable(
        "size of committed files", OK if fits else WRONG,
        f"{size:.1f} of {most_mib:g} MiB",
        "" if fits else f"take something out, such as {largest}",
    )  # fmt: skip


def listed(root: Path, folder: str = ".") -> list[str]:
    """Files that are committed, or would be; where git is not there, all but what is never."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", folder]
    try:
        said = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
        names = said.stdout.decode("utf-8", "surrogateescape").split("\0")
    except (OSError, subprocess.SubprocessError):
        names = [
            path.relative_to(root).as_posix()
            for path in (root / folder).rglob("*")
            if not _IGNORED & set(path.relative_to(root).parts)
        ]
    return [name for name in names if name and (root / name).is_file()]
