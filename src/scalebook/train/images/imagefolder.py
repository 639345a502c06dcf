"""A folder of pictures, ``<train|test>/<class>/*.jpg|jpeg|png``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from scalebook.contract import ScalebookError
from scalebook.train.images.source import Arrays, LeftOut, Progress, Source, digest_files, entry

#: Digests of known image folders (see `ImageFolder.digest`) and their names.
KNOWN_FOLDERS = {
    "78086fc20c1b1c15a635979bf92b1d16ebc3ca6a8a061ac1b650bc528adcbf13": "cifar10-jpeg",
}

#: Below this, pictures of 16 bits would keep at most 16 of 256 levels.
_TWELVE_BITS = 1 << 12

_SUFFIXES = (".jpg", ".jpeg", ".png")


class ImageFolder(Source):
    """Pictures in ``<train|test>/<class>/*.jpg|jpeg|png``."""

    folder: Path

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder = folder
        self.shown = shown
        others: list[str] = []
        self.splits = {
            "train": _pictures(folder, "train", others),
            "val": _pictures(folder, "test", others),
        }
        self.classes = sorted({path.split("/")[1] for path in self.splits["train"]})
        for split, paths in self.splits.items():
            if not paths:
                raise ScalebookError(
                    f"{shown}/{'train' if split == 'train' else 'test'}: holds no class folder "
                    "with .jpg or .png pictures; expected <train|test>/<class>/*.jpg|png"
                )
        strange = {path.split("/")[1] for path in self.splits["val"]} - set(self.classes)
        if strange:
            raise ScalebookError(
                f"{shown}/test/{sorted(strange)[0]}: this class is not among the training images"
            )
        self.left_out = LeftOut.of(shown, others)
        self._brightest = -1  # of the pictures of 16 bits that were decoded

    def _paths(self) -> list[str]:
        return sorted(self.splits["train"] + self.splits["val"])

    def listing(self) -> list[list[Any]]:
        """Every picture."""
        return [entry(self.folder / path, path) for path in self._paths()]

    def digest(self, progress: Progress) -> str:
        """SHA-256 over the sorted relative paths and the SHA-256 of each file."""
        return digest_files(self.folder, self._paths(), progress)

    def name_of(self, digest: str) -> str:
        """A known digest has a name, any other is ``folder-<hex>``."""
        return KNOWN_FOLDERS.get(digest, f"folder-{digest[:12]}")

    def decode(self, image_size: int | None, progress: Progress) -> tuple[Arrays, list[str]]:
        """Decode every picture, scaled and cropped to `image_size`."""
        total = sum(map(len, self.splits.values()))
        size = (image_size, image_size) if image_size else None
        arrays: Arrays = {}
        done = 0
        for split, paths in self.splits.items():
            images = np.empty((0, 3, 0, 0), np.uint8)
            labels = np.empty(len(paths), np.int64)
            for position, path in enumerate(paths):
                pixels = self._decode_one(path, image_size)
                size = size or pixels.shape[:2]
                if pixels.shape[:2] != size:
                    raise ScalebookError(
                        f"{self.shown}/{path}: is {_by(pixels.shape)} pixels and others are "
                        f"{_by(size)}: give one size, as --set image_size={min(size)}"
                    )
                if not len(images):
                    images = np.empty((len(paths), 3, *size), np.uint8)
                images[position] = pixels.transpose(2, 0, 1)
                labels[position] = self.classes.index(path.split("/")[1])
                done += 1
                if done % 256 == 0 or done == total:
                    progress(done, total)
            arrays[f"{split}_images"] = images
            arrays[f"{split}_labels"] = labels
        if 0 <= self._brightest < _TWELVE_BITS:
            raise ScalebookError(
                f"{self.shown}: its pictures of 16 bits hold no value above {self._brightest} of "
                "65535, and 8 bits would keep little of that: spread their values, or save 8 bits"
            )
        return arrays, self.classes

    def _decode_one(self, path: str, image_size: int | None) -> np.ndarray[Any, Any]:
        from PIL import Image, ImageOps  # a node without Pillow can still list its images

        try:
            with Image.open(self.folder / path) as file:
                picture = self._in_8_bits(file, path).convert("RGB")
                if image_size and picture.size != (image_size, image_size):
                    # Shorter side to size, centre cropped.
                    picture = ImageOps.fit(
                        picture, (image_size, image_size), Image.Resampling.BILINEAR
                    )
                return np.asarray(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            fault = "is no picture" if "cannot identify" in str(error) else f"is damaged ({error})"
            raise ScalebookError(f"{self.shown}/{path}: {fault}: remove or replace it") from None

    def _in_8_bits(self, picture: Any, path: str) -> Any:
        """Scale a picture of 16 bits to 8, where Pillow would clip it.

        Raises
        ------
        ScalebookError
            If its values have no highest one to scale by.
        """
        from PIL import Image  # as above

        if picture.mode not in ("F", "I") and not picture.mode.startswith("I;"):
            return picture
        # Older versions of Pillow read the 16 bits of a PNG as 32; its whole numbers have no more.
        if picture.mode == "F" or (picture.mode == "I" and picture.format != "PNG"):
            kind = "floating-point numbers" if picture.mode == "F" else "numbers of 32 bits"
            raise ScalebookError(
                f"{self.shown}/{path}: holds {kind}, which have no scale of brightness: save it "
                "as PNG of 8 or 16 bits"
            )
        pixels = np.asarray(picture)
        self._brightest = max(self._brightest, int(pixels.max()))
        # The high byte, as Pillow takes of colours of 16 bits.
        return Image.fromarray((pixels >> 8).astype(np.uint8))


def is_image_folder(folder: Path) -> bool:
    """Whether a folder is laid out as an image folder."""
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _pictures(folder: Path, split: str, others: list[str]) -> list[str]:
    """Sorted paths, relative to the image folder, with ``/`` between their parts.

    What else is there goes to `others`, a folder with ``/`` at its end; hidden files aside.
    """
    found: list[str] = []
    for kind in _visible(folder / split):
        if not kind.is_dir():
            others.append(f"{split}/{kind.name}")
            continue
        before = len(found)
        for item in _visible(folder / split / kind.name):
            path = f"{split}/{kind.name}/{item.name}"
            if item.name.lower().endswith(_SUFFIXES):
                found.append(path)
            else:
                others.append(f"{path}/" if item.is_dir() else path)
        if len(found) == before:
            others.append(f"{split}/{kind.name}/")
    return sorted(found)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError):
        return [item for item in os.scandir(folder) if item.name[0] != "."]
    return []


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
