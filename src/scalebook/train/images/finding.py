"""Which images a run takes: the official CIFAR-10 files, an image folder, or generated ones.

The one rule for whatever trains: where ``auto`` finds none it asks for CIFAR-10 once, else takes
generated ones and says so; whoever asks for images by name gets those or none.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalebook.contract import ScalebookError
from scalebook.train.images import download
from scalebook.train.images.cifar10 import OfficialBatches
from scalebook.train.images.imagefolder import ImageFolder, is_image_folder
from scalebook.train.images.source import Source
from scalebook.train.settings import DatasetSettings

#: How somebody at a terminal asks for generated images.
FLAG = "--set dataset=synthetic"


class NoImages(ScalebookError):
    """The images that a run asks for are not there."""


def settle(
    document: dict[str, Any], root: Path, say: Callable[[str], None], generated: str = FLAG
) -> dict[str, Any]:
    """Make sure of the images of a run, before it starts.

    Parameters
    ----------
    document : dict
        The resolved experiment.
    root : Path
        The study's folder.
    say : callable
        Told what lies among the images and is left out, and that CIFAR-10 is asked for.
    generated : str
        How whoever reads an error asks for generated images.

    Returns
    -------
    dict
        `document`, with ``dataset.generated`` where generated images have to do.

    Raises
    ------
    ScalebookError
        As `find`, unless ``auto`` found nothing.
    """
    settings = DatasetSettings(**document["dataset"])
    try:
        if left_out := find(settings, root, generated).left_out:
            say(left_out.text)
    except NoImages:
        if settings.source != "auto":
            raise
        say(f"no images in {settings.dir}: asking for CIFAR-10, 170 MB")
        if problem := _download(root / settings.dir):
            why = f"no images in {settings.dir}, and {problem}"
            return {**document, "dataset": {**document["dataset"], "generated": why}}
    return document


@functools.cache
def _download(data_dir: Path) -> str:
    """Ask for CIFAR-10, once in a process; why it cannot be had, or nothing."""
    try:
        download.get(data_dir)
    except ScalebookError as error:
        return str(error).partition(f": {download.ELSEWHERE}")[0]
    return ""


def find(settings: DatasetSettings, root: Path, generated: str = FLAG) -> Source:
    """Find the images that a run asks for.

    Parameters
    ----------
    settings : DatasetSettings
        With ``source`` one of ``auto``, ``cifar10``, ``folder`` and ``synthetic``.
    root : Path
        The study's folder; ``settings.dir`` is relative to it.
    generated : str
        How whoever reads an error asks for generated images.

    Raises
    ------
    NoImages
        One line: nothing there.
    ScalebookError
        One line: several candidates.
    """
    data_dir, shown = root / settings.dir, settings.dir.rstrip("/")
    batches = data_dir / download.FOLDER
    none = f"get them with `scalebook data get`, or take generated ones with {generated}"
    if settings.source == "synthetic" or settings.generated:
        from scalebook.train.images.synthetic import Synthetic  # with torch: launchers do without

        return Synthetic(settings.train_images, settings.val_images)
    if settings.source in ("auto", "cifar10") and batches.is_dir():
        return OfficialBatches(batches)
    if settings.source == "cifar10":
        raise NoImages(f"{shown}/{download.FOLDER}: no CIFAR-10 there: {none}")
    candidates = [""] if is_image_folder(data_dir) else []
    if not candidates and data_dir.is_dir():
        names = sorted(entry.name for entry in os.scandir(data_dir) if entry.name[0] != ".")
        candidates = [name for name in names if is_image_folder(data_dir / name)]
    if settings.source == "auto" and "cifar10-images" in candidates:
        candidates = ["cifar10-images"]
    if not candidates:
        if settings.source == "folder":  # somebody's own images, which nothing can get
            # Not `<name>/…`: what a manifest keeps of this must not look like a path from the root.
            none = (
                f"put them into {shown}/NAME/train/CLASS/ and {shown}/NAME/test/CLASS/ as JPEG or "
                f"PNG, or take generated ones with {generated}"
            )
        raise NoImages(f"{shown}: holds no images: {none}")
    if len(candidates) > 1:
        raise ScalebookError(
            f"{shown}: holds several image folders ({', '.join(candidates)}): choose one, as "
            f"--set dataset=folder --set data_dir={shown}/{candidates[0]}"
        )
    name = candidates[0]
    return ImageFolder(data_dir / name, f"{shown}/{name}".rstrip("/"))
