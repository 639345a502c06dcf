"""What all sources of images share: their interface, and how files are listed and hashed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError
from scalebook.train.privacy import printable

#: Images (N, 3, height, width) as uint8 and labels (N,) as int64 of both splits, under
#: ``train_images``, ``train_labels``, ``val_images`` and ``val_labels``.
Arrays = dict[str, "np.ndarray[Any, Any]"]
#: Called with images or files done and those in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LeftOut:
    """What lies among the images of a folder and is none.

    Attributes
    ----------
    files : dict of str to int
        How many, by suffix in small letters.
    classes : list of str
        Those that hold no image.
    folders : list of str
        Those inside classes.
    text : str
        All of it in one line, with what to do; empty where nothing is left out.
    """

    files: dict[str, int]
    classes: list[str]
    folders: list[str]
    text: str

    @classmethod
    def of(cls, shown: str, paths: list[str]) -> LeftOut:
        """Count paths below the folder that is `shown` so; folders end with ``/``."""
        paths = sorted(paths)
        files = [path for path in paths if path[-1] != "/"]
        classes = [path[:-1] for path in paths if path[-1] == "/" and path.count("/") == 2]
        folders = [path[:-1] for path in paths if path[-1] == "/" and path.count("/") > 2]
        by_suffix = Counter(os.path.splitext(path)[1].lower() or "no suffix" for path in files)
        kinds = ", ".join(f"{count} {kind}" for kind, count in by_suffix.most_common(5))
        parts = [
            f"{count} ({few})"
            for count, few in (
                (_count(files, "file", "files"), f"{kinds}; first {files[0] if files else ''}"),
                (_count(classes, "class", "classes") + " without a picture", _few(classes)),
                (_count(folders, "folder", "folders") + " inside classes", _few(folders)),
            )
            if not count.startswith("0 ")
        ]
        text = f"{shown}: left out {', '.join(parts)}: only <train|test>/<class>/*.jpg|png counts"
        text = printable(f"{text}; convert, move or remove them") if parts else ""
        return cls(dict(by_suffix), classes, folders, text)

    def __bool__(self) -> bool:
        return bool(self.text)


def _count(paths: list[str], singular: str, plural: str) -> str:
    return f"{len(paths)} {singular if len(paths) == 1 else plural}"


def _few(paths: list[str]) -> str:
    return ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")


class Source(ABC):
    """Images on disk, or a formula that makes them.

    Attributes
    ----------
    folder : Path or None
        Where the files lie; None for generated images.
    left_out : LeftOut
        What lies there too and is not used.
    """

    folder: Path | None = None
    left_out: LeftOut = LeftOut({}, [], [], "")

    @abstractmethod
    def listing(self) -> list[list[Any]]:
        """Relative path, size in bytes and time of change of each file; equal for equal images."""

    @abstractmethod
    def digest(self, progress: Progress) -> str:
        """SHA-256 of what the images are, as hexadecimal."""

    @abstractmethod
    def name_of(self, digest: str) -> str:
        """Name for people and for the evidence rules."""

    @abstractmethod
    def decode(self, image_size: int | None, progress: Progress) -> tuple[Arrays, list[str]]:
        """Arrays of all images, scaled to `image_size` pixels a side, and the names of the classes.

        Raises
        ------
        ScalebookError
            Naming a file that is damaged, or whose size does not fit.
        """


def entry(path: Path, relative: str) -> list[Any]:
    """Relative path, size in bytes and time of change of a file."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ScalebookError(f"{path.parent.name}/{path.name}: {error.strerror}") from None
    return [relative, status.st_size, status.st_mtime_ns]


def digest_files(folder: Path, paths: list[str], progress: Progress) -> str:
    """SHA-256 over relative paths and the SHA-256 of each file, in the order given."""
    digest = hashlib.sha256()
    for number, path in enumerate(paths, 1):
        try:
            content = (folder / path).read_bytes()
        except OSError as error:
            raise ScalebookError(f"{folder.name}/{path}: {error.strerror}") from None
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        if number % 256 == 0 or number == len(paths):
            progress(number, len(paths))
    return digest.hexdigest()
