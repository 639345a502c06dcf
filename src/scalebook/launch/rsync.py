"""rsync over ssh, called so that nothing a person typed is taken for an option or by a shell."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalebook.contract import ScalebookError, UsageError
from scalebook.launch.checking import KINDS

_HOST = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}@)?(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]+\])"
)
_SKIPPED = re.compile(r'skipping non-regular file "(.+)"')
_OPTION = re.compile(r"[A-Za-z]+=[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Source:
    """A study on another machine.

    Attributes
    ----------
    host : str
        ``USER@HOST``, or a name of the person's ssh configuration.
    folder : str
        Its folder there; never begins with ``-`` or ``~``.
    """

    host: str
    folder: str

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read ``USER@HOST:DIR``; a relative folder is one in the home directory there.

        Raises
        ------
        UsageError
            If host or folder could be taken for something else by ssh or rsync.
        """
        match = re.fullmatch(rf"(?P<host>{_HOST.pattern}):(?P<folder>(?!:|//).+)", text, re.DOTALL)
        if match is None:
            raise UsageError(f"fetch {text!r}: write USER@HOST:DIR, such as me@cluster:my-study")
        host, folder = match["host"], match["folder"]
        if re.search(r"[\x00-\x1f\x7f*?\[\]\\]", folder):
            raise UsageError(
                f"fetch {text!r}: the folder must not hold *, ?, [, ], \\ or control characters"
            )
        if folder == "~" or folder.startswith("~/"):
            folder = folder[2:] or "."
        if folder.startswith("~"):
            raise UsageError(f"fetch {text!r}: write the folder of another user as a full path")
        return cls(host, folder if folder.startswith("/") else f"./{folder}")

    def __str__(self) -> str:
        return f"{self.host}:{self.folder.removeprefix('./')}"


@contextlib.contextmanager
def connection(host: str, options: Sequence[str]) -> Iterator[list[str]]:
    """One connection for all calls, so that a password is asked for once."""
    for option in options:
        if not _OPTION.fullmatch(option):
            raise UsageError(f"--ssh-option {option!r}: write KEY=VALUE, such as Port=2222")
    # A socket's path may have about 100 characters, which a study's folder can exceed.
    folder = tempfile.mkdtemp(prefix="scalebook-")
    shared = [f"ControlPath={folder}/s", "ControlMaster=auto", "ControlPersist=60"]
    ssh = ["ssh", *(word for option in [*shared, *options] for word in ("-o", option))]
    try:
        yield ssh
    finally:
        # `-O exit` alone: it must never open a connection of its own.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [*ssh, "-O", "exit", "--", host],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
            )
        shutil.rmtree(folder, ignore_errors=True)


def command(
    source: Source, ssh: Sequence[str], results: Path, stage: Path, trials: bool
) -> list[str]:
    """Mirror the results there into the stage; what is here already is linked, not copied."""
    wanted = ["--include=/local"] if trials else []
    for folder in ["", "local/"] if trials else [""]:
        for kind, suffixes in KINDS.items():
            wanted += [f"--exclude=/{folder}{kind}/.*", f"--include=/{folder}{kind}"]
            wanted += [f"--include=/{folder}{kind}/*{suffix}" for suffix in suffixes]
    # No shell there sees a name: arguments go through the protocol (-s). Links and special files
    # are not followed, and not taken; `compare` names them.
    options = (
        "-s --recursive --times --checksum --chmod=D755,F644 --prune-empty-dirs "
        "--partial-dir=.partial --delete --timeout=120"
    )
    return [
        "rsync",
        *options.split(),
        f"--rsh={' '.join(_quoted(word) for word in ssh)}",
        f"--link-dest={results.resolve()}",
        *wanted,
        "--exclude=*",
        "--",
        f"{source.host}:{source.folder}/results/",
        f"{stage}/",
    ]


def _quoted(word: str) -> str:
    """One word as rsync takes its remote shell apart: quotes within are doubled."""
    return "'" + word.replace("'", "''") + "'"


def call(rsync: list[str], source: Source, *more: str, show: bool = False) -> str:
    """Run rsync and return what it printed; with `show`, its progress goes to the terminal."""
    shown = show and sys.stderr.isatty()
    info = ["--info=progress2,name0,nonreg0"] if shown else []
    # A file, not a pipe: the shared connection of an older ssh would hold a pipe open.
    with tempfile.TemporaryFile() as complaints:
        done = subprocess.run(
            [rsync[0], *info, *more, *rsync[1:]],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if shown else subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
        )
        complaints.seek(0)
        errors = complaints.read().decode(errors="replace")
    if done.returncode:
        raise ScalebookError(f"fetch {source}: {_failure(done.returncode, errors, source)}")
    return done.stdout or ""


def _failure(code: int, stderr: str, source: Source) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("change_dir" in line and "No such file" in line for line in lines):
        return f"no folder results/ in {source.folder.removeprefix('./')} there"
    ssh = [line for line in lines if not line.startswith(("rsync:", "rsync error:", "@"))]
    why = (ssh or lines or [f"rsync ended with {code}"])[-1]
    again = "; call it again to go on where it stopped" if code in (20, 30, 12, 255) else ""
    return f"{why[:300]}{again}"


def compare(rsync: list[str], source: Source) -> tuple[set[str], list[str]]:
    """Files that are not here as they are there, by checksum, without a copy; and links there."""
    lines = call(rsync, source, "--dry-run", "--out-format=%i %n").splitlines()
    marks = (line.partition(" ") for line in lines)
    differing = {name for mark, _, name in marks if mark.startswith((">f", "<f", "cf"))}
    links = [match[1] for line in lines if (match := _SKIPPED.fullmatch(line))]
    return differing, links
