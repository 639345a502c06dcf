"""Who is looking: a person whose notebook can show widgets, or a program that keeps the output."""

from __future__ import annotations

import sys
from typing import Any


def takes_widgets() -> bool:
    """Whether a notebook in JupyterLab, Notebook 7 or VS Code runs this cell.

    They name the cell in their request. Papermill, nbconvert and the book do not: what they keep
    of a widget is nothing that a page could show.
    """
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    metadata = kernel.get_parent("shell").get("metadata") or {}
    return "cellId" in metadata
