"""Scalebook: a scaling study you can read, rerun and defend.

The package imports nothing on its own, so that ``scalebook.train`` starts on a
compute node that has torch and torchvision and nothing else. What a notebook calls by the
package's name, `jobs`, `watch` and `pick`, is loaded when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalebook.live import jobs, pick, watch

__version__ = "1.0.0"
__all__ = ["jobs", "pick", "watch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("scalebook.live"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
