"""Figures by name: `figure` registers what draws one, `build` draws it.

A figure of another package registers in the same way, in a module that the package names as an
entry point of the group ``scalebook.figures``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ParamSpec, TypeVar

import plotly.graph_objects as go

from scalebook.contract import ScalebookError, UsageError
from scalebook.figures import theme
from scalebook.results import answer, one_snapshot

#: Group of entry points whose modules register figures.
GROUP = "scalebook.figures"

_Arguments = ParamSpec("_Arguments")
Value = TypeVar("Value")
_figures: dict[str, Registered] = {}


@dataclass(frozen=True)
class Registered:
    """A figure that can be asked for by its name.

    Attributes
    ----------
    title : str
        What it shows, in a few words; the figure's title where it does not set one.
    draw : callable
        Draws it; without arguments from all that may stand in a document.
    plot : bool
        Whether it is one of the study's plots, which are kept as files.
    column : bool
        Whether it is kept as it is laid out for one column of a paper too.
    """

    title: str
    draw: Callable[..., go.Figure]
    plot: bool
    column: bool

    def answer(self, name: str, make: Callable[[], Value]) -> Value:
        """What `make` gives for this figure, kept on disk under `name` by `results.answer`.

        Of a figure of another package nobody knows when its code changes: it is made each time.
        """
        own = self.draw.__module__.startswith("scalebook.")
        return answer(name, make) if own else make()

    @property
    def alone(self) -> bool:
        """Whether it is drawn without being told of which run or trace."""
        asked = inspect.signature(self.draw).parameters.values()
        return all(parameter.default is not parameter.empty for parameter in asked)


def figure(
    title: str, plot: bool = False, column: bool = False, lenient: bool = False
) -> Callable[[Callable[_Arguments, go.Figure]], Callable[_Arguments, go.Figure]]:
    """Register the decorated function as the figure of its name.

    Parameters
    ----------
    title, plot, column
        As of `Registered`.
    lenient : bool
        Whether an error in what is drawn stands in the figure, in place of everything else.
    """

    def register(
        draw: Callable[_Arguments, go.Figure],
    ) -> Callable[_Arguments, go.Figure]:
        name = draw.__name__

        @functools.wraps(draw)
        def titled(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> go.Figure:
            try:
                with one_snapshot():
                    drawn = draw(*args, **kwargs)
            except ScalebookError as error:
                if not lenient:
                    raise
                drawn = theme.empty(str(error))
            if drawn.layout.title.text is None:
                drawn.update_layout(title_text=title)
            drawn.layout.meta = {**(drawn.layout.meta or {}), "name": name}
            return drawn

        before = _figures.get(name)
        if before and before.draw.__module__ != draw.__module__:
            raise ScalebookError(
                f"figure {name!r}: is in {before.draw.__module__} and in {draw.__module__}"
            )
        _figures[name] = Registered(title, titled, plot, column)
        return titled

    return register


def registered() -> Mapping[str, Registered]:
    """All figures by name: those of this package, then those of others.

    Raises
    ------
    ScalebookError
        If a module of another package cannot be imported.
    """
    _import_all()
    return _figures


@functools.cache
def _import_all() -> None:
    package = importlib.import_module("scalebook.figures")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    for entry in metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            raise ScalebookError(
                f"figures of {entry.value} (entry point {entry.name}): "
                f"{type(error).__name__}: {error}"
            ) from None


def plots() -> dict[str, Registered]:
    """The study's plots, by the name of their files."""
    return {name: entry for name, entry in registered().items() if entry.plot}


def build(name: str, **arguments: Any) -> go.Figure:
    """Draw a figure.

    Parameters
    ----------
    name : str
        Of the figure.
    **arguments
        As the function that draws it takes them; from all that may stand in a document
        where left out.

    Returns
    -------
    Figure
        With ``layout.meta`` of ``name``, ``alt``, ``caption`` and ``sources``.

    Raises
    ------
    UsageError
        If there is no such figure, or it must be told of which run or trace.
    """
    entry = registered().get(name)
    if entry is None:
        raise UsageError(f"no figure {name!r}; there are {', '.join(sorted(_figures))}")
    if not (arguments or entry.alone):
        raise UsageError(f"figure {name!r}: shows one run or trace, which its notebook chooses")
    return entry.draw(**arguments)
