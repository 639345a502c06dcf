"""Colours and titles of what a trace is sorted by: families of operators, phases."""

from scalebook.figures import theme

#: Colour of each family, the same in every figure; all stand out on light and dark pages.
COLOURS = {
    "convolution": "#0072B2",
    "gemm": "#56B4E9",
    "batch_norm": "#D55E00",
    "elementwise": "#E69F00",
    "reduction": "#999933",
    "pooling": "#009E73",
    "optimizer": "#CC79A7",
    "communication": "#8F5CE0",
    "memory": "#44AA99",
    "layout": "#B08D57",
    "other": theme.GREY,
}

#: Marker of each phase of a training step.
SYMBOLS = {
    "forward": "circle",
    "backward": "square",
    "optimizer": "diamond",
    "data": "triangle-up",
    "communication": "cross",
    "other": "x",
}

_TITLES = {"gemm": "GEMM", "nccl": "NCCL"}


def colour(family: str) -> str:
    """Colour of a family; grey for one that is not known."""
    return COLOURS.get(family, theme.GREY)


def title(family: str) -> str:
    """Name of a family, phase or metric for a reader."""
    return _TITLES.get(family.lower(), family.replace("_", " "))


def colour_of_title(text: str) -> str:
    """Colour of a family by what `title` calls it; grey for one that is not known."""
    return next((hue for family, hue in COLOURS.items() if title(family) == text), theme.GREY)


def ms(microseconds: float) -> str:
    """A duration in ms with about three digits."""
    value = microseconds / 1e3
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f} ms"


def duration(microseconds: float) -> str:
    """A duration in the unit that suits it."""
    return ms(microseconds) if microseconds >= 1000 else f"{microseconds:.4g} µs"
