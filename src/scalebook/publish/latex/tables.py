"""Tables that fit: which columns wrap, how large the letters are, and where the table goes.

Packages of TeX (tabularx, xltabular) give the columns that wrap what the others leave, measured
by TeX itself. Here is decided which those are, from a mean width of characters. Words wrap rather
than get smaller, numbers the other way round.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from docutils import nodes
from sphinx.builders.latex.theming import Theme

#: Mean width of a character, in em.
_CHARACTER = 0.5
#: Between two columns, in points: twice ``\\tabcolsep`` of ``sbtable``.
_GAP = 9.0
#: Words end at spaces; names and paths may break after these (see `writer`).
_WORD = re.compile(r"[^\s/_=@-]+[/_=@-]*|[/_=@-]+")
_TEX = re.compile(r"\\[a-zA-Z]+|[{}^_$\\]")
_NUMBER = re.compile(r"[−+±≈<>~]?\s?[\d.,]+(\s?(%|×|to|–|±)\s?[−+]?[\d.,]*)*|[–—-]?")
#: Sizes to try in turn, each with its factor.
_SIZES = (("", 1.0), ("\\footnotesize", 0.9), ("\\scriptsize", 0.78))
#: A column of longer cells than this, in characters, holds words that can wrap.
_WORDS = 28
#: A table of more lines than this goes over pages.
_LONG = 34


@dataclasses.dataclass(frozen=True)
class Layout:
    """Columns of a page, size of a table's letters, and width of a turned page, in points."""

    count: int = 1
    column: float = 455.0
    page: float = 455.0
    letters: float = 9.0
    turned: float = 0.0


def layout(theme: Theme | None) -> Layout:
    """Layout that a theme's ``theme.conf`` tells; one column where it tells nothing."""
    config = getattr(theme, "config", None)  # Sphinx's own themes have none
    if config is None or not config.has_option("theme", "columns"):
        return Layout()
    return Layout(
        config.getint("theme", "columns"),
        config.getfloat("theme", "column_pt"),
        config.getfloat("theme", "page_pt"),
        config.getfloat("theme", "table_pt"),
        config.getfloat("theme", "turned_pt", fallback=0.0),
    )


@dataclasses.dataclass(frozen=True)
class Column:
    """Longest word and longest cell of a column, in characters; whether it holds numbers."""

    least: int
    most: int
    numbers: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a table is set: across both columns, over pages, on its side; letters, columns."""

    wide: bool
    long: bool
    turned: bool
    size: str
    spec: str
    wraps: bool


def is_spanning(node: nodes.Element) -> bool:
    """Whether a cell spans rows or columns."""
    return any("morerows" in e or "morecols" in e for e in node.findall(nodes.entry))


def plan(node: nodes.Element, page: Layout, room: float = 1.0) -> Plan:
    """Decide how a table is set.

    Parameters
    ----------
    node : table
        Without spans.
    page : Layout
        Of the document.
    room : float
        Share of the column's width that there is, less than 1 inside a list or a box.
    """
    rows = [list(row.findall(nodes.entry)) for row in node.findall(nodes.row)]
    columns = [_column(cells) for cells in zip(*rows)]
    wide = page.count > 1 and "wide" in node["classes"]
    size, space, wrapped = _fit(columns, page.page if wide else page.column * room, page.letters)
    crowded = any(columns[i].most <= _WORDS for i in wrapped)
    most = sum(column.most for column in columns)
    if page.count > 1 and not wide and (crowded or most > 1.8 * space):
        wide = True  # rather than columns of a word or two
        size, space, wrapped = _fit(columns, page.page, page.letters)
    turned = crowded and bool(page.turned) and len(columns) > 6 and most > 1.3 * space
    if turned:
        size, space, wrapped = _fit(columns, page.turned, page.letters)
    widths = _shares(columns, wrapped, space)
    long = turned or (page.count == 1 and _lines(rows, widths) > _LONG)
    mean = sum(widths[i] for i in wrapped) / max(1, len(wrapped))
    spec = "".join(
        f"{'V' if column.numbers else 'W'}{{{widths[i] / mean:.3f}}}"
        if i in wrapped
        else ("r" if column.numbers else "l")
        for i, column in enumerate(columns)
    )
    return Plan(wide, long, turned, size, f"@{{}}{spec}@{{}}", bool(wrapped))


def _fit(columns: list[Column], width: float, letters: float) -> tuple[str, float, set[int]]:
    """Size of the letters, characters of a line, and the columns that have to wrap.

    The largest size at which only words wrap; the smallest where there is none.
    """
    fit: tuple[str, float, set[int]] = ("", 0.0, set())
    for size, factor in _SIZES:
        space = (width - _GAP * (len(columns) - 1)) / (letters * factor * _CHARACTER)
        wrapped: set[int] = set()
        if sum(column.most for column in columns) > space:
            wrapped = {i for i, column in enumerate(columns) if column.most > _WORDS}
        left = sorted(set(range(len(columns))) - wrapped, key=lambda i: columns[i].most)
        while left and _rest(columns, wrapped, space) < 0:
            wrapped.add(left.pop())
        fit = (size, space, wrapped)
        only_words = all(columns[i].most > _WORDS for i in wrapped)
        if only_words and _rest(columns, wrapped, space) >= 0:
            break
    return fit


def _rest(columns: list[Column], wrapped: set[int], space: float) -> float:
    """Characters of a line that are left when each column has what it cannot do without."""
    return space - sum(
        column.least if i in wrapped else column.most for i, column in enumerate(columns)
    )


def _shares(columns: list[Column], wrapped: set[int], space: float) -> list[float]:
    """Characters of a line of each column: what wraps shares the rest by the root of its length."""
    rest = max(0.0, _rest(columns, wrapped, space))
    weight = sum(columns[i].most ** 0.5 for i in wrapped)
    return [
        column.least + rest * column.most**0.5 / weight if i in wrapped else float(column.most)
        for i, column in enumerate(columns)
    ]


def _lines(rows: Sequence[Sequence[nodes.entry]], widths: list[float]) -> float:
    """How many lines a table takes, about."""
    return sum(
        max(
            -(-max(map(len, _paragraphs(cell))) // max(1.0, width))
            for cell, width in zip(row, widths)
        )
        for row in rows
    )


# --------------------------------------------------------------------------- cells


def _column(cells: tuple[nodes.entry, ...]) -> Column:
    paragraphs = [text for cell in cells for text in _paragraphs(cell)]
    words = [word for text in paragraphs for word in _WORD.findall(text)]
    body = [
        cell.astext().strip()
        for cell in cells
        if cell.parent is None or not isinstance(cell.parent.parent, nodes.thead)
    ]
    filled = [text for text in body if text not in ("", "–", "—", "-")]
    numbers = bool(filled) and all(_NUMBER.fullmatch(text) for text in filled)
    return Column(max(map(len, words), default=0) + 1, max(map(len, paragraphs)) + 1, numbers)


def _paragraphs(cell: nodes.entry) -> list[str]:
    """Texts of a cell's paragraphs."""
    blocks: list[nodes.Element] = list(cell.findall(nodes.paragraph))
    return ["".join(_texts(block)) for block in blocks or [cell]]


def _texts(block: nodes.Element) -> Iterator[str]:
    for text in block.findall(nodes.Text):
        formula = isinstance(text.parent, nodes.math)
        yield (_TEX.sub("", text.astext()) or "m") if formula else text.astext()
