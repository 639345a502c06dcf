"""Numbers in prose: ``{value}`key``` shows a number of the study and where it came from."""

from __future__ import annotations

import functools
import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole, SphinxTranslator

from scalebook.contract import ScalebookError
from scalebook.publish import inputs

#: The part of Python's format language that prose needs.
_FORMAT = re.compile(r"[+]?,?(\.\d{1,2})?[efgd%]?")
#: Kinds of numbers; each has its own underline.
KINDS = ("measured", "reported", "modelled", "cited")


class study_value(nodes.inline):
    """A number in prose. Attributes: ``kind``, ``note``. Other builders show its text."""


class ValueRole(SphinxRole):
    """``{value}`key``` or ``{value}`key|format``` or ``{value}`key|format|unit```."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look the number up; what cannot be shown fails the build."""
        key, _, rest = self.text.partition("|")
        spec, _, option = rest.partition("|")
        key, spec, option = key.strip(), spec.strip(), option.strip()
        source, line = self.get_source_info()
        try:
            value = _lookup(key)
            text = shown(value, spec, with_unit=_unit_wanted(option))
        except ScalebookError as error:
            inputs.note(self.env, "value", key, "")
            inputs.problem(
                self.env, f"{inputs.place(self.env, source, line)}: value {key!r}: {error}"
            )
            return [nodes.inline(text=f"[{key}]")], []
        inputs.note(self.env, "value", key, _digest(value))
        node = study_value(text, text, kind=value.kind, note=provenance(value))
        self.set_source_info(node)
        return [node], []


def _unit_wanted(option: str) -> bool:
    if option not in ("", "unit"):
        raise ScalebookError(f"{option!r} after the format; only `unit` may stand there")
    return option == "unit"


def shown(value: Any, spec: str = "", with_unit: bool = False) -> str:
    """Text of a number as prose shows it.

    Parameters
    ----------
    value : scalebook.analysis.value.Value
        The number.
    spec : str
        Of Python's format language: sign, comma, precision and type. Left out, three
        significant digits, whole thousands with commas.
    with_unit : bool
        Append the unit after a space that does not break.

    Raises
    ------
    ScalebookError
        If the format is not allowed, or the number is none.
    """
    if not _FORMAT.fullmatch(spec):
        raise ScalebookError(f"format {spec!r}; write for example ,.0f or .1f or .0%")
    number = value.value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        text = str(number)
    elif spec:
        text = format(int(number) if spec.endswith("d") else float(number), spec)
    else:
        text = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    text = text.replace("-", "\u2212") if text.startswith("-") else text
    return f"{text}\u00a0{value.unit}" if with_unit and value.unit else text


def provenance(value: Any) -> str:
    """Where a number came from, in one line: kind, source, sample size and interval."""
    source = str(value.source or "")
    said = source if source.startswith(value.kind) else f"{value.kind}: {source}".rstrip(": ")
    parts = [said[:1].upper() + said[1:]]
    if value.kind == "measured" and "n = " not in said:
        parts.append(f"n = {value.n}")
    if value.low is not None and value.high is not None:
        parts.append(f"{_short(value.low)} to {_short(value.high)} {value.unit}".strip())
    return "; ".join(parts)


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


@functools.lru_cache(maxsize=1)
def ledger() -> dict[str, Any]:
    """All numbers of the study, read once a build."""
    from scalebook.analysis import values

    return values.ledger()


def _lookup(key: str) -> Any:
    from scalebook.analysis import values

    known = ledger()
    return known[key] if key in known else values.lookup(key)  # which says what is wrong


def _digest(value: Any) -> str:
    from scalebook.results import queries

    return queries.digest(value)


def digest(app: Sphinx, key: str) -> str:
    """Digest of a number as it would be shown now."""
    try:
        return _digest(_lookup(key))
    except ScalebookError:
        return ""


def visit_html(self: SphinxTranslator, node: study_value) -> None:
    """Write the number with a note that hover and focus show."""
    self._sb_values = getattr(self, "_sb_values", 0) + 1
    name = f"sb-note-{self._sb_values}"
    kind = node["kind"] if node["kind"] in KINDS else "other"
    self.body.append(
        f'<span class="sb-value sb-{kind}" tabindex="0" aria-describedby="{name}">'
        f"{html.escape(node.astext())}"
        f'<span class="sb-note" role="tooltip" id="{name}">{html.escape(node["note"])}</span>'
        "</span>"
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register node and role."""
    app.add_node(study_value, html=(visit_html, None))
    app.add_role("value", ValueRole())
    inputs.DIGESTS["value"] = digest
