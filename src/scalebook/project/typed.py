r"""Numbers typed by hand in the documents, which no key stands behind.

`typed_numbers` reads the MyST sources as text and blanks what is no prose: roles, code, labels,
options and names of directives, targets of links, comments. What is left of prose, tables,
captions and formulas holds digits only if somebody typed them, or `data/typed_allowed.yaml`
names them with a reason. Digits joined to a word belong to a name (``A100``, ``ResNet-18``).
Numbers written as words (twice, half, one) are not looked for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalebook.contract import ScalebookError
from scalebook.study.document import read_yaml, validated

#: Pages that are read, and modules whose strings become sentences of them.
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

_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,}|:{3,})\s*(?:\{([^}\s]+)\})?(.*)$")
_OPTION = re.compile(r"^\s*:[A-Za-z][\w-]*:(\s|$)")
_BLANKED = (
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"\{[A-Za-z][\w:-]*\}(`+)(?:(?!\1).|\n)+?\1"),  # roles
    re.compile(r"(?<!`)(`+)(?!`)(?:(?!\1)[^\n]|\n(?!\n))+?\1(?!`)"),  # code
    re.compile(r"\\val\s*\{[^{}]*\}"),
    re.compile(r"(?<=\])\([^()\s]*(?:\s+\"[^\"]*\")?\)"),  # targets of links
    re.compile(r"https?://[^\s)>\]]+|<[^>\s]+@[^>\s]+>"),
    re.compile(r"(?m)^\s*\([\w:.-]+\)=\s*$"),  # labels
    re.compile(r"\{[#.][^}\n]*\}"),  # attributes
    re.compile(r"\[\^[\w-]+\]:?"),  # footnotes
    re.compile(r"(?m)^\s*\d+[.)](?=\s)"),  # numbers of a list
    re.compile(r"(?m)^%.*$"),  # comments of MyST
    re.compile(r"&#?\w+;"),
)
_MATH = re.compile(
    r"(?<![\\$])\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<line>[^$\n]+?(?:\n[^$\n]+?)*)\$(?!\d)"
    r"|\\begin\{(?P<name>equation|align|gather|alignat|multline)\*?\}(?P<env>.+?)"
    r"\\end\{(?P=name)\*?\}",
    re.S,
)
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


class Entry(BaseModel):
    """Something that may be typed: whole words in `text`, or a regular expression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    def expression(self) -> re.Pattern:
        """What it takes out of a text; words of `text` may stand on two lines."""
        if self.pattern is not None:
            return re.compile(self.pattern, re.M)
        words = r"\s+".join(re.escape(word) for word in str(self.text).split())
        return re.compile(rf"(?<![\w.,]){words}(?!\w|\s?%|[.,]\d)")


class Allowed(BaseModel):
    """``data/typed_allowed.yaml``.

    Attributes
    ----------
    prose, maths : list of Entry
        What may stand in prose (and formulas), and in formulas alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prose: list[Entry] = []
    maths: list[Entry] = []


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
    allowed = load_allowed(root)
    found = []
    for name in PAGES:
        path = root / name
        if path.is_file():
            text = _prose(_without_front_matter(path.read_text(encoding="utf-8")))
            found += [Finding(name, line, said) for line, said in _numbers(text, allowed)]
    for path in sorted(path for pattern in SENTENCES for path in root.glob(pattern)):
        name = path.relative_to(root).as_posix()
        for start, text in _strings(path, name):
            found += [
                Finding(name, start + line - 1, said)
                for line, said in _numbers(_prose(text), allowed)
            ]
    return sorted(found, key=lambda one: (one.file, one.line))


def load_allowed(root: Path) -> Allowed:
    """What may be typed; nothing where the study has no such file."""
    path = root / ALLOWED
    return validated(Allowed, read_yaml(path), ALLOWED) if path.is_file() else Allowed()


# --------------------------------------------------------------------------- what is prose


def _without_front_matter(text: str) -> str:
    match = re.match(r"---\n.*?\n---\n", text, re.S)
    return _blank(match[0]) + text[match.end() :] if match else text


def _blank(text: str) -> str:
    """As many lines, and nothing on them."""
    return re.sub(r"[^\n]", " ", text)


def _prose(text: str) -> str:
    """The text with all that is no prose blanked, line for line."""
    lines = []
    fences: list[tuple[str, str]] = []  # marks of the open fences, and their directives
    options = False
    for line in text.split("\n"):
        match = _FENCE.match(line)
        code = bool(fences) and (fences[-1][1] in _CODE or fences[-1][1] == "")
        if match and fences and _closes(match, fences[-1][0]):
            fences.pop()
            lines.append("")
        elif code:
            lines.append("")
        elif match and (match[3] or match[2][0] != ":"):
            name = match[3] or ""
            fences.append((match[2], name))
            options = True
            lines.append(match[4] if name in _TITLED else "")
        elif options and (_OPTION.match(line) or line.strip() == "---"):
            lines.append("")
        else:
            options = options and not line.strip()
            maths = bool(fences) and fences[-1][1] == "math" and line.strip()
            lines.append(f"${line}$" if maths else line)
    joined = "\n".join(lines)
    for pattern in _BLANKED:
        joined = pattern.sub(lambda found: _blank(found[0]), joined)
    return joined


def _closes(match: re.Match, mark: str) -> bool:
    same = match[2][0] == mark[0] and len(match[2]) >= len(mark)
    return same and not match[3] and not match[4].strip()


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
            passed.update(id(inner) for one in arguments for inner in ast.walk(one)
                          if isinstance(one, (ast.Constant, ast.JoinedStr)))  # fmt: skip
        elif isinstance(node, ast.Subscript):
            passed.update(id(inner) for inner in ast.walk(node.slice))
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


# --------------------------------------------------------------------------- what is a number


def _numbers(text: str, allowed: Allowed) -> Iterator[tuple[int, str]]:
    """Line and words of each number that is left."""
    formulas: list[tuple[int, str]] = []

    def take(match: re.Match) -> str:
        formulas.append((match.start(), match[0]))
        return _blank(match[0])

    prose = _MATH.sub(take, text)
    for entry in allowed.prose:
        prose = entry.expression.sub(lambda found: _blank(found[0]), prose)
    for match in _NUMBER.finditer(prose):
        yield prose.count("\n", 0, match.start()) + 1, _words(prose, match)
    for start, formula in formulas:
        bare = _LAYOUT.sub(lambda found: _blank(found[0]), formula)
        for entry in (*allowed.prose, *allowed.maths):
            bare = entry.expression.sub(lambda found: _blank(found[0]), bare)
        for match in _NUMBER.finditer(bare):
            before = text.count("\n", 0, start) + bare.count("\n", 0, match.start())
            yield before + 1, f"{match[0]} in {' '.join(formula.split())[:60]}"


def _words(prose: str, match: re.Match) -> str:
    """The number with what stands around it on its line."""
    first = prose.rfind("\n", 0, match.start()) + 1
    last = prose.find("\n", match.end())
    line = prose[max(first, match.start() - 30) : last if last >= 0 else None]
    return " ".join(line[:80].split())
