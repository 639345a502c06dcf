"""Parts of a document in their places: each page's references on it, the appendix at the end."""

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinxcontrib.bibtex.domain import BibtexDomain

from scalebook.publish.latex import documents


class reference_list(nodes.General, nodes.Element):
    """A page's list of references; Sphinx would gather those of all pages at the end."""


class reference(nodes.General, nodes.Element):
    """One of them. Attributes: ``label`` and ``target``."""


class AppendixLast(SphinxPostTransform):
    """Move the pages of the appendix behind all others."""

    default_priority = 1
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Move each page and mark the first."""
        pages = list(self.document.findall(addnodes.start_of_file))
        appendix = documents.appendix_pages(self.env)
        last = [page for page in pages if page["docname"] in appendix]
        if not last or len(last) == len(pages):
            return
        end = next(page for page in reversed(pages) if page not in last)
        for page in last:
            page.parent.remove(page)
            end.parent.append(page)
        last[0]["appendix"] = True


class FreshCitations(SphinxPostTransform):
    """Empty the entries that an earlier document of the same build has filled."""

    default_priority = 3  # before sphinxcontrib-bibtex fills them, at 5
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Empty all: those of this document are filled next."""
        domain = self.env.domains.get("cite")
        if isinstance(domain, BibtexDomain):
            for bibliography in domain.bibliographies.values():
                for node in bibliography.citation_nodes.values():
                    node.clear()


class ListsInPlace(SphinxPostTransform):
    """Turn each run of citations into a list of references in its own place."""

    default_priority = 740  # before Sphinx gathers citations, at 750
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Wrap the citations of each parent."""
        parents: dict[int, nodes.Element] = {}
        for citation in self.document.findall(nodes.citation):
            parents.setdefault(id(citation.parent), citation.parent)
        for parent in parents.values():
            citations = [node for node in parent.children if isinstance(node, nodes.citation)]
            listed = reference_list()
            for citation in citations:
                target = f"{citation['docname']}:{citation['ids'][0]}"
                label = citation[0].astext()
                listed += reference("", *citation.children[1:], label=label, target=target)
            if isinstance(parent, nodes.container) and len(citations) == len(parent.children):
                parent.replace_self(listed)
                continue
            parent.insert(parent.index(citations[0]), listed)
            for citation in citations:
                parent.remove(citation)


def setup(app: Sphinx) -> None:
    """Register the transforms."""
    app.add_post_transform(AppendixLast)
    app.add_post_transform(FreshCitations)
    app.add_post_transform(ListsInPlace)
