"""HTML that a notebook showed, as nodes that every builder can write."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

_INLINE = {"em": nodes.emphasis, "i": nodes.emphasis, "strong": nodes.strong, "b": nodes.strong,
           "code": nodes.literal, "kbd": nodes.literal, "sub": nodes.subscript,
           "sup": nodes.superscript}  # fmt: skip
_BLOCKS = {"p": nodes.paragraph, "ul": nodes.bullet_list, "ol": nodes.enumerated_list,
           "li": nodes.list_item, "blockquote": nodes.block_quote}  # fmt: skip
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "summary", "caption", "dt"})
_DROPPED = frozenset({"script", "style", "svg", "button", "template", "noscript", "select"})
_CELLS = frozenset({"td", "th"})


class _Reader(HTMLParser):
    """Builds nodes as it reads; what it does not know shows its words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.top = nodes.Element()
        self.stack: list[tuple[str, nodes.Element]] = [("", self.top)]
        self.dropped = 0

    @property
    def here(self) -> nodes.Element:
        return self.stack[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self.dropped += 1
        if self.dropped:
            return
        if tag == "br":
            self._text(" ")
        elif tag in _INLINE:
            self._inside(tag, _INLINE[tag](), inline=True)
        elif tag == "a":
            address = dict(attrs).get("href") or ""
            outside = address.startswith(("https://", "http://"))
            node = nodes.reference(refuri=address) if outside else nodes.inline()
            self._inside(tag, node, inline=True)
        elif tag in _HEADINGS:
            self._inside(tag, nodes.paragraph())
            self._inside(f"{tag}/", nodes.strong(), inline=True)
        elif tag in _BLOCKS:
            self._inside(tag, _BLOCKS[tag]())
        elif tag == "pre":
            self._inside(tag, nodes.literal_block(language="none"))
        elif tag == "table":
            self._inside(tag, nodes.table(classes=["sb-output"]))
        elif tag in ("thead", "tbody", "tr"):
            self._inside(tag, nodes.Element(kind=tag))
        elif tag in _CELLS:
            self._inside(tag, nodes.entry())

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self.dropped = max(0, self.dropped - 1)
            return
        names = [name for name, _ in self.stack]
        if tag not in names[1:]:
            return
        while True:
            name, node = self.stack.pop()
            if name == "table":
                _finish_table(node)
            elif name == "pre":
                node.rawsource = node.astext()
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self.dropped:
            self._text(data)

    def _inside(self, name: str, node: nodes.Element, inline: bool = False) -> None:
        if inline:
            self._into_paragraph()
        elif isinstance(self.here, nodes.TextElement) and len(self.stack) > 1:
            # A block ends the paragraph that stands before it.
            while isinstance(self.here, nodes.TextElement):
                self.stack.pop()
        self.here.append(node)
        self.stack.append((name, node))

    def _into_paragraph(self) -> None:
        if not isinstance(self.here, nodes.TextElement):
            paragraph = nodes.paragraph()
            self.here.append(paragraph)
            self.stack.append(("p", paragraph))

    def _text(self, data: str) -> None:
        if isinstance(self.here, nodes.literal_block):
            self.here.append(nodes.Text(data))
            return
        words = " ".join(data.split())
        if not words:
            if isinstance(self.here, nodes.TextElement) and len(self.here):
                self.here.append(nodes.Text(" "))
            return
        self._into_paragraph()
        before = " " if data[:1].isspace() and len(self.here) else ""
        after = " " if data[-1:].isspace() else ""
        self.here.append(nodes.Text(f"{before}{words}{after}"))


def _finish_table(table: nodes.Element) -> None:
    """Put the rows read into the groups that docutils wants; a table without rows goes."""
    rows: list[tuple[bool, list[nodes.entry]]] = []
    for row in [one for one in table.findall(nodes.Element) if one.get("kind") == "tr"]:
        cells = [cell for cell in row.children if isinstance(cell, nodes.entry)]
        head = row.parent.get("kind") == "thead"
        rows += [(head, cells)] if cells else []
    titles = [one for one in table.children if isinstance(one, nodes.paragraph)]
    table.clear()
    width = max((len(cells) for _, cells in rows), default=0)
    if not width:
        return
    group = nodes.tgroup(cols=width)
    group += [nodes.colspec(colwidth=1) for _ in range(width)]
    for kind, is_head in ((nodes.thead, True), (nodes.tbody, False)):
        chosen = [cells for head, cells in rows if head == is_head]
        if chosen:
            part = kind()
            for cells in chosen:
                filled = [*cells, *(nodes.entry() for _ in range(width - len(cells)))]
                for cell in filled:
                    if not len(cell):
                        cell += nodes.paragraph()
                part += nodes.row("", *filled)
            group += part
    table += group
    place = table.parent.index(table)
    for title in reversed(titles):
        table.parent.insert(place, title)


def parse(markup: str) -> list[nodes.Node]:
    """Nodes of HTML: paragraphs, lists, tables, code and links; scripts and buttons go.

    A link stays one where it leads out of the study.
    """
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    for table in [one for one in reader.top.findall(nodes.table) if not len(one)]:
        table.parent.remove(table)
    return list(reader.top.children)


class HtmlOutputs(SphinxPostTransform):
    """Show what a notebook displayed as HTML where the builder writes none."""

    default_priority = 6  # after myst-nb has chosen among the forms of an output, at 4

    def run(self, **kwargs: Any) -> None:
        """Replace each piece of HTML that is an output."""
        if self.app.builder.format == "html":
            return
        for raw in list(self.document.findall(nodes.raw)):
            if raw.get("format") == "html" and "output" in raw.get("classes", []):
                raw.replace_self(parse(raw.astext()))


def setup(app: Sphinx) -> None:
    """Register the transform."""
    app.add_post_transform(HtmlOutputs)
