"""Fetch the official CIFAR-10 archive: checked, unpacked whole or not at all.

Needs the standard library only, so that ``scalebook data get`` is quick and works
where torch is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from scalebook.contract import ScalebookError
from scalebook.train import locking

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"

#: MD5 of each file that is unpacked, as torchvision knows them.
FILE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}

_TIMEOUT_S = 20
_CHUNK = 1 << 20
_LARGEST_MEMBER = 64 << 20
#: What else there is to do where it cannot be had.
ELSEWHERE = "put the images under data/ by hand, or use --set dataset=synthetic"

Progress = Callable[[int, int], None]


def get(data_dir: Path, progress: Progress | None = None) -> Path:
    """Download CIFAR-10, check it and unpack it; does nothing where it is there already.

    Safe when several processes call it at once: one downloads, the others wait.
    An archive that lies in `data_dir` already is used, if its checksum is right.

    Parameters
    ----------
    data_dir : Path
        Folder to unpack into.
    progress : callable, optional
        Called with bytes done and bytes in all (0 where unknown).

    Returns
    -------
    Path
        ``data_dir/cifar-10-batches-py``.

    Raises
    ------
    ScalebookError
        One line: no network, wrong checksum, full disk, or a damaged folder in the way.
    """
    target = data_dir / FOLDER
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with locking.alone(data_dir / ".cifar10.lock", "fetching CIFAR-10"):
            if not target.exists():
                _fetch_and_unpack(data_dir, target, progress or (lambda done, total: None))
    except OSError as error:
        raise ScalebookError(
            f"{data_dir.name}/{FOLDER}: cannot be written ({error.strerror or error})"
        ) from None
    check(target)
    return target


def check(folder: Path) -> None:
    """Compare each file with its known MD5; nothing is unpickled before this passes.

    Raises
    ------
    ScalebookError
        Naming the first file that is missing or differs.
    """
    for name, expected in FILE_MD5.items():
        try:
            with open(folder / name, "rb") as file:
                actual = _md5(file)
        except OSError as error:
            actual = error.strerror or "unreadable"
        if actual != expected:
            raise ScalebookError(
                f"{folder.name}/{name}: is not the official file (MD5 {actual}, expected "
                f"{expected}): remove {folder.name} and run `scalebook data get`"
            )


def _fetch_and_unpack(data_dir: Path, target: Path, progress: Progress) -> None:
    by_hand = data_dir / "cifar-10-python.tar.gz"
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".cifar10.") as temporary:
        archive = by_hand
        if by_hand.is_file():
            with open(by_hand, "rb") as file:
                actual = _md5(file)
        else:
            archive = Path(temporary) / "archive.tar.gz"
            actual = _download(archive, progress)
        if actual != ARCHIVE_MD5:
            raise ScalebookError(
                f"{archive.name if archive == by_hand else URL}: is not the official archive "
                f"(MD5 {actual}, expected {ARCHIVE_MD5}): "
                + ("remove it and try again" if archive == by_hand else f"try again, {ELSEWHERE}")
            )
        unpacked = Path(temporary) / FOLDER
        _unpack(archive, unpacked)
        check(unpacked)
        os.replace(unpacked, target)


def _download(archive: Path, progress: Progress) -> str:
    """Write the archive; returns its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(URL, timeout=_TIMEOUT_S) as answer, open(archive, "wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                _write(out, chunk)
                done += len(chunk)
                progress(done, total)
    except (OSError, ValueError) as error:
        if isinstance(error, _LocalError):
            raise OSError(error.errno, error.strerror) from None
        reason = getattr(error, "reason", None) or error
        raise ScalebookError(f"cannot download {URL} ({reason}): {ELSEWHERE}") from None
    return digest.hexdigest()


class _LocalError(OSError):
    """The disk failed, not the network."""


def _write(out: BinaryIO, chunk: bytes) -> None:
    try:
        out.write(chunk)
    except OSError as error:
        raise _LocalError(error.errno, error.strerror) from None


def _unpack(archive: Path, target: Path) -> None:
    """Copy the known members out; whatever else the archive holds stays in it."""
    target.mkdir()
    known = {f"{FOLDER}/{name}": name for name in FILE_MD5}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = known.get(member.name)
                if name is None or not member.isfile() or member.size > _LARGEST_MEMBER:
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    with contextlib.closing(source), open(target / name, "wb") as out:
                        shutil.copyfileobj(source, out, _CHUNK)
    except (tarfile.TarError, EOFError) as error:
        raise ScalebookError(f"{archive.name}: cannot be unpacked ({error})") from None


def _md5(file: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
