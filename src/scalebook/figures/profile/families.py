"""Colours and titles of what a trace is sorted by: families of operators, phases."""

from scalebook.figures import theme
from scalebook.study.document import beside

_DRAWN: dict[str, dict[str, str]] = beside(__file__)
COLOURS = {**_DRAWN["colours"], "other": theme.GREY}
SYMBOLS = _DRAWN["symbols"]

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
