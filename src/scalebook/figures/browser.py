"""Draws figures with a browser: ``python -m scalebook.figures.browser FOLDER SCALE SUFFIX…``.

Reads ``FOLDER/<n>.json`` and writes ``<n>.png`` or ``<n>.svg``, or both, beside each. Started
by `static`, which ends it where the browser does not answer.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(folder: Path, scale: float, suffixes: list[str]) -> None:
    """Draw every figure of a folder; ``SCALE`` is pixels of the PNG for each CSS pixel."""
    import kaleido

    kaleido.start_sync_server(n=1, silence_warnings=True)
    for path in sorted(folder.glob("*.json")):
        figure = json.loads(path.read_text(encoding="utf-8"))
        size = {"width": figure["layout"]["width"], "height": figure["layout"]["height"]}
        for suffix in suffixes:
            kind = {"format": suffix[1:], "scale": scale if suffix == ".png" else 1}
            path.with_suffix(suffix).write_bytes(
                kaleido.calc_fig_sync(figure, opts={**size, **kind})
            )
    kaleido.stop_sync_server(silence_warnings=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
    # Threads of kaleido that still wait for the browser have nothing left to do.
    os._exit(0)
