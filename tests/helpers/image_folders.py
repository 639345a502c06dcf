"""Image folders made of random pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee")


def pictures(folder: Path, train: int = 6, test: int = 3, size=(8, 8)) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for kind in CLASSES:
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                suffix = "png" if number % 2 else "JPG"
                Image.fromarray(pixels).save(folder / split / kind / f"{number}.{suffix}")
    return folder
