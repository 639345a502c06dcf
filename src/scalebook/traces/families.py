"""Names of kernels, operators and annotations, sorted into families and phases.

A kernel's name says what it computes, not what for: most of a convolution's
time is spent in kernels called gemm, dgrad, or after a hand-tuned tile.
`kernel` therefore answers a different question from `operator`.
"""

import re

from scalebook.study.document import beside

_DATA = beside(__file__)

#: Longest part of a name that is looked at, and templates within each other.
_LONGEST, _DEEPEST = 2000, 4


def _patterns(groups: dict[str, str]) -> list[tuple[re.Pattern[str], str]]:
    """Patterns by family, each of whole words, without the spaces that YAML's folding adds."""
    joined = {family: pattern.replace(" |", "|") for family, pattern in groups.items()}
    return [(re.compile(rf"\b(?:{pattern})\b"), family) for family, pattern in joined.items()]


_KERNELS, _WORDS = _patterns(_DATA["kernels"]), _patterns(_DATA["words"])
_FUSED_OPERATORS = {kind: _patterns(groups) for kind, groups in _DATA["fused_operators"].items()}
_MARKS = [(re.compile(pattern), phase) for phase, pattern in _DATA["phases"].items()]
_WRAPPER, _COPY = re.compile(_DATA["wrappers"]), re.compile(_DATA["copies"])
_OPERATORS = {
    name: family for family, names in _DATA["operators"].items() for name in names.split()
}
_FUSED = re.compile(r"^triton_(poi|red|per|tem|for|mm)_(\w+)")

_ENGINE = "autograd::engine::evaluate_function: "
_BACKWARD = re.compile(r"(_?backwards?(_input|_weight|_bias)?\d*|backward\d+)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[a-z]+|\d+")
_BRACKET = re.compile(r"([<>])")


def words(name: str) -> str:
    """Words of a name in lower case, with single spaces between."""
    return " ".join(_WORD.findall(_CAMEL.sub(" ", name).lower()))


def _first(patterns: list[tuple[re.Pattern[str], str]], text: str) -> str | None:
    return next((family for pattern, family in patterns if pattern.search(text)), None)


def kernel(name: str) -> str:
    """Family of a GPU activity by its own name; template arguments and tile sizes are ignored."""
    name = name[:_LONGEST].replace("(anonymous namespace)::", "")
    return fused(name) or _function(name, _DEEPEST) or "other"


def _function(name: str, deepest: int) -> str | None:
    """Family of a function by its name without templates and arguments."""
    head, opened, inner = name.partition("<")
    head = head.partition("(")[0] or head
    if _COPY.search(name):
        return "layout"
    if opened and deepest and _WRAPPER.search(head.lower().strip()):
        return _argument(inner, deepest) or _first(_KERNELS, words(head))
    plain = _without_templates(name)
    return _first(_KERNELS, words(plain.partition("(")[0] or plain))


def _without_templates(name: str) -> str:
    """A name without its template arguments, even where it was cut within them."""
    depth, kept = 0, []
    for part in _BRACKET.split(name):
        if part == "<":
            depth += 1
        elif part == ">":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(part)
    return "".join(kept)


def _argument(name: str, deepest: int) -> str | None:
    """Family of a template's first argument, or of the first one within it."""
    head, _, inner = name.partition("<")
    head = re.split(r"[,>(]", head)[0]
    # A library's own namespace says nothing yet.
    family = _first(_KERNELS, words(re.sub(r"\bcutlass::", "", head)))
    return family or (_argument(inner, deepest - 1) if inner and deepest else None)


def fused(name: str) -> str | None:
    """Family of a kernel that Inductor made by what kind it is; None for others."""
    match = _FUSED.match(name[:500])
    if match is None:
        return None
    kind: str = _DATA["fused_kinds"][match[1]]
    return _first(_FUSED_OPERATORS.get(kind, []), words(match[2])) or kind


def operator(name: str) -> str | None:
    """Family of an operator; None where the name alone does not say.

    Forward (``aten::conv2d``), backward (``ConvolutionBackward0``,
    ``aten::convolution_backward``) and the autograd engine's frame around it are
    the same operator.
    """
    name = name[:500].removeprefix(_ENGINE)
    lower = name.lower()
    if "_fused_adam" in lower or "_fused_sgd" in lower:
        return "optimizer"
    if lower.startswith("triton_"):
        return fused(name)
    if "cpp_fused_" in lower:
        return "elementwise"
    base = name.rpartition("::")[2]
    plain = _BACKWARD.sub("", _CAMEL.sub("_", base).lower()).strip("_")
    said = words(plain)
    family = annotation(name) or _OPERATORS.get(plain) or _first(_WORDS, said)
    # A product that sends as it goes: the operators within say which is which.
    return None if family == "communication" and re.search(r"\b(mm|matmul)\b", said) else family


def annotation(name: str) -> str | None:
    """Family of an annotation: optimizer, communication; None where it may be around anything."""
    lower = name[:500].lower()
    if lower.startswith("optimizer."):
        return "optimizer"
    return "communication" if lower.startswith(tuple(_DATA["communication"])) else None


# --------------------------------------------------------------------------- phases

#: Phases of a training step.
PHASES = ("data", "forward", "backward", "optimizer", "communication", "other")


def opened_phase(name: str) -> int:
    """Number in `PHASES` of the phase that an event of this name opens; -1 for none."""
    phase = _first(_MARKS, name[:300])
    return PHASES.index(phase) if phase else -1
