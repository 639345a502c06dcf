"""Reading files that may be large, torn, hostile or unchanged since the last look."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from scalebook.contract import ScalebookError

Value = TypeVar("Value")
Model = TypeVar("Model", bound=BaseModel)

MIB = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"

#: Size, times of change of content and of anything, in ns, and inode of a file.
Stamp = tuple[int, int, int, int]

#: Most files whose content is remembered: those read longest ago are read again.
MOST_REMEMBERED = 1000

_cache: dict[tuple[Hashable, ...], tuple[Stamp, Any]] = {}


class Problem(NamedTuple):
    """Something wrong, or worth saying, about one file.

    Attributes
    ----------
    file : str
        Relative to the study's root.
    row : int or None
        Line of the file, counted from 1.
    column : str or None
        Name of the column or key.
    problem : str
        What is wrong and what would be right.
    severity : str
        ``"error"``: the file, or this row of it, is not used. ``"note"``: it is, as said.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    severity: str = "error"

    @classmethod
    def of(cls, error: ScalebookError, *names: str) -> Problem:
        """Make an error a problem of the file whose name it begins with, else of the first."""
        name = next((name for name in names if str(error).startswith(name)), names[0])
        return cls(name, None, None, str(error).removeprefix(name).lstrip(":, "))

    def line(self) -> str:
        """Say all of it in one line."""
        where = self.file
        if self.row is not None:
            where += f" line {self.row}"
        if self.column is not None:
            where += f", {self.column}"
        return f"{where}: {self.problem}"


def stamp(file: Path | os.DirEntry[str]) -> Stamp:
    """Size, times and inode: equal for a file that was not touched."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_cached(path: Path, load: Callable[..., Value], *args: Hashable) -> Value:
    """``load(path, *args)``, read again only when the file has changed.

    The value is shared between callers: copy it before changing it.
    """
    key = (str(path), load.__module__, load.__qualname__, *args)
    now = stamp(path)
    kept = _cache.get(key)
    if kept is None or kept[0] != now:
        _cache.pop(key, None)
        _cache[key] = kept = (now, load(path, *args))
        if len(_cache) > MOST_REMEMBERED:
            _cache.pop(next(iter(_cache)), None)
    value: Value = kept[1]
    return value


def read_bytes(path: Path, where: str, limit: int) -> bytes:
    """Whole content of a regular file.

    Parameters
    ----------
    path : Path
        The file.
    where : str
        How an error names it.
    limit : int
        Most bytes to accept.

    Raises
    ------
    ScalebookError
        If it is missing, unreadable, no regular file, or larger than `limit`.
    """
    try:
        if path.exists() and not path.is_file():
            raise ScalebookError(f"{where}: is not a regular file")
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ScalebookError(f"{where}: no such file") from None
    except OSError as error:
        raise ScalebookError(f"{where}: cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise ScalebookError(f"{where}: larger than {limit // MIB} MiB, refused")
    return data


def read_json(path: Path, where: str, limit: int) -> dict[str, Any]:
    """Read a JSON object of at most `limit` bytes; `where` names the file in errors.

    Raises
    ------
    ScalebookError
        If the file cannot be read, or holds something else.
    """
    try:
        document = json.loads(read_bytes(path, where, limit))
    except (ValueError, RecursionError):
        raise ScalebookError(f"{where}: cannot be read as JSON") from None
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: holds no JSON object")
    return document


def checked(model: type[Model], document: dict[str, Any], where: str) -> Model:
    """Validate what a program wrote.

    Raises
    ------
    ScalebookError
        One line that names file and key.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ScalebookError(f"{where}: {key}: {first['msg']}") from None


def gunzip(data: bytes, where: str, limit: int, torn: bool = False) -> bytes:
    """Decompress concatenated gzip members, at most `limit` bytes of them.

    Parameters
    ----------
    data : bytes
        Compressed content.
    where : str
        How an error names the file.
    limit : int
        Most decompressed bytes to accept: a small file can hold a large bomb.
    torn : bool
        Leave out a last member that is still being written, or was cut.

    Raises
    ------
    ScalebookError
        If the content is damaged, cut (unless `torn`) or too large.
    """
    parts: list[bytes] = []
    room = limit
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, room + 1)
        except zlib.error:
            if torn and parts:
                break
            raise ScalebookError(f"{where}: damaged gzip data") from None
        room -= len(part)
        if room < 0:
            raise ScalebookError(f"{where}: unpacks to more than {limit // MIB} MiB, refused")
        if not stream.eof:
            if torn:
                break
            raise ScalebookError(f"{where}: cut short; copy or write it again")
        parts.append(part)
        data = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)
