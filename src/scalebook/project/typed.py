r"""Numbers typed by hand in the documents, which no key stands behind.

`typed_numbers` parses the MyST sources into tokens, in which roles, code, labels, targets of links
and comments are tokens of their own. What is left of prose, tables, captions and formulas holds
digits only if somebody typed them, or `data/typed_allowed.yaml` names them with a reason. Digits
joined to a word belong to a name (``A100``, ``ResNet-18``). Numbers written as words (twice, half,
one) are not looked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from pydantic import Field, field_validator, model_validator

from scalebook.contract import ScalebookError
from scalebook.publish.latex import documents
from scalebook.study.document import Frozen, read, read_text

#: Pages that are read beside those that PDFs begin with; modules whose strings become sentences.
PAGES = ("book/index.md", "book/paper.md", "book/proposal.md", "book/slides.md")
SENTENCES = ("book/sentences.py", "book/sentences/*.py")
ALLOWED = "data/typed_allowed.yaml"

#: Directives whose content is code, a list of names, or set by Sphinx.
_CODE = frozenset(
    {"code", "code-block", "code-cell", "literalinclude", "bibliography", "toctree", "include",
     "raw", "mermaid", "image", "eval-rst", "study-text", "study-provenance"}
)  # fmt: skip
#: Directives whose argument is prose; those of others are names.
_TITLED = frozenset(
    {"admonition", "list-table", "table", "dropdown", "grid-item-card", "card", "tab-item",
     "topic", "sidebar", "slide"}
)  # fmt: skip

_PARSER = create_md_parser(
    MdParserConfig(
        enable_extensions={"amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"}
    ),
    RendererHTML,
)
_DIRECTIVE = re.compile(r"\{([^}\s]+)\}(.*)")
_OPTION = re.compile(r"\s*(:[A-Za-z][\w-]*:(\s|$)|---$|$)")
_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.S)
_ADDRESS = re.compile(r"https?://[^\s)>\]]+|\S+@\S+")
_VALUE = re.compile(r"\\val\s*\{[^{}]*\}")
#: Within formulas these are names and layout, not values: indices, powers, spaces, commands.
_LAYOUT = re.compile(
    r"[_^]\s*(?:\{[^{}]*\}|\w)|\\(?:hspace|vspace|\\)\s*[{\[][^}\]]*[}\]]|\\[A-Za-z]+"
)
_NUMBER = re.compile(r"(?<![\w.])(?<![A-Za-z]-)[+−-]?\d+(?:[.,\u2009\u00a0]?\d+)*")


class Finding(NamedTuple):
    """A number that was typed: file relative to the study's root, line, and its words."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Entry(Frozen):
    """Something that may be typed: whole words in `text`, or a regular expression."""

    text: str | None = None
    pattern: str | None = None
    reason: str = Field(min_length=3)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            found = re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        if value is not None and found.match(""):
            raise ValueError(f"{value!r} matches nothing at all, and so everything")
        return value

    @model_validator(mode="after")
    def _one(self) -> Entry:
        if (self.text is None) == (self.pattern is None):
            raise ValueError("give text or pattern, one of the two")
        return self

    @property
    def expression(self) -> re.Pattern[str]:
        """What it takes out of a text; words of `text` may stand on two lines."""
        if self.pattern is not None:
            return re.compile(self.pattern, re.M)
        words = r"\s+".join(re.escape(word) for word in str(self.text).split())
        return re.compile(rf"(?<![\w.,]){words}(?!\w|\s?%|[.,]\d)")


class Allowed(Frozen):
    """``data/typed_allowed.yaml``.

    Attributes
    ----------
    prose, maths : list of Entry
        What may stand in prose (and formulas), and in formulas alone.
    """

    prose: list[Entry] = Field(default_factory=list)
    maths: list[Entry] = Field(default_factory=list)


def typed_numbers(root: Path) -> list[Finding]:
    """Numbers that were typed by hand in the documents of a study.

    Parameters
    ----------
    root : Path
        Folder of the study; pages that it does not have are passed over.

    Returns
    -------
    list of Finding
        By file and line; empty if every number is asked for by key.

    Raises
    ------
    ScalebookError
        If the list of what is allowed is wrong.
    """
    allowed = read(Allowed, root, ALLOWED) if (root / ALLOWED).is_file() else Allowed()
    declared = documents.of_study(root) if (root / "_toc.yml").is_file() else []
    pages = dict.fromkeys([*PAGES, *(f"{document.page}.md" for document in declared)])
    there = [name for name in pages if (root / name).is_file()]
    sources = [(name, 1, read_text(root, name)) for name in there]
    for path in (path for pattern in SENTENCES for path in root.glob(pattern)):
        name = path.relative_to(root).as_posix()
        sources += [(name, line, text) for line, text in _strings(path, name)]
    found = [
        Finding(name, line, number)
        for name, first, source in sources
        for part in _texts(source, first)
        for line, number in _numbers(part, allowed)
    ]
    return sorted(found, key=lambda number: (number.file, number.line))


# --------------------------------------------------------------------------- what is prose


class Text(NamedTuple):
    """Words of a page, or a formula, with the line on which they begin."""

    line: int
    text: str
    is_formula: bool = False


def _texts(source: str, first: int = 1) -> Iterator[Text]:
    """What a reader sees of a MyST source that begins on line `first`: its own words."""
    for token in _PARSER.parse(source):
        line = first + (token.map[0] if token.map else 0)
        if token.type == "inline":
            yield from _inline(token.children or [], line)
        elif token.type in ("math_block", "math_block_label", "amsmath"):
            yield Text(line, token.content, is_formula=True)
        elif token.type == "html_block":
            yield Text(line, _blanked(_TAG, token.content))
        elif token.type in ("fence", "colon_fence"):
            yield from _directive(token, line)


def _inline(children: list[Token], line: int) -> Iterator[Text]:
    """The words of a paragraph, a heading or a cell, line for line, and its formulas."""
    words = ""
    for child in children:
        if child.type == "math_inline":
            yield Text(line + words.count("\n"), child.content, is_formula=True)
        if child.type in ("text", "image"):
            words += child.content
        else:
            words += " " + "\n" * (child.type.endswith("break") + child.content.count("\n"))
    yield Text(line, words)


def _directive(token: Token, line: int) -> Iterator[Text]:
    """The title and the content of a directive, each where it is prose."""
    match = _DIRECTIVE.match(token.info)
    name, argument = match.groups() if match else ("code", "")
    if name in _TITLED:
        yield from _texts(argument, line)
    content = token.content.split("\n")
    while content and _OPTION.match(content[0]):
        line += 1
        del content[0]
    if name == "math":
        yield Text(line + 1, "\n".join(content), is_formula=True)
    elif name not in _CODE:
        yield from _texts("\n".join(content), line + 1)


def _strings(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Strings of a module with their lines; what an f-string puts in is no typed number."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ScalebookError(f"{name} line {error.lineno}: {error.msg}") from None
    passed: set[int] = set()  # documentation, keys and arguments of functions are not shown
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            passed.update(id(inner) for inner in ast.walk(node) if inner is not node)
        elif isinstance(node, ast.Call):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            passed.update(id(inner) for argument in arguments for inner in ast.walk(argument)
                          if isinstance(argument, (ast.Constant, ast.JoinedStr)))  # fmt: skip
        elif isinstance(node, ast.Subscript):
            passed.update(id(inner) for inner in ast.walk(node.slice))
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            ]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


# --------------------------------------------------------------------------- what is a number


def _numbers(part: Text, allowed: Allowed) -> Iterator[tuple[int, str]]:
    """Line and words of each number that is typed in a text."""
    names = (_VALUE, _LAYOUT) if part.is_formula else (_ADDRESS,)
    entries = (*allowed.prose, *allowed.maths) if part.is_formula else allowed.prose
    left = part.text
    for pattern in (*names, *(entry.expression for entry in entries)):
        left = _blanked(pattern, left)
    for match in _NUMBER.finditer(left):
        line = part.line + left.count("\n", 0, match.start())
        formula = " ".join(part.text.split())[:60]
        yield line, f"{match[0]} in ${formula}$" if part.is_formula else _words(left, match)


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    """The text with spaces in the place of what matches, line for line."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def _words(prose: str, match: re.Match[str]) -> str:
    """The number with what stands around it on its line."""
    first = prose.rfind("\n", 0, match.start()) + 1
    last = prose.find("\n", match.end())
    line = prose[max(first, match.start() - 30) : last if last >= 0 else None]
    return " ".join(line[:80].split())
