"""The study's plots as files: PNG at 300 dpi and SVG, keyed by content.

``results/plots/index.json`` holds a digest of each plot as it was drawn. A plot whose digest
differs is stale and rendered again; one that does not is left alone, whatever the dates of the
files are. One that is kept for a column of a paper too has that as ``<name>.column.svg``. A plot
that has nothing to show yet has no files.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go

from scalebook import contract, results
from scalebook.contract import ScalebookError, UsageError
from scalebook.figures import rendering, theme
from scalebook.figures.fitting import COLUMN, WIDE, Size, fit
from scalebook.figures.registry import Registered, build, plots, registered

SUFFIXES = (".png", ".svg")
#: Ends the name of a plot for one column of a paper, of which only the SVG is kept.
NARROW = ".column"
INDEX = "index.json"

#: Raised when the same figure is to be written differently, so that all files are stale.
VERSION = 1


def digest(figure: go.Figure) -> str:
    """Hash of a figure by content: only what can be seen changes it."""
    return results.digest({"version": VERSION, "figure": figure.to_plotly_json()})


# --------------------------------------------------------------------------- files


def folder() -> Path:
    """Where the files lie that are committed."""
    return contract.find_root() / "results" / "plots"


def stale(out: Path | None = None) -> list[str]:
    """Names of plots whose files are missing or show other content than they would now.

    Parameters
    ----------
    out : Path, optional
        Folder of the files; ``results/plots`` of the study where left out.
    """
    out = out or folder()
    index = _index(out)
    with results.one_snapshot():
        return [
            name
            for name, plot in plots().items()
            if any(_is_stale(stem, now, out, index) for stem, now in _digests(name, plot).items())
        ]


def _is_stale(stem: str, now: str, out: Path, index: Mapping[str, str]) -> bool:
    there = [(out / f"{stem}{suffix}").is_file() for suffix in _suffixes(stem)]
    if not now:  # files are of a time when it showed something
        return stem in index or any(there)
    return index.get(stem) != now or not all(there)


def _digests(name: str, plot: Registered) -> dict[str, str]:
    """Digest of each drawing of a plot by the name of its files; empty where it shows nothing."""

    def make() -> dict[str, str]:
        return {
            stem: "" if theme.is_provisional(figure) else digest(figure)
            for stem, figure in _drawings(name)
        }

    return plot.answer(f"plot {name}", make)


def _drawings(name: str) -> Iterator[tuple[str, go.Figure]]:
    """Each drawing of a plot, with the name of its files: the wide one, that for a column."""
    figure = build(name)
    yield name, figure
    if registered()[name].column:
        yield f"{name}{NARROW}", fit(figure, COLUMN)


def _suffixes(stem: str) -> tuple[str, ...]:
    return (".svg",) if stem.endswith(NARROW) else SUFFIXES


def stale_notice() -> str:
    """One line that names stale plots and the command that renders them; empty if none is."""
    # A study that never rendered its plots need not hear that they are old.
    names = stale() if _index(folder()) else []
    if not names:
        return ""
    return f"not current in results/plots: {', '.join(names)}; render them with: scalebook figures"


def _index(out: Path) -> dict[str, Any]:
    try:
        return contract.read_json(out / INDEX)
    except ScalebookError:
        # Missing or damaged: every plot is then stale.
        return {}


def update(names: Sequence[str], out: Path | None = None) -> list[Path]:
    """Write plots as PNG and SVG, each file whole, and note their content.

    Parameters
    ----------
    names : sequence of str
        Figures.
    out : Path, optional
        Folder of the files; ``results/plots`` of the study where left out, which keeps
        `registry.plots` alone.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    UsageError
        If there is no such figure, or the folder does not keep it.
    ScalebookError
        If no browser is there, or it fails, or the folder cannot be written.
    """
    if out is None and (others := [name for name in names if name not in plots()]):
        _refuse(others)
    out = out or folder()
    drawn = dict(drawing for name in names for drawing in _drawings(name))
    for stem in [stem for stem, figure in drawn.items() if theme.is_provisional(figure)]:
        drawn.pop(stem)
        _remove(stem, out)
    if not drawn:
        return []
    if rendering.browser() is None:
        raise ScalebookError(f"figures: not current: {', '.join(names)}; {rendering.NO_BROWSER}")
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


def _refuse(names: Sequence[str]) -> None:
    for name in names:
        build(name)  # which says what there is
    raise UsageError(
        f"{', '.join(names)}: results/plots holds figures of documents; name a folder with --out"
    )


def _write(drawn: Mapping[str, go.Figure], out: Path) -> list[Path]:
    pictures = rendering.render(list(drawn.values()), SUFFIXES)
    written = []
    stems = {*plots(), *(f"{name}{NARROW}" for name, plot in plots().items() if plot.column)}
    for (stem, figure), picture in zip(drawn.items(), pictures):
        for suffix in _suffixes(stem):
            path = out / f"{stem}{suffix}"
            contract.write_whole(path, picture[suffix])
            written.append(path)
        # After its files, so that a crash in between leaves the plot stale.
        index = {key: value for key, value in _index(out).items() if key in stems}
        contract.write_json(out / INDEX, dict(sorted({**index, stem: digest(figure)}.items())))
    return written


def _remove(stem: str, out: Path) -> None:
    """Take away the files of a plot that shows nothing any more."""
    for suffix in _suffixes(stem):
        (out / f"{stem}{suffix}").unlink(missing_ok=True)
    index = _index(out)
    if index.pop(stem, None) is not None:
        contract.write_json(out / INDEX, index)


# --------------------------------------------------------------------------- pictures for pages


class Drawing(NamedTuple):
    """A figure on a printed page: what it shows, where it goes, and its name if it is a plot."""

    figure: go.Figure
    size: Size = WIDE
    name: str = ""


def pictures(
    drawings: Sequence[Drawing], cache: Path, suffix: str, say: Callable[[str], None]
) -> list[Path | None]:
    """Find or draw the picture of each figure of a page.

    It is the committed one of the same content, else one that was drawn before, else one drawn
    now, else the committed one of its name, which is then named as not current.

    Parameters
    ----------
    drawings : sequence of Drawing
        All figures of the page, which are drawn together: starting the browser takes seconds.
    cache : Path
        Folder of pictures that were drawn before.
    suffix : {".svg", ".pdf", ".png"}
        Format of the files; one that is not there as PDF is given as SVG.
    say : callable
        Takes each line that the reader should see.

    Returns
    -------
    list of Path or None
        Files, in order; None for a figure that cannot be shown.
    """
    kept = ".svg" if suffix == ".pdf" else suffix
    committed = {content: folder() / f"{stem}{kept}" for stem, content in _index(folder()).items()}
    fitted = [fit(drawing.figure, drawing.size) for drawing in drawings]
    digests = [digest(figure) for figure in fitted]

    def there(content: str) -> Path | None:
        return _first(committed.get(content), cache / f"{content[:24]}{kept}")

    missing = {
        content: figure for content, figure in zip(digests, fitted) if there(content) is None
    }
    if missing and rendering.browser() is not None:
        try:
            drawn = rendering.render(list(missing.values()), [kept])
            for content, picture in zip(missing, drawn):
                contract.write_whole(cache / f"{content[:24]}{kept}", picture[kept])
        except ScalebookError as error:
            say(f"note: {error}")
    paths = []
    old: dict[str, None] = {}
    for drawing, content in zip(drawings, digests):
        path = there(content)
        if path is None and drawing.name:
            names = (
                [f"{drawing.name}{NARROW}", drawing.name]
                if drawing.size == COLUMN
                else [drawing.name]
            )
            path = _first(*(folder() / f"{name}{kept}" for name in names))
            if drawing.size in (WIDE, COLUMN):
                old[drawing.name] = None
        paths.append(_as_pdf(path, cache, say) if path and suffix == ".pdf" else path)
    if old:
        say(f"not current in results/plots: {', '.join(old)}; render with: scalebook figures")
    if lost := sum(path is None for path in paths):
        say(f"note: {lost} figures are shown in words: no browser to draw them with")
    return paths


def _first(*paths: Path | None) -> Path | None:
    return next((path for path in paths if path is not None and path.is_file()), None)


def _as_pdf(svg: Path, cache: Path, say: Callable[[str], None]) -> Path | None:
    """PDF of an SVG, made once for each content; None where it cannot be made."""
    content = svg.read_bytes()
    target = cache / f"{hashlib.sha256(content).hexdigest()[:24]}.pdf"
    if not target.is_file():
        try:
            contract.write_whole(target, rendering.to_pdf(content))
        except ScalebookError as error:
            say(f"note: {svg.name}: {error}")
            return None
    return target
