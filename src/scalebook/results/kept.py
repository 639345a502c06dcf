"""Answers kept on disk, so that the next process has at once what this one worked out.

Each `Kept` is one file of JSON in ``.scalebook/kept`` of the study, written whole: any number of
processes may use it, on any file system, without a lock. Of two that write at once the later wins,
and what is lost is worked out again. So is everything where the file is damaged, was made by other
code, or cannot be written: deleting it costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

import scalebook
from scalebook import contract

#: Below the study's root.
FOLDER = ".scalebook/kept"
#: Libraries whose version may change an answer.
LIBRARIES = ("numpy", "pandas", "plotly")


class Kept:
    """Named values, kept in one file.

    Parameters
    ----------
    root : Path
        Folder of the study.
    name : str
        Of the file.
    state : str
        What the values hold for; those of another state are not there.
    """

    def __init__(self, root: Path, name: str, state: str) -> None:
        self._path, self._state = root / FOLDER / name, state
        self._values = _read(self._path, state)
        self._new: set[str] = set()

    def get(self, name: str) -> Any:
        """Value of this name; None where there is none."""
        return self._values.get(name)

    def put(self, name: str, value: Any) -> None:
        """Take a value that JSON can hold; any other is left out."""
        with contextlib.suppress(TypeError):  # a number beyond 64 bits, a name that is no text
            orjson.dumps([name, value])
            self._values[name] = value
            self._new.add(name)

    def save(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Write what is new, with what others have written meanwhile; only `wanted` names stay."""
        if not self._new:
            return
        values = _read(self._path, self._state) | {name: self._values[name] for name in self._new}
        self._new.clear()
        content = orjson.dumps({name: value for name, value in values.items() if wanted(name)})
        with contextlib.suppress(OSError):
            contract.write_whole(self._path, _seal(self._state, content) + content)


def _read(path: Path, state: str) -> dict[str, Any]:
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if seal + b"\n" != _seal(state, content):
        return {}
    values: dict[str, Any] = orjson.loads(content)
    return values


def _seal(state: str, content: bytes) -> bytes:
    """First line of the file: what the values hold for, and their checksum."""
    return f"{state} {hashlib.sha256(content).hexdigest()}\n".encode()


@functools.cache
def code() -> str:
    """Digest of the code behind the answers: this package, Python and its libraries."""
    found = [platform.python_version(), *(metadata.version(name) for name in LIBRARIES)]
    folder = Path(scalebook.__file__).parent
    for place, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith((".py", ".yaml", ".csv")):
                status = os.stat(os.path.join(place, name))
                found.append(
                    f"{place}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
                )
    return hashlib.sha256("\n".join(found).encode("utf-8", "surrogateescape")).hexdigest()


# Now, not when first asked: files that are edited while a notebook's kernel lives are not the code
# that it works with.
code()
