"""Decoded images, kept as memory-mapped uint8 arrays under ``data/cache``.

Every rank maps the same files, so a node holds one copy in its page cache. The first process
to need a cache builds it under a lock and renames it into place; a cache that is cut short or
damaged is noticed by size and checksum and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.train import locking, stop
from scalebook.train.images.source import Arrays, Source

_VERSION = 2  # of how images are decoded
_ARRAYS = ("train_images", "train_labels", "val_images", "val_labels")
# Checksums of larger files would cost more than they save at each start; sizes still count.
_CHECKSUM_UP_TO = 1 << 30

#: Called with a word for what is done, how much is done, and how much there is.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Decoded:
    """All images of a source.

    Attributes
    ----------
    name, sha256 : str
        Identity, subset aside.
    classes : list of str
        Names, in the order of the labels.
    mean, std : list of float
        Of the training images' channels, as fractions of 255.
    arrays : dict of str to ndarray
        Memory-mapped, see `scalebook.train.images.source.Arrays`.
    """

    name: str
    sha256: str
    classes: list[str]
    mean: list[float]
    std: list[float]
    arrays: Arrays


def load(source: Source, image_size: int | None, cache_dir: Path, report: Report) -> Decoded:
    """Give a source's decoded images, decoding them if that was not done before.

    Raises
    ------
    ScalebookError
        If a file of the source is damaged.
    """
    sha256 = _identity(source, cache_dir, report)
    key = hashlib.sha256(f"{_VERSION} {sha256} {image_size}".encode()).hexdigest()[:16]
    folder = cache_dir / key
    name = source.name_of(sha256)
    decoded = _open(folder, name)
    if decoded is None:
        lock = cache_dir / f"{key}.lock"
        with locking.alone(lock, "preparing the images", stop.check, tell=False):
            decoded = _open(folder, name)  # another process may have built it meanwhile
            if decoded is None:
                _build(source, image_size, folder, sha256, report)
                decoded = _open(folder, name)
    if decoded is None:
        raise ScalebookError(f"data/cache/{key}: cannot be read back after writing; check the disk")
    return decoded


def _identity(source: Source, cache_dir: Path, report: Report) -> str:
    """Digest of a source; not computed again while paths, sizes and times stay the same."""
    listing = json.dumps(source.listing())
    remembered = cache_dir / "digests" / f"{hashlib.sha256(listing.encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(ScalebookError):
        known = contract.read_json(remembered).get("sha256")
        if isinstance(known, str) and len(known) == 64:
            return known
    sha256 = source.digest(_stoppable("hash", report))
    contract.write_json(remembered, {"sha256": sha256})
    return sha256


def _build(
    source: Source, image_size: int | None, folder: Path, sha256: str, report: Report
) -> None:
    arrays, classes = source.decode(image_size, _stoppable("decode", report))
    mean, std = _moments(arrays["train_images"])
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        files = {}
        for name in _ARRAYS:
            path = temporary / f"{name}.npy"
            np.save(path, arrays[name])
            files[name] = {"bytes": path.stat().st_size, "crc32": _crc32(path)}
        meta = {
            "version": _VERSION, "sha256": sha256, "classes": classes,
            "mean": mean, "std": std, "files": files,
        }  # fmt: skip
        contract.write_json(temporary / "meta.json", meta)
        os.chmod(temporary, 0o755)
        if folder.exists():
            shutil.rmtree(folder)  # damaged; processes that mapped it keep their pages
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # else built twice, where the file system has no locks
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(folder: Path, name: str) -> Decoded | None:
    """Map a cache, or None where there is none or it is damaged."""
    try:
        meta = contract.read_json(folder / "meta.json")
        arrays: Arrays = {}
        for part in _ARRAYS:
            path, expected = folder / f"{part}.npy", meta["files"][part]
            size = path.stat().st_size
            if size != expected["bytes"]:
                return None
            if size <= _CHECKSUM_UP_TO and _crc32(path) != expected["crc32"]:
                return None
            # Copy on write: torch wants a writable array, the file stays as it is.
            arrays[part] = np.load(path, mmap_mode="c")
        return Decoded(name, meta["sha256"], meta["classes"], meta["mean"], meta["std"], arrays)
    except (ScalebookError, OSError, KeyError, TypeError, ValueError):
        return None


def _moments(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel as fractions of 255, exact sums of integers."""
    total = np.zeros(3, np.float64)
    squares = np.zeros(3, np.float64)
    for start in range(0, len(images), 1024):
        chunk = images[start : start + 1024].astype(np.int64)
        total += chunk.sum(axis=(0, 2, 3))
        squares += (chunk * chunk).sum(axis=(0, 2, 3))
    pixels = images.size / 3
    mean = total / pixels
    # A channel without any contrast must not divide by zero.
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 1.0))
    return (mean / 255).tolist(), (std / 255).tolist()


def _crc32(path: Path) -> int:
    return zlib.crc32(np.memmap(path, mode="r").data)


def _stoppable(what: str, report: Report) -> Any:
    def progress(done: int, total: int) -> None:
        stop.check()
        report(what, done, total)

    return progress
