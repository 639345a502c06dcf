"""The study's figures as files: PNG at 300 dpi and SVG, keyed by content.

``results/plots/index.json`` holds a digest of each figure as it was drawn. A
figure whose digest differs is stale and rendered again; one that does not is
left alone, whatever the dates of the files are. A figure with a layout for one
column of a paper has that as ``<name>.column.svg`` too. A figure that has
nothing to show yet has no files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import psutil

from scalebook import contract, figures
from scalebook.contract import ScalebookError
from scalebook.figures import column, theme

#: Width in print, and resolution of the PNG.
WIDTH_IN, DPI = 6.5, 300
SUFFIXES = (".png", ".svg")
#: Ends the name of a drawing for one column of a paper, of which only the SVG is kept.
COLUMN = ".column"
INDEX = "index.json"

#: Of a figure that names none, in CSS pixels.
HEIGHT = 420

#: Longest a browser may take for all figures together, in seconds.
TIMEOUT_S = 120

#: Raised when the same figure is to be written differently, so that all files are stale.
VERSION = 1

#: Programs that can draw for kaleido, in order of preference.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_NO_BROWSER = "no browser to render PNG and SVG with: install chromium, or set BROWSER_PATH"

# --------------------------------------------------------------------------- content


def digest(figure: go.Figure) -> str:
    """Hash of a figure by content, as hexadecimal sha256.

    Arrays are decoded from whichever encoding plotly chose, and numbers count
    at 6 significant digits, so that only what can be seen changes the digest.
    """
    content = {"version": VERSION, "figure": canonical(figure.to_plotly_json())}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> Any:
    """Plain lists, strings and rounded numbers in place of whatever holds them."""
    if isinstance(value, Mapping):
        if set(value) >= {"bdata", "dtype"}:
            return canonical(_decode(value))
        return {str(key): canonical(inner) for key, inner in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, (int, float, np.number)):
        number = float(value)
        if not math.isfinite(number):
            return None if math.isnan(number) else str(number)
        number = float(f"{number:.6g}")
        return int(number) if number.is_integer() else number
    if isinstance(value, np.bool_):
        return bool(value)
    if hasattr(value, "tolist"):
        return canonical(value.tolist())
    if isinstance(value, Iterable):
        return [canonical(inner) for inner in value]
    return str(value)


def _decode(array: Mapping[str, Any]) -> np.ndarray:
    """Typed array as plotly.js takes it: base64 of little-endian numbers."""
    data = array["bdata"]
    data = data if isinstance(data, (bytes, bytearray)) else base64.b64decode(data)
    decoded = np.frombuffer(data, dtype=np.dtype(array["dtype"]).newbyteorder("<"))
    shape = array.get("shape")
    if shape:
        sizes = shape.split(",") if isinstance(shape, str) else shape
        decoded = decoded.reshape([int(size) for size in sizes])
    return decoded


def stale(out: Path | None = None) -> list[str]:
    """Names of figures whose files are missing or show other content than they would now.

    Parameters
    ----------
    out : Path, optional
        Folder of the files; ``results/plots`` of the study where left out.
    """
    out = out or folder()
    known = _index(out)
    return [
        name
        for name in figures.FIGURES
        if any(_is_stale(stem, figure, out, known) for stem, figure in _drawings(name))
    ]


def _is_stale(stem: str, figure: go.Figure, out: Path, known: Mapping[str, Any]) -> bool:
    there = [(out / f"{stem}{suffix}").is_file() for suffix in _suffixes(stem)]
    if theme.is_empty(figure):  # files are of a time when it showed something
        return stem in known or any(there)
    return known.get(stem) != digest(figure) or not all(there)


def _drawings(name: str) -> Iterator[tuple[str, go.Figure]]:
    """Each drawing of a figure, with the name of its files: the wide one, that for a column."""
    yield name, figures.build(name)
    if name in figures.COLUMN:
        yield f"{name}{COLUMN}", figures.build(name, narrow=True)


def _suffixes(stem: str) -> tuple[str, ...]:
    return (".svg",) if stem.endswith(COLUMN) else SUFFIXES


def stale_notice(out: Path | None = None) -> str:
    """One line that names stale figures and the command that renders them; empty if none is."""
    names = stale(out)
    if not names:
        return ""
    return f"not current in results/plots: {', '.join(names)}; render them with: scalebook figures"


def folder() -> Path:
    """Where the files lie that are committed."""
    return contract.find_root() / "results" / "plots"


def _index(out: Path) -> dict[str, Any]:
    try:
        return contract.read_json(out / INDEX)
    except ScalebookError:
        # Missing or damaged: every figure is then stale.
        return {}


# --------------------------------------------------------------------------- rendering


def browser() -> str | None:
    """Program that draws for kaleido: ``BROWSER_PATH``, else the first on the PATH."""
    named = os.environ.get("BROWSER_PATH")
    if named:
        return named if os.access(named, os.X_OK) else None
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def render(names: Iterable[str] | None = None, out: Path | None = None) -> list[Path]:
    """Write figures as PNG and SVG, each file whole, and note their content.

    Parameters
    ----------
    names : iterable of str, optional
        Which of `figures.FIGURES`; the stale ones where left out.
    out : Path, optional
        Folder of the files; ``results/plots`` of the study where left out.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    UsageError
        If there is no such figure.
    ScalebookError
        If no browser is there, or it fails, or the folder cannot be written.
    """
    out = out or folder()
    names = stale(out) if names is None else list(names)
    drawn = dict(drawing for name in names for drawing in _drawings(name))
    for stem in [stem for stem, figure in drawn.items() if theme.is_empty(figure)]:
        drawn.pop(stem)
        _remove(stem, out)
    if not drawn:
        return []
    if browser() is None:
        raise ScalebookError(f"figures: not current: {', '.join(names)}; {_NO_BROWSER}")
    # Before the browser is asked, which takes its time.
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise ScalebookError(f"{there}: is no folder that can be written; name another with --out")
    try:
        return _write(drawn, out)
    except OSError as error:
        raise ScalebookError(
            f"{error.filename or out}: cannot be written ({error.strerror}); name another folder "
            "with --out"
        ) from None


def _write(drawn: Mapping[str, go.Figure], out: Path) -> list[Path]:
    images = _images(list(drawn.values()))
    written = []
    stems = {*figures.FIGURES, *(f"{name}{COLUMN}" for name in figures.COLUMN)}
    for (stem, figure), (png, svg) in zip(drawn.items(), images):
        for suffix in _suffixes(stem):
            path = out / f"{stem}{suffix}"
            content = _with_dpi(png) if suffix == ".png" else _with_text(svg, figure)
            contract.write_whole(path, content)
            written.append(path)
        # After its files, so that a crash in between leaves the figure stale.
        index = {key: value for key, value in _index(out).items() if key in stems}
        contract.write_json(out / INDEX, dict(sorted({**index, stem: digest(figure)}.items())))
    return written


def _remove(stem: str, out: Path) -> None:
    """Take away the files of a figure that shows nothing any more."""
    for suffix in _suffixes(stem):
        (out / f"{stem}{suffix}").unlink(missing_ok=True)
    index = _index(out)
    if index.pop(stem, None) is not None:
        contract.write_json(out / INDEX, index)


def svgs(drawn: list[go.Figure]) -> list[bytes]:
    """SVG of any figures, in print, from one browser for all.

    Raises
    ------
    ScalebookError
        If no browser is there, or it fails.
    """
    return [_with_text(svg, figure) for figure, (svg,) in zip(drawn, _images(drawn, (".svg",)))]


def for_print(figure: go.Figure) -> go.Figure:
    """The same drawing in black on white, at its printed width unless it names its own."""
    copy = go.Figure(figure)
    height = copy.layout.height or HEIGHT
    width = copy.layout.width or theme.WIDTH
    template = theme.COLUMN if column.is_narrow(copy) else theme.PRINT
    copy.update_layout(template=template, width=width, height=height, autosize=False)
    return copy


def _images(
    drawn: list[go.Figure], suffixes: tuple[str, ...] = SUFFIXES
) -> list[tuple[bytes, ...]]:
    """Each figure in each format, from one browser for all.

    The browser is driven by a process of its own: one that starts and then says
    nothing would otherwise be waited for without end.
    """
    program = browser()
    if program is None:
        raise ScalebookError(f"figures: {_NO_BROWSER}")
    with tempfile.TemporaryDirectory(prefix="scalebook-figures-") as name:
        work = Path(name)
        for position, figure in enumerate(map(for_print, drawn)):
            (work / f"{position}.json").write_text(figure.to_json(), encoding="utf-8")
        scale = WIDTH_IN * DPI / theme.WIDTH
        command = [sys.executable, "-m", "scalebook.figures.browser", name, f"{scale!r}",
                   *suffixes]  # fmt: skip
        said = _run(command, {**os.environ, "BROWSER_PATH": program})
        try:
            return [
                tuple((work / f"{i}{suffix}").read_bytes() for suffix in suffixes)
                for i in range(len(drawn))
            ]
        except FileNotFoundError:
            raise ScalebookError(
                f"figures: {program} could not render ({said}): install another browser, or set "
                "BROWSER_PATH"
            ) from None


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Run to the end, or to `TIMEOUT_S`, with all its children; return what went wrong."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = process.communicate(timeout=TIMEOUT_S)[1].strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {process.returncode}"
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT_S} s"
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """End a process and all it started, which have sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for one in (*root.children(recursive=True), root):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def _with_dpi(png: bytes) -> bytes:
    """The same picture, without an alpha channel, that says its size in print."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
        buffer = io.BytesIO()
        flat.save(buffer, format="PNG", dpi=(DPI, DPI), optimize=True)
    return buffer.getvalue()


def _with_text(svg: bytes, figure: go.Figure) -> bytes:
    """The same picture with a title and a description, for a reader who cannot see it."""
    meta = figure.layout.meta or {}
    title = figure.layout.title.text or meta.get("title", "")
    start = svg.find(b"<svg")
    end = svg.find(b">", start) + 1
    if start < 0 or end <= 0:
        raise ScalebookError("figures: the browser returned no SVG")
    text = f"<title>{html.escape(title)}</title><desc>{html.escape(meta.get('alt', ''))}</desc>"
    return svg[:end] + text.encode() + _with_settled_names(svg[end:])


#: Names that plotly draws by lot: of a picture, a trace, a pattern.
_DRAWN_NAME = re.compile(
    rb"(?<=clip)[0-9a-f]{6}(?=\w*[xy])|(?<=defs-)[0-9a-f]{6}|(?<=legend)[0-9a-f]{6}"
    rb"|(?<=[ \"]trace)[0-9a-f]{6}(?=[ \"])|(?<=trace scatter trace)[0-9a-f]{6}"
    rb"|(?<=[\"#]p)[0-9a-f]{6}(?=-)|(?<=-)[0-9a-f]{6}(?=[\"')])"
)


def _with_settled_names(svg: bytes) -> bytes:
    """The same picture with names that do not change from one drawing to the next."""
    names: dict[bytes, bytes] = {}
    return _DRAWN_NAME.sub(lambda one: names.setdefault(one[0], b"%06d" % len(names)), svg)
