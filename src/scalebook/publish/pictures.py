"""Figures for builders that print: sharp pictures of the same drawings.

A figure's picture is the one that `plot_files.pictures` finds or draws, kept in
``_build/scalebook/pictures``, else its words. A figure of class ``column`` is laid out for one
column where the page has two, if it is kept for that (`registry.Registered`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.builders.latex import LaTeXBuilder
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter

from scalebook import contract, figures
from scalebook.contract import ScalebookError
from scalebook.figures import COLUMN, WIDE, Size, rendering
from scalebook.figures.plot_files import Drawing, pictures
from scalebook.publish import pages, plots
from scalebook.publish.latex.tables import layout

PDF, SVG = "application/pdf", "image/svg+xml"
#: Width and height of a figure on a slide by its class, in CSS pixels.
ON_SLIDES = {
    "deck-full": (1160, 500),
    "deck-wide": (1160, 380),
    "deck-half": (570, 400),
    "deck-tall": (570, 500),
}


class StaticPlots(SphinxPostTransform):
    """Put pictures, or else words, in the place of interactive figures on what is printed.

    The builder ``singlehtml`` is Jupyter Book's way to a PDF of the pages (``pdfhtml``); a deck of
    slides has pictures of the size they have on a slide.
    """

    default_priority = 5  # after myst-nb has chosen among the forms of an output, at 4

    def run(self, **kwargs: Any) -> None:
        """Replace every figure of the document."""
        builder = self.app.builder
        found = list(self.document.findall(plots.study_plot))
        interactive = builder.format == "html" and builder.name not in ("singlehtml", pages.DECK)
        if interactive or not found:
            return
        _print_captions(self.document)
        folder = Path(self.app.outdir).parent / "scalebook" / "pictures"
        forms = builder.supported_image_types
        suffix = ".svg" if SVG in forms else ".png"
        if PDF in forms and shutil.which(rendering.CONVERTER):
            suffix = ".pdf"
        drawings = [drawing(plot, _size(plot, builder, self.env.docname)) for plot in found]
        for plot, picture in zip(found, pictures(drawings, folder, suffix, pages.say)):
            if picture is None:
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
        return shutil.which(rendering.CONVERTER) is not None

    def convert(self, _from: str, _to: str) -> bool:
        """Convert a file; Sphinx says so where this returns False."""
        try:
            contract.write_whole(Path(_to), rendering.to_pdf(Path(_from).read_bytes()))
        except ScalebookError as error:
            pages.say(f"note: {Path(_from).name}: {error}")
            return False
        return True


def _print_captions(document: nodes.document) -> None:
    """Put what a page folds away after the message; a caption that the page wrote is whole."""
    for details in list(document.findall(plots.plot_details)):
        legend = details.parent
        figure = legend.parent
        if figure.get("own_caption", True):
            caption = next(figure.findall(nodes.caption))
            caption.append(nodes.Text(f" {details.astext()}"))
        figure.remove(legend)


def _size(plot: plots.study_plot, builder: Builder, page: str) -> Size:
    """Where a figure goes: on a slide, in one of two columns if it asks for that, or across."""
    classes: list[str] = plot.parent.get("classes", []) if plot.parent is not None else []
    if builder.name == pages.DECK:
        sizes = [ON_SLIDES[name] for name in classes if name in ON_SLIDES]
        return figures.slide(*(sizes or [ON_SLIDES["deck-full"]])[0])
    asked = "column" in classes
    kept = figures.plots().get(plot.get("name", ""))
    if not asked or kept is None or not kept.column:
        return WIDE
    if not isinstance(builder, LaTeXBuilder):
        return WIDE
    themes = [entry[4] for entry in builder.document_data if entry[0] == page]
    in_two = bool(themes) and all(layout(builder.themes.get(name)).count == 2 for name in themes)
    return COLUMN if in_two else WIDE


def drawing(plot: plots.study_plot, size: Size) -> Drawing:
    """The figure of a node as it goes to a place."""
    name = plot.get("name", "")
    if name:
        return Drawing(plots.build(name), size, name)
    # In JSON, arrays are encoded: only a figure of the study can be laid out anew.
    shown = json.loads(plot["figure"])
    return Drawing(go.Figure(shown["data"], shown["layout"]), size, name)


def setup(app: Sphinx) -> None:
    """Register the transforms."""
    app.add_post_transform(StaticPlots)
    app.add_post_transform(SvgToPdf)
