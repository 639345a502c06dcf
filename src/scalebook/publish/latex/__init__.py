"""PDFs of a study: its documents through Sphinx's LaTeX builder and XeLaTeX.

A page names the document that begins with it in its front matter, ``pdf: CLASS``; plain
``jb build . --builder pdflatex`` then leaves each as ``_build/latex/<name>.pdf``.
`documents` says what there is and sets it up, `writer` writes the LaTeX, `tables` sees to
tables that fit, ``themes/`` holds a class for each kind of document, `tex` reads what TeX
complains about.
"""

from sphinx.application import Sphinx

from scalebook.publish.latex import documents, references, writer


def setup(app: Sphinx) -> None:
    """Register configuration, translator and transforms."""
    documents.setup(app)
    references.setup(app)
    app.set_translator("latex", writer.Translator, override=True)
