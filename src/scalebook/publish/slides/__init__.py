"""One page of Markdown as a page of the book and as a deck of slides, with its PDF.

`page` is the page, `revealjs` the deck as Sphinx builds it, `deck` the command that does so and
prints it.
"""

from sphinx.application import Sphinx

from scalebook.publish.slides import page, revealjs


def setup(app: Sphinx) -> None:
    """Register what makes a page and a deck of slides."""
    page.setup(app)
    revealjs.setup(app)
