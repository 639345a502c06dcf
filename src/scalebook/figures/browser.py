"""Draws figures with a browser: ``python -m scalebook.figures.browser FOLDER SCALE``.

Reads ``FOLDER/<n>.json`` and writes ``<n>.png`` and ``<n>.svg`` beside each. Started
by `static`, which ends it where the browser does not answer.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(folder: Path, scale: float) -> None:
    """Draw every figure of a folder; ``SCALE`` is pixels of the PNG for each CSS pixel."""
    import kaleido

    kaleido.start_sync_server(n=1, silence_warnings=True)
    for path in sorted(folder.glob("*.json")):
        figure = json.loads(path.read_text(encoding="utf-8"))
        size = {"width": figure["layout"]["width"], "height": figure["layout"]["height"]}
        for suffix, scaled in (("png", scale), ("svg", 1)):
            image = kaleido.calc_fig_sync(figure, opts={**size, "format": suffix, "scale": scaled})
            path.with_suffix(f".{suffix}").write_bytes(image)
    kaleido.stop_sync_server(silence_warnings=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
    # Threads of kaleido that still wait for the browser have nothing left to do.
    os._exit(0)
