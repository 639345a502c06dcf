"""Fetch the official CIFAR-10 archive: checked, unpacked whole or not at all.

Needs the standard library only, so that ``scalebook data get`` is quick and works
where torch is missing.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

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
    """Compare each file with its known MD5.

    Raises
    ------
    ScalebookError
        As `read`.
    """
    for name in FILE_MD5:
        read(folder, name)


def read(folder: Path, name: str) -> bytes:
    """Content of one of the files; nothing but what this returns is unpickled.

    Raises
    ------
    ScalebookError
        If the file is missing or its MD5 is not that of the official one.
    """
    content = b""
    try:
        content = (folder / name).read_bytes()
        actual = _md5(content)
    except OSError as error:
        actual = error.strerror or "unreadable"
    if actual != FILE_MD5[name]:
        raise ScalebookError(
            f"{folder.name}/{name}: is not the official file (MD5 {actual}, expected "
            f"{FILE_MD5[name]}): remove {folder.name} and run `scalebook data get`"
        )
    return content


def _fetch_and_unpack(data_dir: Path, target: Path, progress: Progress) -> None:
    by_hand = data_dir / "cifar-10-python.tar.gz"
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".cifar10.") as temporary:
        archive = by_hand
        if not by_hand.is_file():
            archive = Path(temporary) / "archive.tar.gz"
            _download(archive, progress)
        actual = _md5(archive.read_bytes())
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


def _download(archive: Path, progress: Progress) -> None:
    done = 0
    with open(archive, "wb") as out:
        for chunk, total in _chunks():
            out.write(chunk)
            done += len(chunk)
            progress(done, total)


def _chunks() -> Iterator[tuple[bytes, int]]:
    """Parts of the archive as the network brings them, each with the bytes in all (0: unknown)."""
    try:
        with urllib.request.urlopen(URL, timeout=_TIMEOUT_S) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                yield chunk, total
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ScalebookError(f"cannot download {URL} ({reason}): {ELSEWHERE}") from None


def _unpack(archive: Path, target: Path) -> None:
    """Copy the known members out; whatever else the archive holds stays in it."""
    target.mkdir()
    known = {f"{FOLDER}/{name}": name for name in FILE_MD5}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in known:
                content = tar.extractfile(member)
                assert content is not None  # the archive is the official one
                (target / known[member.name]).write_bytes(content.read())


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
