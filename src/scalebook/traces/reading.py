"""A profiler trace from its file into tables: read piece by piece, and only once."""

import gzip
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from scalebook.contract import ScalebookError
from scalebook.results import files
from scalebook.traces import backends
from scalebook.traces.backends.chrome import ChromeTrace
from scalebook.traces.trace import Trace, load, save, store_folder
from scalebook.train.privacy import printable

#: Most bytes of a trace, packed and unpacked.
PACKED_LIMIT = 512 * files.MIB
UNPACKED_LIMIT = 4096 * files.MIB
#: Files below this size are read faster than looked up.
KEPT_FROM = 128 * 1024
#: Bytes read at once: few enough that their events stay in the processor's cache.
PIECE = 1 << 19

_CHROME = ChromeTrace()


def read(path: Path, where: str | None = None) -> Trace:
    """Read a trace, packed by gzip or plain, of any format in `backends`.

    It is taken from, and kept in, the study's ``.scalebook/traces/``.

    Parameters
    ----------
    path : Path
        The file.
    where : str, optional
        How an error names it; its own name where left out, never the folders above it.

    Raises
    ------
    ScalebookError
        If the file is missing, cut short, too large, or no trace; one line.
    """
    where = where or path.name
    try:
        if path.exists() and not path.is_file():
            raise ScalebookError(f"{where}: is not a regular file")
        pieces = pieces_of(path, where)
        head = next(pieces, b"")
        formats = (*backends.registered(), _CHROME)
        chosen = next(backend for backend in formats if backend.recognises(head))
        before, folder = files.stamp(path), store_folder()
        if folder is None or before[0] < KEPT_FROM:
            return chosen.read(itertools.chain([head], pieces), where)
        place = folder / f"{_digest(path)}-{chosen.name}-{chosen.version}.npz"
        trace = load(place)
        if trace is None:
            trace = chosen.read(itertools.chain([head], pieces), where)
            if files.stamp(path) == before:
                save(place, trace)
        return trace
    except FileNotFoundError:
        raise ScalebookError(f"{where}: no such file") from None
    except OSError as error:
        raise ScalebookError(f"{where}: cannot be read ({error.strerror})") from None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pieces_of(path: Path, where: str) -> Iterator[bytes]:
    """Bytes of a file, unpacked, never more than one piece ahead; with a bar in a terminal."""
    with open(path, "rb") as file:
        packed = file.read(2) == files.GZIP_MAGIC
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        limit, over = UNPACKED_LIMIT, "unpacks to more than" if packed else "larger than"
        if packed and size > PACKED_LIMIT:
            raise ScalebookError(f"{where}: larger than {PACKED_LIMIT // files.MIB} MiB, refused")
        source = gzip.GzipFile(fileobj=file) if packed else file
        bar = tqdm(
            total=size, desc=printable(where), unit="B", unit_scale=True, leave=False, delay=1,
            disable=None,
        )  # fmt: skip
        try:
            with bar:
                while piece := source.read(PIECE):
                    bar.update(file.tell() - bar.n)
                    limit -= len(piece)
                    if limit < 0:
                        mib = UNPACKED_LIMIT // files.MIB
                        raise ScalebookError(f"{where}: {over} {mib} MiB, refused")
                    yield piece
        except EOFError:
            raise ScalebookError(f"{where}: cut short; copy or write it again") from None
        except (zlib.error, gzip.BadGzipFile):
            raise ScalebookError(f"{where}: damaged gzip data") from None
