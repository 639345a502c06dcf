r"""Mathematics: formulas as MathML, and numbers of the study in them.

MathML is made when the book is built: no script, no other host. ``\val{key}`` within ``$…$``,
``$$…$$``, ``{math}`` and amsmath is looked up while the page is read, as in prose. The formula
then holds ``\sbval{0}``, ``\sbval{1}`` … and the node the numbers: HTML writes them as MathML
with their note and link, other builders as TeX.
"""

import html
import re
from collections.abc import Iterator
from typing import Any, TypedDict
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils import get_source_line
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from scalebook.publish import pages, values
from scalebook.publish.runs import links

logger = logging.getLogger(__name__)

_ASKED = re.compile(r"\\val(?![A-Za-z])\s*(?:\{([^{}]*)\})?")
_MARK = re.compile(r"\\sbval\{(\d+)\}")
#: A number that no formula has, which the converter to MathML takes for one of them.
_TOKEN = "91827364550{:04d}"
_SPECIAL = re.compile(r"([\\{}$&#^_%~])")
_EXPONENT = re.compile(r"e([+-])0*(\d+)")

_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
#: What a formula may consist of. The converter lets markup in ``\text{…}`` through.
_ELEMENTS = frozenset(
    {
        "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot",
        "mstyle", "merror", "mpadded", "mphantom", "mfenced", "menclose", "msub", "msup",
        "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "none",
        "mtable", "mtr", "mtd", "mlabeledtr",
    }
)  # fmt: skip


class Number(TypedDict):
    """A number in a formula, in a node's attribute ``sb_values``."""

    key: str
    kind: str
    number: str
    unit: str
    note: str
    runs: list[str]


def _formulas(document: nodes.Node) -> Iterator[nodes.math | nodes.math_block]:
    yield from list(document.findall(nodes.math))
    yield from list(document.findall(nodes.math_block))


def _numbers(node: nodes.Element) -> list[Number]:
    found: list[Number] = node.get("sb_values", [])
    return found


def _write(node: nodes.Element, tex: str) -> None:
    node.children = []
    node += nodes.Text(tex)
    node.rawsource = tex


class MathValues(SphinxTransform):
    """Look up the numbers that formulas ask for."""

    default_priority = 300

    def apply(self, **kwargs: Any) -> None:  # as Sphinx declares it
        """Go through all formulas of the page."""
        for node in _formulas(self.document):
            if _ASKED.search(node.astext()):
                self._fill(node)

    def _fill(self, node: nodes.math | nodes.math_block) -> None:
        found: list[Number] = []
        source, line = get_source_line(node)

        def look_up(match: re.Match[str]) -> str:
            page = pages.current(self.env)
            if match[1] is None:
                place = pages.place(self.env, source, line)
                page.problems.append(rf"{place}: \val: write \val{{key}} or \val{{key|.1f}}")
                return "?"
            answer = values.find(self.env, match[1], source, line)
            if answer is None:
                return "?"
            value, text = answer
            page.show_number(value, text)
            number, _sign, unit = text.partition("\u00a0")
            found.append(
                {"key": value.key, "kind": value.kind, "number": number, "unit": unit,
                 "note": values.provenance(value), "runs": links.behind(value)}
            )  # fmt: skip
            return rf"\sbval{{{len(found) - 1}}}"

        _write(node, _ASKED.sub(look_up, node.astext()))
        node["sb_values"] = found


class PlainMath(SphinxPostTransform):
    """Write the numbers of formulas as TeX for builders that print."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:  # as Sphinx declares it
        """Go through all formulas with numbers."""
        if self.app.builder.format == "html":
            return
        for node in _formulas(self.document):
            if _numbers(node):
                _write(node, as_tex(node))


def as_tex(node: nodes.Element) -> str:
    """TeX of a formula with its numbers in it."""
    return _MARK.sub(lambda match: _tex(_numbers(node)[int(match[1])]), node.astext())


def _tex(value: Number) -> str:
    number = value["number"].replace("\u2212", "-").replace(",", "{,}").replace("%", r"\%")
    number = _EXPONENT.sub(
        lambda match: rf"\times 10^{{{match[1].replace('+', '')}{match[2]}}}", number
    )
    unit = _SPECIAL.sub(r"\\\1", value["unit"])
    return f"{{{number}\\,\\text{{{unit}}}}}" if unit else f"{{{number}}}"


# --------------------------------------------------------------------------- MathML


def to_mathml(tex: str, block: bool, annotation: str | None = None) -> str:
    r"""Convert TeX to a ``<math>`` element, with `annotation` or else the TeX as its annotation.

    Several lines (``\\``) in a block are aligned at ``&``.

    Raises
    ------
    ValueError
        If the TeX cannot be converted.
    """
    body = tex.strip()
    if block and r"\\" in body and r"\begin" not in body:
        body = rf"\begin{{split}}{body}\end{{split}}"
    for environment in ("align", "equation", "gather"):  # Sphinx numbers equations, not these
        body = body.replace(rf"\begin{{{environment}}}", rf"\begin{{{environment}*}}")
        body = body.replace(rf"\end{{{environment}}}", rf"\end{{{environment}*}}")
    try:
        math = convert(body, display="block" if block else "inline")
        _check(math)
    except Exception as error:  # the converter has a score of error types of its own
        raise ValueError(f"{type(error).__name__} {error}".strip()) from None
    head, _sign, rest = math.partition(">")
    inner = rest[: -len("</math>")]
    source = html.escape((tex if annotation is None else annotation).strip())
    source = f'<annotation encoding="application/x-tex">{source}</annotation>'
    return f"{head}><semantics>{inner}{source}</semantics></math>"


def _check(math: str) -> None:
    """Refuse anything but elements of MathML without links and handlers."""
    for element in ElementTree.fromstring(math).iter():
        if element.tag.removeprefix(_NAMESPACE) not in _ELEMENTS:
            raise ValueError(f"{element.tag} in a formula")
        for name in element.attrib:
            if name.lower().startswith("on") or "href" in name.lower():
                raise ValueError(f"attribute {name} in a formula")


def render(self: HTML5Translator, node: nodes.Element, block: bool) -> tuple[str, str]:
    """MathML of a formula, and the notes of the numbers in it, which stand behind it."""
    tokens = [_TOKEN.format(number) for number in range(len(_numbers(node)))]
    tex = _MARK.sub(lambda match: f"{{{tokens[int(match[1])]}}}", node.astext())
    source = as_tex(node)
    notes = ""
    try:
        math = to_mathml(tex, block, source)
        for value, token in zip(_numbers(node), tokens):
            before, found, after = math.partition(f"<mn>{token}</mn>")
            if not found:
                raise ValueError(f"\\val{{{value['key']}}} stands where no number can")
            number, note = _number_html(self, value)
            math = f"{before}{number}{after}"
            notes += note
    except ValueError as error:
        logger.warning("formula cannot be converted to MathML: %s", error, location=node)
        return f"<code>{html.escape(source)}</code>", ""
    return math, notes


def _number_html(self: HTML5Translator, value: Number) -> tuple[str, str]:
    """A number in a formula as MathML, and its note."""
    if getattr(self.builder, "name", "") == pages.DECK:  # slides have no room for notes
        return f"<mrow>{_mathml(value)}</mrow>", ""
    name, note, link = values.note_html(self, value["key"], value["note"], value["runs"])
    classes = f"sb-mathnumber sb-{value['kind']}"
    # A formula is one thing to a screen reader, so the keyboard reaches the number behind it.
    text = html.escape("\u00a0".join(filter(None, (value["number"], value["unit"]))))
    note = values.reachable(text, "sb-behind", name, link) + note
    return f'<mrow class="{classes}" aria-describedby="{name}">{_mathml(value)}</mrow>', note


def _mathml(value: Number) -> str:
    text = value["number"]
    sign = "<mo>\u2212</mo>" if text.startswith("\u2212") else ""
    number, exponent = text.lstrip("\u2212"), ""
    power = _EXPONENT.search(number)
    if power:
        number = number[: power.start()]
        raised = ("\u2212" if power[1] == "-" else "") + power[2]
        exponent = f"<mo>×</mo><msup><mn>10</mn><mn>{raised}</mn></msup>"
    unit = f"<mtext>\u00a0{html.escape(value['unit'])}</mtext>" if value["unit"] else ""
    return f"{sign}<mn>{html.escape(number)}</mn>{exponent}{unit}"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    math, notes = render(self, node, False)
    self.body.append(f'<span class="math notranslate nohighlight">{math}</span>{notes}')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number where it has one."""
    name = f' id="{html.escape(node["ids"][0])}"' if node["ids"] else ""
    self.body.append(f'<div class="math notranslate nohighlight sb-equation"{name}>')
    math, notes = render(self, node, True)
    self.body.append(f'<div class="sb-formula" tabindex="0">{math}</div>{notes}')
    if node.get("number"):
        number = html.escape(str(get_node_equation_number(self, node)))
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the two transforms and the renderer ``mathml``."""
    app.add_transform(MathValues)
    app.add_post_transform(PlainMath)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
