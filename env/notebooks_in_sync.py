"""Check notebooks before a commit: python env/notebooks_in_sync.py notebooks/NAME.py [...].

Where a .ipynb lies beside a source, both hold the same cells; a line is printed for each that does
not, and the exit status is 1.
"""

import sys
from pathlib import Path

import jupytext


def cells(path: Path) -> list[tuple[str, str]]:
    """Kind and text of each cell."""
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


wrong = False
for source in map(Path, sys.argv[1:]):
    edited = source.with_suffix(".ipynb")
    if edited.is_file() and cells(edited) != cells(source):
        print(f"{edited} has other cells than {source}: jupytext --to py:percent {edited}")
        wrong = True
sys.exit(wrong)
