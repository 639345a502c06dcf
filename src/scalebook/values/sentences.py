"""Computed sentences: what a study writes them with, how they are loaded, and how one is made.

A study has them as ``book/sentences.py`` or a package ``book/sentences/``, with

    SENTENCES: Mapping[str, Callable[[Ledger], Sentence]]

A function takes the numbers of the ledger by key. It compares them, and answers with the case that
holds and MyST text for it, which has ``{value}`` roles, citations and formulas as typed text does.
A sentence holds no number itself: it names keys, and the page looks them up, so that a reader can
follow each number to its origin in a computed sentence as in a typed one.
"""

import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from scalebook import contract
from scalebook.analysis import reported_jobs, study_queries
from scalebook.analysis.text import listed as listed  # for sentences of a study
from scalebook.contract import ScalebookError
from scalebook.values.value import Value

#: The numbers a sentence may ask about, by key.
Ledger = Mapping[str, Value]


class Sentence(NamedTuple):
    """A computed sentence: which case holds, in a word or two, and the text for it."""

    case: str
    text: str


#: Where a study has its sentences, relative to its root; the first that is there.
FILES = ("book/sentences/__init__.py", "book/sentences.py")
_MARKUP = re.compile(r"[\\*_\[\]{}<>$~#|]")
_MODULE = "scalebook_study_sentences"


def load(root: Path) -> ModuleType | None:
    """Import the sentences of a study anew; None where it has none.

    Raises
    ------
    ScalebookError
        If they cannot be imported, or have no ``SENTENCES``.
    """
    file = next((file for file in FILES if (root / file).is_file()), None)
    if file is None:
        return None
    # Studies that `scalebook new` made before this module had its name import it by the old one.
    sys.modules.setdefault("scalebook.analysis.phrases", sys.modules[__name__])
    for name in [name for name in sys.modules if name.partition(".")[0] == _MODULE]:
        del sys.modules[name]
    path = root / file
    parts = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(_MODULE, path, submodule_search_locations=parts)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScalebookError(f"{file}: {type(error).__name__}: {error}") from None
    if not isinstance(getattr(module, "SENTENCES", None), Mapping):
        raise ScalebookError(f"{file}: has no SENTENCES, a mapping of names to functions")
    return module


@functools.lru_cache(maxsize=4)
def functions(root: Path) -> Mapping[str, Callable[[Ledger], Sentence | str]]:
    """Functions of the sentences of a study by name; loaded once until ``cache_clear``."""
    module = load(root)
    if module is None:
        raise ScalebookError(f"no computed sentence is there: write one in {FILES[1]}")
    sentences: Mapping[str, Callable[[Ledger], Sentence | str]] = module.SENTENCES
    return sentences


def make(name: str, numbers: Ledger) -> Sentence:
    """Make a sentence of the study; one that gives its text alone has no case.

    Raises
    ------
    ScalebookError
        If there is no such sentence, or it fails.
    """
    sentences = functions(contract.find_root())
    if name not in sentences:
        raise ScalebookError(f"no text {name!r}; there are {', '.join(sorted(sentences))}")
    try:
        made = sentences[name](numbers)
        return Sentence("", made) if isinstance(made, str) else Sentence(*made)
    except KeyError as error:
        raise ScalebookError(f"text {name!r} asks for the number {error}: there is none") from None
    except Exception as error:
        raise ScalebookError(f"text {name!r} fails: {type(error).__name__}: {error}") from None


# --------------------------------------------------------------------------- what they are made of


def value(key: str, spec: str = "", unit: bool = True) -> str:
    """Role that shows the number behind a key.

    Parameters
    ----------
    key : str
        Of the ledger.
    spec : str
        Format, as in ``,.0f``; as `analysis.text.number` writes it where left out.
    unit : bool
        Show its unit behind it.
    """
    return f"{{value}}`{key}{f'|{spec}' if spec or unit else ''}{'|unit' if unit else ''}`"


def spread(prefix: str, spec: str = "", unit: bool = True) -> str:
    """Median with its interval, as ``25 % (23–26 %)``; the keys are ``prefix.median`` and so on."""
    low, high = value(f"{prefix}.low", spec, False), value(f"{prefix}.high", spec, unit)
    return f"{value(f'{prefix}.median', spec, unit)} ({low}–{high})"


def label(name: str, of: study_queries.Labelled = "experiment") -> str:
    """What a reader calls an experiment or system, as MyST shows it."""
    return _MARKUP.sub(r"\\\g<0>", str(study_queries.label(name, of)))


def has(numbers: Ledger, *keys: str) -> bool:
    """Whether all keys are in the ledger."""
    return all(key in numbers for key in keys)


def number(numbers: Ledger, key: str) -> float:
    """The number behind a key that is there."""
    return numbers[key].value


def agree(numbers: Ledger, one: str, other: str) -> bool:
    """Whether two numbers agree as closely as the checks of reports ask."""
    return reported_jobs.agree(number(numbers, one), number(numbers, other))


def below(numbers: Ledger, one: str, other: str) -> bool:
    """Whether the whole interval of the first quantity lies under that of the second."""
    return number(numbers, f"{one}.high") < number(numbers, f"{other}.low")


def apart(numbers: Ledger, one: str, other: str) -> bool:
    """Whether the intervals of two measured quantities have no value in common.

    Parameters
    ----------
    numbers : mapping
        The ledger.
    one, other : str
        Prefixes of keys that end in ``.low`` and ``.high``.
    """
    return below(numbers, one, other) or below(numbers, other, one)


def differ(numbers: Ledger, one: str, other: str, spread: str) -> bool:
    """Whether two quantities differ, and by more than a control differs from itself.

    Parameters
    ----------
    numbers : mapping
        The ledger.
    one, other : str
        Prefixes of keys that end in ``.median``, ``.low`` and ``.high``.
    spread : str
        Key of the control's largest over its smallest value, such as
        ``control.ddp_1node.spread``; without it nothing is said to differ.
    """
    medians = sorted(number(numbers, f"{prefix}.median") for prefix in (one, other))
    beyond = has(numbers, spread) and medians[1] > number(numbers, spread) * medians[0]
    return beyond and apart(numbers, one, other)


def measured(numbers: Ledger, *prefixes: str) -> bool:
    """Whether each quantity has a median with an interval in the ledger."""
    ends = ("median", "low", "high")
    return all(has(numbers, *(f"{prefix}.{end}" for end in ends)) for prefix in prefixes)
