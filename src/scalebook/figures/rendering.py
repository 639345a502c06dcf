"""Figures as pictures: PNG, SVG and PDF in black on white, drawn by a browser.

The browser is driven by a process of its own, ``python -m scalebook.figures.rendering FOLDER
SUFFIX…``: one that starts and then says nothing would otherwise be waited for without end.
"""

import contextlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import psutil
from PIL import Image

from scalebook.contract import ScalebookError
from scalebook.figures import theme

#: Width in print, resolution of a PNG, and its pixels for a CSS pixel.
WIDTH_IN, DPI = 6.5, 300
SCALE = WIDTH_IN * DPI / theme.WIDTH

#: Programs that can draw for kaleido, in order of preference; the one that turns SVG into PDF.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CONVERTER = "rsvg-convert"

#: Longest a browser may take for all figures together, and the converter for one, in seconds.
TIMEOUT_S, CONVERTER_TIMEOUT_S = 120, 60

NO_BROWSER = "no browser to render PNG and SVG with: install chromium, or set BROWSER_PATH"


def browser() -> str | None:
    """Program that draws for kaleido: ``BROWSER_PATH``, else the first on the PATH."""
    named = os.environ.get("BROWSER_PATH")
    if named:
        return named if os.access(named, os.X_OK) else None
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def render(drawn: Sequence[go.Figure], suffixes: Sequence[str]) -> list[dict[str, bytes]]:
    """Draw figures, all from one browser.

    Parameters
    ----------
    drawn : sequence of Figure
        Laid out for their place, as by `fitting.fit`.
    suffixes : sequence of {".png", ".svg", ".pdf"}
        In which formats.

    Returns
    -------
    list of dict
        For each figure its content by suffix.

    Raises
    ------
    ScalebookError
        If there is no browser, or a program fails.
    """
    program = browser()
    if program is None:
        raise ScalebookError(f"figures: {NO_BROWSER}")
    asked = sorted({".svg" if suffix == ".pdf" else suffix for suffix in suffixes})
    with tempfile.TemporaryDirectory(prefix="scalebook-figures-") as name:
        work = Path(name)
        for number, figure in enumerate(drawn):
            (work / f"{number}.json").write_text(printed(figure).to_json(), encoding="utf-8")
        command = [sys.executable, "-m", __name__, name, *asked]
        problem = _cannot_start(program) or _run(command, {**os.environ, "BROWSER_PATH": program})
        try:
            return [
                {suffix: _content(work / f"{number}{suffix}", figure) for suffix in suffixes}
                for number, figure in enumerate(drawn)
            ]
        except FileNotFoundError:
            raise ScalebookError(
                f"figures: {program} could not render ({problem}): install another browser, or "
                "set BROWSER_PATH"
            ) from None


def printed(figure: go.Figure) -> go.Figure:
    """The same drawing in black on white, as large as it is laid out."""
    copy = go.Figure(figure)
    letters = copy.layout.template.layout.font.size or theme.LETTERS
    copy.update_layout(
        template=theme.template(letters, theme.INK, "#ffffff"),
        width=copy.layout.width or theme.WIDTH,
        height=copy.layout.height or theme.HEIGHT,
        autosize=False,
    )
    return copy


def to_pdf(svg: bytes) -> bytes:
    """PDF of an SVG.

    Raises
    ------
    ScalebookError
        If the converter is not there, or fails.
    """
    command = [CONVERTER, "--format=pdf", "--unlimited"]
    try:
        done = subprocess.run(
            command, input=svg, capture_output=True, timeout=CONVERTER_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ScalebookError(f"{CONVERTER} cannot convert it ({error})") from None
    return done.stdout


# --------------------------------------------------------------------------- the browser


def _cannot_start(program: str) -> str:
    """Why a browser does not start; kaleido would wait for a dead one."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT_S} s"
    except OSError as error:
        return str(error)
    return f"exit status {done.returncode}" if done.returncode else ""


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


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all it started, which have sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for running in (*root.children(recursive=True), root):
            with contextlib.suppress(psutil.NoSuchProcess):
                running.kill()
    process.wait()


def _draw_folder(folder: Path, suffixes: list[str]) -> None:
    """Draw each figure of a folder, ``<n>.json``."""
    import kaleido  # takes its time, and only this process needs it

    kaleido.start_sync_server(n=1, silence_warnings=True)
    for path in sorted(folder.glob("*.json")):
        figure = json.loads(path.read_text(encoding="utf-8"))
        size = {"width": figure["layout"]["width"], "height": figure["layout"]["height"]}
        for suffix in suffixes:
            kind = {"format": suffix[1:], "scale": SCALE if suffix == ".png" else 1}
            path.with_suffix(suffix).write_bytes(
                kaleido.calc_fig_sync(figure, opts={**size, **kind})
            )
    kaleido.stop_sync_server(silence_warnings=True)


# --------------------------------------------------------------------------- its pictures


def _content(path: Path, figure: go.Figure) -> bytes:
    """Picture of a figure in the format of its name, from what the browser drew."""
    if path.suffix == ".png":
        return _with_dpi(path.read_bytes())
    svg = _with_text(path.with_suffix(".svg").read_bytes(), figure)
    return to_pdf(svg) if path.suffix == ".pdf" else svg


def _with_dpi(png: bytes) -> bytes:
    """The same picture, without an alpha channel, that says its size in print."""
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
    return _DRAWN_NAME.sub(lambda match: names.setdefault(match[0], b"%06d" % len(names)), svg)


if __name__ == "__main__":
    _draw_folder(Path(sys.argv[1]), sys.argv[2:])
    # Threads of kaleido that still wait for the browser have nothing left to do.
    os._exit(0)
