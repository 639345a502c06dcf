"""A profiler trace from its file into columns: read piece by piece, and only once.

See `scalebook.traces.columns` for what is believed of a trace.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from scalebook.contract import ScalebookError
from scalebook.results import files
from scalebook.traces import splitting, stored
from scalebook.traces.columns import Builder
from scalebook.traces.trace import Trace

__all__ = ["Trace", "read"]

#: Most bytes of a trace, packed and unpacked.
PACKED_LIMIT = 512 * files.MIB
UNPACKED_LIMIT = 4096 * files.MIB
#: Files below this size are read faster than looked up.
KEPT_FROM = 128 * 1024

_PIECE = splitting.CHUNK


def read(path: Path, where: str | None = None, keep: bool = True) -> Trace:
    """Read a trace: JSON or gzipped JSON, an object with ``traceEvents`` or a bare list.

    Parameters
    ----------
    path : Path
        The file.
    where : str, optional
        How an error names it; its own name where left out, never the folders above it.
    keep : bool
        Take it from, and keep it in, the study's ``.scalebook/traces/``.

    Raises
    ------
    ScalebookError
        If the file is missing, cut short, too large, or no trace; one line.
    """
    where = where or path.name
    try:
        if path.exists() and not path.is_file():
            raise ScalebookError(f"{where}: is not a regular file")
        with open(path, "rb") as file:
            before = files.stamp(path)
            keep = keep and before[0] >= KEPT_FROM and stored.folder() is not None
            digest = _digest(file) if keep else ""
            known = stored.load(digest) if keep else None
            if known is not None:
                return known
            trace = _parsed(file, where)
            if keep and files.stamp(path) == before:
                stored.save(digest, trace)
            return trace
    except FileNotFoundError:
        raise ScalebookError(f"{where}: no such file") from None
    except OSError as error:
        raise ScalebookError(f"{where}: cannot be read ({error.strerror})") from None


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(files.MIB):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()


def _parsed(file: BinaryIO, where: str) -> Trace:
    packed = file.read(2) == files.GZIP_MAGIC
    file.seek(0)
    found = splitting.Events(_unpacked(file, where) if packed else _plain(file, where), where)
    builder = Builder()
    with _no_collection():
        for events in found:
            builder.add(events)
        return builder.trace(found.header)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the search for cycles: parsed JSON has none, and it is a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _plain(file: BinaryIO, where: str) -> Iterator[bytes]:
    room = UNPACKED_LIMIT
    while piece := file.read(_PIECE):
        room -= len(piece)
        if room < 0:
            raise ScalebookError(f"{where}: larger than {UNPACKED_LIMIT // files.MIB} MiB, refused")
        yield piece


def _unpacked(file: BinaryIO, where: str) -> Iterator[bytes]:
    """Decompress concatenated gzip members, never more than a piece ahead."""
    packed_room, room = PACKED_LIMIT, UNPACKED_LIMIT
    stream = zlib.decompressobj(wbits=31)
    begun = False
    while data := file.read(_PIECE):
        packed_room -= len(data)
        if packed_room < 0:
            raise ScalebookError(f"{where}: larger than {PACKED_LIMIT // files.MIB} MiB, refused")
        while data:
            if stream.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                stream, begun = zlib.decompressobj(wbits=31), False
            try:
                piece = stream.decompress(data, _PIECE)
            except zlib.error:
                raise ScalebookError(f"{where}: damaged gzip data") from None
            begun = True
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            room -= len(piece)
            if room < 0:
                raise ScalebookError(
                    f"{where}: unpacks to more than {UNPACKED_LIMIT // files.MIB} MiB, refused"
                )
            yield piece
    while not stream.eof and (piece := stream.decompress(b"", _PIECE)):
        room -= len(piece)
        yield piece
    if begun and not stream.eof:
        raise ScalebookError(f"{where}: cut short; copy or write it again")
