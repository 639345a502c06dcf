r"""Numbers in mathematics: ``\val{key}`` within ``$…$``, ``$$…$$``, ``{math}`` and amsmath.

The number is looked up while the page is read, as in prose. The formula then holds
``\sbval{0}``, ``\sbval{1}`` … and the node the numbers: HTML writes them as MathML with their
note and link, other builders as TeX.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils import get_source_line
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxTranslator

from scalebook.publish import inputs, values

_ASKED = re.compile(r"\\val(?![A-Za-z])\s*(?:\{([^{}]*)\})?")
_MARK = re.compile(r"\\sbval\{(\d+)\}")
#: A number that no formula has, which the converter to MathML takes for one of them.
_TOKEN = "91827364550{:04d}"
_SPECIAL = re.compile(r"([\\{}$&#^_%~])")
_EXPONENT = re.compile(r"e([+-])0*(\d+)")


class MathValues(SphinxTransform):
    """Look up the numbers that formulas ask for."""

    default_priority = 300

    def apply(self, **kwargs: Any) -> None:
        """Go through all formulas of the page."""
        for kind in (nodes.math, nodes.math_block):
            for node in list(self.document.findall(kind)):
                if _ASKED.search(node.astext()):
                    self._fill(node)

    def _fill(self, node: nodes.Element) -> None:
        found: list[dict[str, str]] = []
        source, line = get_source_line(node)

        def look(match: re.Match) -> str:
            if match[1] is None:
                place = inputs.place(self.env, source, line)
                inputs.problem(self.env, rf"{place}: \val: write \val{{key}} or \val{{key|.1f}}")
                return "?"
            answer = values.asked(self.env, match[1], source, line)
            if answer is None:
                return "?"
            value, text = answer
            inputs.use(self.env, value, text)
            number, _, unit = text.partition("\u00a0")
            found.append({"key": value.key, "kind": value.kind, "number": number, "unit": unit,
                          "note": values.provenance(value)})  # fmt: skip
            return rf"\sbval{{{len(found) - 1}}}"

        text = _ASKED.sub(look, node.astext())
        node.children = []
        node += nodes.Text(text)
        node.rawsource = text
        node["sb_values"] = found


class PlainMath(SphinxPostTransform):
    """Write the numbers of formulas as TeX for builders that print."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Go through all formulas with numbers."""
        if self.app.builder.format == "html":
            return
        for kind in (nodes.math, nodes.math_block):
            for node in list(self.document.findall(kind)):
                if node.get("sb_values"):
                    text = as_tex(node)
                    node.children = []
                    node += nodes.Text(text)
                    node.rawsource = text


def as_tex(node: nodes.Element) -> str:
    """TeX of a formula with its numbers in it."""
    return _MARK.sub(lambda match: _tex(node["sb_values"][int(match[1])]), node.astext())


def _tex(value: dict[str, str]) -> str:
    number = value["number"].replace("\u2212", "-").replace(",", "{,}").replace("%", r"\%")
    number = _EXPONENT.sub(_power, number)
    unit = _SPECIAL.sub(r"\\\1", value["unit"])
    return f"{{{number}\\,\\text{{{unit}}}}}" if unit else f"{{{number}}}"


def _power(match: re.Match) -> str:
    sign = "-" if match[1] == "-" else ""
    return rf"\times 10^{{{sign}{match[2]}}}"


def with_tokens(node: nodes.Element) -> tuple[str, list[str]]:
    """TeX of a formula in which each of its numbers is a token, and the tokens."""
    tokens = [_TOKEN.format(number) for number in range(len(node.get("sb_values", ())))]
    return _MARK.sub(lambda match: f"{{{tokens[int(match[1])]}}}", node.astext()), tokens


def fill_in(
    self: SphinxTranslator, node: nodes.Element, tokens: list[str], math: str
) -> tuple[str, str]:
    """Put the numbers into MathML in place of their tokens.

    Returns
    -------
    tuple of str
        The MathML, and HTML of the notes, which stand behind it.

    Raises
    ------
    ValueError
        If a number is not where a number may stand.
    """
    notes = []
    for value, token in zip(node.get("sb_values", ()), tokens):
        before, found, after = math.partition(f"<mn>{token}</mn>")
        if not found:
            raise ValueError(f"\\val{{{value['key']}}} stands where no number can")
        if getattr(self.builder, "name", "") in values.WITHOUT_NOTES:
            math = f"{before}<mrow>{_mathml(value)}</mrow>{after}"
            continue
        link = values.entry_link(self, value["key"])
        name, note = values.note_html(self, value["key"], value["note"], link)
        kind = value["kind"] if value["kind"] in values.KINDS else "other"
        role = ' role="link"' if link else ""
        math = (
            f'{before}<mrow class="sb-mathnumber sb-{kind}" tabindex="0"{role} '
            f'aria-describedby="{name}">{_mathml(value)}</mrow>{after}'
        )
        notes.append(note)
    return math, "".join(notes)


def _mathml(value: dict[str, str]) -> str:
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


def setup(app: Sphinx) -> None:
    """Register the two transforms."""
    app.add_transform(MathValues)
    app.add_post_transform(PlainMath)
