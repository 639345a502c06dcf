"""Which images a run takes: the official CIFAR-10 files, an image folder, or generated ones."""

from __future__ import annotations

import os
from pathlib import Path

from scalebook.contract import ScalebookError
from scalebook.train.images import download
from scalebook.train.images.cifar10 import OfficialBatches
from scalebook.train.images.imagefolder import ImageFolder, is_image_folder
from scalebook.train.images.source import Source
from scalebook.train.images.synthetic import Synthetic
from scalebook.train.settings import DatasetSettings


def find(settings: DatasetSettings, root: Path) -> Source:
    """Find the images that a run asks for.

    Parameters
    ----------
    settings : DatasetSettings
        With ``source`` one of ``auto``, ``cifar10``, ``folder`` and ``synthetic``.
    root : Path
        The study's folder; ``settings.dir`` is relative to it.

    Raises
    ------
    ScalebookError
        One line: nothing there, or several candidates.
    """
    data_dir, shown = root / settings.dir, settings.dir.rstrip("/")
    batches = data_dir / download.FOLDER
    none = "get them with `scalebook data get`, or take generated ones with --set dataset=synthetic"
    if settings.source == "synthetic":
        return Synthetic(settings.train_images, settings.val_images)
    if settings.source in ("auto", "cifar10") and batches.is_dir():
        return OfficialBatches(batches)
    if settings.source == "cifar10":
        raise ScalebookError(f"{shown}/{download.FOLDER}: no CIFAR-10 there: {none}")
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
                "PNG, or take generated ones with --set dataset=synthetic"
            )
        raise ScalebookError(f"{shown}: holds no images: {none}")
    if len(candidates) > 1:
        raise ScalebookError(
            f"{shown}: holds several image folders ({', '.join(candidates)}): choose one, as "
            f"--set dataset=folder --set data_dir={shown}/{candidates[0]}"
        )
    name = candidates[0]
    return ImageFolder(data_dir / name, f"{shown}/{name}".rstrip("/"))
