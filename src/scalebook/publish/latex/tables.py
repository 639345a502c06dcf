"""Tables that fit: the widths of their columns from what stands in them.

A table whose rows fit as they are gets columns of natural width. Otherwise each column gets
at least its longest word and a share of the rest by how much it would take, as browsers do.
Widths are estimated from those of Times, with something to spare; what still cannot fit
gets smaller letters.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes

#: Widths of characters in letters M, that is in em, of TeX Gyre Termes.
_NARROW = (
    {c: 0.28 for c in "ijlt.,:;'|!/ ‘’·"}
    | {c: 0.34 for c in "()[]fIr-"}
    | {c: 0.44 for c in "szJcaek"}
)
_WIDE = {c: 0.72 for c in "ABCDGHKNOQRUVXYw&Δ"} | {c: 0.86 for c in "mMW%@—→←"}
_CODE, _OTHER, _BOLD, _SPARE = 0.505, 0.5, 1.07, 1.05
#: Between two columns, in points: twice ``\tabcolsep`` of ``sbtable``.
_GAP = 9.0
#: Words end at spaces; names and paths may break after these (see `writer`).
_WORD = re.compile(r"[^\s/_=@-]+[/_=@-]*|[/_=@-]+")
_TEX = re.compile(r"\\[a-zA-Z]+|[{}^_$\\]")
_NUMBER = re.compile(r"[−+±≈<>~]?\s?[\d.,]+(\s?(%|×|to|–|±)\s?[−+]?[\d.,]*)*|[–—-]?")
#: Sizes to try in turn, each with its factor.
_SIZES = (("", 1.0), ("\\footnotesize", 0.9), ("\\scriptsize", 0.78))
#: A column wider than this, in em, holds words that can wrap.
_WORDS = 14.0
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


def layout(theme: Any) -> Layout:
    """Layout that a theme's ``theme.conf`` tells; one column where it tells nothing."""
    config = getattr(theme, "config", None)
    if config is None or not config.has_option("theme", "columns"):
        return Layout()
    return Layout(
        config.getint("theme", "columns"),
        *(config.getfloat("theme", key) for key in ("column_pt", "page_pt", "table_pt")),
        config.getfloat("theme", "turned_pt", fallback=0.0),
    )


@dataclasses.dataclass(frozen=True)
class Column:
    """What a column needs: its longest word, its longest line, in em; whether it is numbers."""

    least: float
    most: float
    numbers: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a table is set: across both columns, over pages, on its side; letters, columns."""

    wide: bool
    long: bool
    turned: bool
    size: str
    spec: str


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
    columns = [_column(cells) for cells in zip(*_rows(node))]
    gaps = _GAP * (len(columns) - 1)
    wide = page.count > 1 and "wide" in node["classes"]
    if page.count > 1 and not wide:
        least = sum(column.least for column in columns) * page.letters * 0.9 + gaps
        wide = least > page.column * room
    available = (page.page if wide else page.column * room) - gaps
    most, least = sum(c.most for c in columns), sum(c.least for c in columns)
    if page.count > 1 and not wide and most > 1.8 * available / page.letters:
        wide, available = True, page.page - gaps  # rather than columns of a word or two
    small = available / (page.letters * _SIZES[-1][1])
    turned = bool(page.turned) and len(columns) > 6 and (most > 1.3 * small or least > 0.9 * small)
    available = page.turned - gaps if turned else available
    for size, factor in _SIZES:
        em = available / (page.letters * factor)
        if most <= em:
            spec = "".join("r" if column.numbers else "l" for column in columns)
            long = turned or _is_long(node, columns, None, page)
            return Plan(wide, long, turned, size, f"@{{}}{spec}@{{}}")
        if least <= 0.8 * em and (
            most > 1.4 * em or any(column.most > _WORDS for column in columns)
        ):
            break  # words wrap rather than get smaller, numbers the other way round
    widths = _shares(columns, em)
    spec = "".join(
        f"{'R' if column.numbers else 'L'}"
        f"{{{width / em:.4f}\\dimexpr\\linewidth-{gaps:.1f}pt\\relax}}"
        for column, width in zip(columns, widths)
    )
    long = turned or _is_long(node, columns, widths, page)
    return Plan(wide, long, turned, size, f"@{{}}{spec}@{{}}")


def _shares(columns: list[Column], em: float) -> list[float]:
    """Width of each column: natural where it is short, the rest by the root of its length."""
    least = sum(column.least for column in columns)
    if least >= em:
        return [column.least / least * em for column in columns]
    widths: dict[int, float] = {}
    while True:
        open_ = [i for i in range(len(columns)) if i not in widths]
        rest = em - sum(widths.values())
        weight = sum(columns[i].most ** 0.5 for i in open_)
        tried = {i: rest * columns[i].most ** 0.5 / weight for i in open_}
        # What is short of its longest word is settled first, then what has more than enough.
        settled = {i: columns[i].least for i in open_ if tried[i] < columns[i].least} or {
            i: columns[i].most for i in open_ if tried[i] > columns[i].most
        }
        if not settled or len(settled) == len(open_):
            widths.update(tried)
            return [widths[i] for i in range(len(columns))]
        widths.update(settled)


def _is_long(
    node: nodes.Element, columns: list[Column], widths: list[float] | None, page: Layout
) -> bool:
    if page.count > 1:
        return False
    lines = 0.0
    for row in _rows(node):
        heights = [
            -(-max((_width(p) for p in _paragraphs(cell)), default=0) // width) if width else 1
            for cell, width in zip(row, widths or [0.0] * len(row))
        ]
        lines += max([1.0, *heights])
    return lines > _LONG


# --------------------------------------------------------------------------- cells


def _rows(node: nodes.Element) -> list[list[nodes.entry]]:
    return [
        [entry for entry in row.children if isinstance(entry, nodes.entry)]
        for row in node.findall(nodes.row)
    ]


def _column(cells: tuple[nodes.entry, ...]) -> Column:
    least = most = 0.0
    body = []
    for cell in cells:
        head = isinstance(cell.parent.parent, nodes.thead)
        factor = (_BOLD if head else 1.0) * _SPARE
        for paragraph in _paragraphs(cell):
            most = max(most, _width(paragraph) * factor)
            least = max(least, _longest_word(paragraph) * factor)
        if not head:
            body.append(cell.astext().strip())
    said = [text for text in body if text not in ("", "–", "—", "-")]
    numbers = bool(said) and all(_NUMBER.fullmatch(text) for text in said)
    return Column(least + 0.1, most + 0.1, numbers)


def _paragraphs(cell: nodes.entry) -> list[list[tuple[str, bool]]]:
    """Texts of a cell's paragraphs, each with whether it is code."""
    blocks = [one for one in cell.findall(nodes.paragraph)] or [cell]
    return [list(_texts(block)) for block in blocks]


def _texts(block: nodes.Element) -> Iterator[tuple[str, bool]]:
    for text in block.findall(nodes.Text):
        if isinstance(text.parent, nodes.math):
            yield _TEX.sub("", text.astext()) or "m", False
        else:
            yield text.astext(), isinstance(text.parent, nodes.literal)


def _width(texts: list[tuple[str, bool]]) -> float:
    return sum(_text_width(text, code) for text, code in texts)


def _longest_word(texts: list[tuple[str, bool]]) -> float:
    words = ((word, code) for text, code in texts for word in _WORD.findall(text))
    return max((_text_width(word, code) for word, code in words), default=0.0)


def _text_width(text: str, code: bool) -> float:
    if code:
        return _CODE * len(text)
    return sum(_NARROW.get(c) or _WIDE.get(c) or _OTHER for c in text)
