"""Figures for builders that print: sharp pictures of the same drawings.

A figure's picture is the committed one in ``results/plots`` whose content is the same, else
one drawn by the browser and kept in ``_build/scalebook/pictures``, else the committed one of
its name, which is then named as not current, else its words. A figure of class ``column``
is drawn for one column where the page has two, if it has such a layout (`figures.COLUMN`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter

from scalebook import contract
from scalebook.contract import ScalebookError
from scalebook.publish import messages, plots
from scalebook.publish.latex.tables import layout

PDF, SVG = "application/pdf", "image/svg+xml"
#: Program that turns SVG into PDF.
CONVERTER = "rsvg-convert"
TIMEOUT_S = 60


class StaticPlots(SphinxPostTransform):
    """Put pictures, or else words, in the place of interactive figures on what is printed.

    The builder ``singlehtml`` is Jupyter Book's way to a PDF of the pages (``pdfhtml``).
    """

    default_priority = 5  # after myst-nb has chosen among the forms of an output, at 4

    def run(self, **kwargs: Any) -> None:
        """Replace every figure of the document."""
        builder = self.app.builder
        found = list(self.document.findall(plots.study_plot))
        if (builder.format == "html" and builder.name != "singlehtml") or not found:
            return
        folder = Path(self.app.outdir).parent / "scalebook" / "pictures"
        forms = builder.supported_image_types
        narrow = {plot for plot in found if _is_in_column(plot, builder, self.env.docname)}
        for plot, picture in zip(found, _svgs(found, narrow, folder, Path(self.app.srcdir))):
            if picture is not None and PDF in forms and shutil.which(CONVERTER):
                picture = to_pdf(picture, folder)
            elif picture is not None and SVG not in forms:
                picture = _png(picture)
            if picture is None or not picture.is_file():
                plot.replace_self(nodes.paragraph("", "", nodes.emphasis(text=plot["alt"])))
                continue
            uri = os.path.relpath(picture, self.app.srcdir).replace(os.sep, "/")
            self.env.images.add_file(self.env.docname, uri)
            image = nodes.image(uri=uri, candidates={"*": uri}, alt=plot["alt"], sb_plot=True)
            plot.replace_self(image)


class SvgToPdf(ImageConverter):
    """Other SVG pictures of a page, for builders that take PDF."""

    conversion_rules = [(SVG, PDF)]  # noqa: RUF012 - Sphinx declares it so

    def is_available(self) -> bool:
        """Whether the converter is there."""
        return shutil.which(CONVERTER) is not None

    def convert(self, _from: str, _to: str) -> bool:
        """Convert a file; Sphinx says so where this returns False."""
        return _convert(Path(_from), Path(_to))


def _is_in_column(plot: plots.study_plot, builder: Builder, page: str) -> bool:
    """Whether a figure is printed in one of two columns, and has a layout for that."""
    from scalebook import figures

    asked = plot.parent is not None and "column" in plot.parent.get("classes", [])
    if not asked or plot.get("name") not in figures.COLUMN:
        return False
    themes = [entry[4] for entry in getattr(builder, "document_data", ()) if entry[0] == page]
    return bool(themes) and all(layout(builder.themes.get(name)).count == 2 for name in themes)


def _svgs(
    found: list[plots.study_plot], narrow: set[plots.study_plot], folder: Path, root: Path
) -> list[Path | None]:
    """SVG of each figure; drawn together, because starting the browser takes seconds."""
    import plotly.graph_objects as go

    from scalebook import figures
    from scalebook.figures import static

    committed = root / "results" / "plots"
    try:
        index = contract.read_json(committed / static.INDEX)
    except ScalebookError:
        index = {}
    named = {digest: committed / f"{name}.svg" for name, digest in index.items()}
    drawn = [
        figures.build(plot["name"], narrow=True)
        if plot in narrow
        else go.Figure(json.loads(plot["figure"]))
        for plot in found
    ]
    digests = [static.digest(figure) for figure in drawn]
    current = {digest: _first(named.get(digest), folder / f"{digest[:24]}.svg")
               for digest in digests}  # fmt: skip
    missing = {d: figure for d, figure in zip(digests, drawn) if current[d] is None}
    if missing and static.browser() is not None:
        try:
            for digest, svg in zip(missing, static.svgs(list(missing.values()))):
                path = folder / f"{digest[:24]}.svg"
                contract.write_whole(path, svg)
                current[digest] = path
        except ScalebookError as error:
            messages.say(f"note: {error}")
    pictures, stale = [], []
    for plot, digest in zip(found, digests):
        name = plot.get("name", "")
        picture = current[digest]
        if picture is None and name:
            stems = [name + static.COLUMN, name] if plot in narrow else [name]
            picture = _first(*(committed / f"{stem}.svg" for stem in stems))
            stale.append(name)
        pictures.append(picture)
    if stale:
        names = ", ".join(dict.fromkeys(stale))
        messages.say(f"not current in results/plots: {names}; render with: scalebook figures")
    if lost := sum(picture is None for picture in pictures):
        messages.say(f"note: {lost} figures are shown in words: no browser to draw them with")
    return pictures


def _png(svg: Path) -> Path:
    """PNG beside an SVG; that of the wide drawing for one in a column, which has none."""
    from scalebook.figures import static

    return svg.with_name(f"{svg.stem.removesuffix(static.COLUMN)}.png")


def _first(*paths: Path | None) -> Path | None:
    return next((path for path in paths if path is not None and path.is_file()), None)


def to_pdf(svg: Path, folder: Path) -> Path | None:
    """PDF of an SVG, made once for each content; None where it cannot be made."""
    target = folder / f"{hashlib.sha256(svg.read_bytes()).hexdigest()[:24]}.pdf"
    return target if target.is_file() or _convert(svg, target) else None


def _convert(svg: Path, target: Path) -> bool:
    command = [CONVERTER, "--format=pdf", "--unlimited", str(svg)]
    try:
        said = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        messages.say(f"note: {svg.name}: {CONVERTER} cannot convert it ({error})")
        return False
    contract.write_whole(target, said.stdout)
    return True


def setup(app: Sphinx) -> None:
    """Register the transforms."""
    app.add_post_transform(StaticPlots)
    app.add_post_transform(SvgToPdf)
