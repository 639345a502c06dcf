"""Lets a CPU-only torch use the models of a torchvision that was built for CUDA.

PyPI ships torchvision for Linux as a CUDA build. Its compiled half does not load
beside a CPU-only torch, and ``import torchvision`` then dies with ``operator
torchvision::nms does not exist``, because it describes operators that were
never declared. Declaring them is enough for models, datasets and transforms;
``torchvision.ops.nms`` itself stays unusable. This is the only place that knows.
"""

from __future__ import annotations

import importlib
import importlib.util
import types
from pathlib import Path

import torch

# The declarations live as long as this object does.
_declared: torch.library.Library | None = None


def import_torchvision() -> types.ModuleType:
    """Import torchvision, declaring the operators of its compiled half where that cannot load."""
    global _declared
    if _declared is None and torch.version.cuda is None and not _compiled_half_loads():
        _declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _declared.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")


def _compiled_half_loads() -> bool:
    # find_spec of a top-level name does not run the package.
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: let the import say so
    libraries = sorted(Path(spec.origin).parent.glob("_C*.so"))
    if not libraries:
        return False
    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError:
        return False
    return True
