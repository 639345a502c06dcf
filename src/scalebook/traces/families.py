"""Names of kernels, operators and annotations, sorted into families and phases.

A kernel's name says what it computes, not what for: most of a convolution's
time is spent in kernels called gemm, dgrad, or after a hand-tuned tile.
`kernel` therefore answers a different question from `operator`.
"""

import re

from scalebook.study.document import beside

FAMILIES = (
    "convolution", "gemm", "batch_norm", "elementwise", "reduction", "pooling", "optimizer",
    "communication", "memory", "layout", "other",
)  # fmt: skip

_DATA = beside(__file__)


def _patterns(group: str) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), family) for family, pattern in _DATA[group].items()]


_WHOLE_PATTERNS, _FUNCTION_PATTERNS, _FUSED_OPERATORS, _MARKS = map(
    _patterns, ("whole_name", "function", "fused_operators", "phases")
)
_OPERATORS = {
    name: family for family, names in _DATA["operators"].items() for name in names.split()
}
_FUSED = re.compile(r"^triton_(poi|red|per|tem|for|mm)_fused_(\w+)")

_ENGINE = "autograd::engine::evaluate_function: "
_BACKWARD = re.compile(r"(_?backward(_input|_weight|_bias)?\d*|backward\d+)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kernel(name: str) -> str:
    """Family of a GPU activity by its own name."""
    name = name[:2000].lower().replace("(anonymous namespace)::", "")
    # Argument lists hold types only.
    whole = name.partition("(")[0] or name
    for pattern, family in _WHOLE_PATTERNS:
        if pattern.search(whole):
            return family
    function = whole.partition("<")[0]
    for pattern, family in _FUNCTION_PATTERNS:
        if pattern.search(function):
            return family
    return "other"


def fused(name: str) -> str | None:
    """Family of a Triton kernel by the operators that Inductor fused in it; None for others."""
    match = _FUSED.match(name[:500])
    if match is None:
        return None
    for pattern, family in _FUSED_OPERATORS:
        if pattern.search(match[2]):
            return family
    kind: str = _DATA["fused_kinds"][match[1]]
    return kind


def operator(name: str) -> str | None:
    """Family of an operator or annotation; None where the name alone does not say.

    Forward (``aten::conv2d``), backward (``ConvolutionBackward0``,
    ``aten::convolution_backward``) and the autograd engine's frame around it are
    the same operator.
    """
    name = name[:500].removeprefix(_ENGINE)
    lower = name.lower()
    if lower.startswith("optimizer.") or "_fused_adam" in lower or "_fused_sgd" in lower:
        return "optimizer"
    if lower.startswith(tuple(_DATA["communication"])):
        return "communication"
    if lower.startswith("triton_"):
        return fused(name)
    base = name.rpartition("::")[2]
    plain = _BACKWARD.sub("", _CAMEL.sub("_", base).lower()).strip("_")
    if re.search(r"conv(?!ert|ersion)", plain):
        return "convolution"
    if "batch_norm" in plain or "batchnorm" in plain:
        return "batch_norm"
    if re.search(r"(max|avg|average|lp|fractional)_?pool", plain):
        return "pooling"
    if plain.startswith("foreach_"):
        return "elementwise"
    return _OPERATORS.get(plain)


# --------------------------------------------------------------------------- phases

#: Phases of a training step.
PHASES = ("data", "forward", "backward", "optimizer", "communication", "other")


def opened_phase(name: str) -> int:
    """Number in `PHASES` of the phase that an event of this name opens; -1 for none."""
    name = name[:300]
    for pattern, phase in _MARKS:
        if pattern.search(name):
            return PHASES.index(phase)
    return -1
