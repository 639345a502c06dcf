"""Formulas as MathML, made when the book is built: no script, no other host."""

from __future__ import annotations

import html
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.docutils import SphinxTranslator
from sphinx.util.math import get_node_equation_number

from scalebook.publish import mathvalues

logger = logging.getLogger(__name__)

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
    said = html.escape((tex if annotation is None else annotation).strip())
    head, _sign, rest = math.partition(">")
    inner = rest[: -len("</math>")]
    said = f'<annotation encoding="application/x-tex">{said}</annotation>'
    return f"{head}><semantics>{inner}{said}</semantics></math>"


def _check(math: str) -> None:
    """Refuse anything but elements of MathML without links and handlers."""
    for element in ElementTree.fromstring(math).iter():
        if element.tag.removeprefix(_NAMESPACE) not in _ELEMENTS:
            raise ValueError(f"{element.tag} in a formula")
        for name in element.attrib:
            if name.lower().startswith("on") or "href" in name.lower():
                raise ValueError(f"attribute {name} in a formula")


def _render(self: SphinxTranslator, node: nodes.Element, block: bool) -> tuple[str, str]:
    """MathML of a formula, and the notes of the numbers in it."""
    tex, tokens = mathvalues.with_tokens(node)
    said = mathvalues.as_tex(node)
    try:
        return mathvalues.fill_in(self, node, tokens, to_mathml(tex, block, said))
    except ValueError as error:
        logger.warning("formula cannot be converted to MathML: %s", error, location=node)
        return f"<code>{html.escape(said)}</code>", ""


def visit_inline(self: SphinxTranslator, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    math, notes = _render(self, node, False)
    self.body.append(f'<span class="math notranslate nohighlight">{math}</span>{notes}')
    raise nodes.SkipNode


def visit_block(self: SphinxTranslator, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number where it has one."""
    name = f' id="{html.escape(node["ids"][0])}"' if node["ids"] else ""
    self.body.append(f'<div class="math notranslate nohighlight sb-equation"{name}>')
    math, notes = _render(self, node, True)
    self.body.append(f'<div class="sb-formula" tabindex="0">{math}</div>{notes}')
    if node.get("number"):
        number = html.escape(str(get_node_equation_number(self, node)))
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
