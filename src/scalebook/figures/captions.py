"""What figures say of where their numbers come from: headings of plots, sentences of captions."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import pandas as pd

from scalebook.analysis import study_queries
from scalebook.analysis.comparable import Configuration
from scalebook.analysis.text import count, listed
from scalebook.figures import theme
from scalebook.study.document import beside

_TEXTS: dict[str, dict[str, str]] = beside(__file__)

#: First sentence of a caption where the images were generated.
SYNTHETIC_DATA = "SYNTHETIC DATA: generated images, the accuracies mean nothing. "


#: First sentence of a caption that shows trials, since no run is evidence yet.
TRIAL = "TRIAL: no run stands behind the documents yet. "


def text(figure: str, part: str, /, **about: object) -> str:
    """One of the texts of a figure, filled in."""
    return _TEXTS[figure][part].format(**about)


class Texts(TypedDict):
    """What `theme.finish` takes of a figure's texts."""

    alt: str
    caption: str
    details: str


def texts(figure: str, /, **about: object) -> Texts:
    """Alternative text and caption of a figure, filled in."""
    found = {part: _TEXTS[figure].get(part, "").format(**about) for part in Texts.__annotations__}
    return Texts(alt=found["alt"], caption=found["caption"], details=found["details"])


def heading(configuration: Configuration) -> str:
    """Two lines: kind and system, then device and data."""
    data = configuration["dataset"] or "data unknown"
    if configuration["subset"]:
        data += (
            f", {configuration['train_images']:,} images"
            if configuration["train_images"]
            else ", subset"
        )
    device = theme.escape(
        configuration["device_name"] or configuration["device"] or "device unknown", 40
    )
    preposition = "for" if configuration.kind == "reported" else "on"
    kind = "TRIAL" if configuration.trial else configuration.kind
    return (
        f"<b>{kind} {preposition} {theme.escape(configuration.machine or 'unknown system', 30)}</b>"
        f"<br>{device}, {theme.escape(data, 32)}"
    )


def subject(kind: str, system: str | None) -> str:
    """Start of a sentence about one plot: ``Measured on one machine`` or ``Reported for …``."""
    where = study_queries.label(system, "system") or "some system"
    return f"{kind.capitalize()} {'for' if kind == 'reported' else 'on'} {where}"


def trial(found: Sequence[Configuration]) -> bool:
    """Whether trials are shown, since no run stands behind the documents yet."""
    return any(configuration.trial for configuration in found)


def synthetic_warning(found: Sequence[Configuration]) -> str:
    """First sentences of a caption of trials, and of generated images; empty otherwise."""
    return (TRIAL if trial(found) else "") + (
        SYNTHETIC_DATA if any(configuration.synthetic for configuration in found) else ""
    )


def capitalised(sentence: str) -> str:
    """A sentence that may begin with a label, or with a name, which stays as it is."""
    first = sentence.partition(" ")[0].rstrip(",:")
    if first in (*study_queries.experiments(), *study_queries.systems()):
        return sentence
    return sentence[:1].upper() + sentence[1:]


def machines(systems: Iterable[str | None]) -> str:
    """Sentences that say what the systems are, as their facts title them; empty if none does."""
    titled: dict[str, list[str]] = {}
    for name in dict.fromkeys(systems):
        if name and (title := study_queries.facts(name).title):
            titled.setdefault(title, []).append(study_queries.label(name, "system"))
    return "".join(f"{capitalised(listed(names))}: {title}. " for title, names in titled.items())


def origin(found: Sequence[Configuration]) -> str:
    """Last sentences of a caption: the runs and reports behind it."""
    # Experiments with the same conditions together, then systems with the same experiments.
    experiments: dict[tuple[int, str, str], list[str]] = {}
    for configuration in found:
        if configuration.kind == "measured":
            key = (len(configuration.runs), configuration.conditions, str(configuration.machine))
            experiments.setdefault(key, []).append(configuration.title)
    systems: dict[tuple[int, str, tuple[str, ...]], list[str]] = {}
    for (n, conditions, system), names in experiments.items():
        systems.setdefault((n, conditions, tuple(names)), []).append(system)
    measured = [
        f"{count(n, 'run')} {'each ' if len(names) > 1 or len(on) > 1 else ''}"
        f"of {listed(list(names))} on {listed(on)} {conditions}"
        for (n, conditions, names), on in systems.items()
    ]
    jobs = [
        str(job)
        for configuration in found
        if configuration.kind == "reported"
        for job in configuration.runs["job_id"]
    ]
    sentences = []
    if measured:
        kind = "Trial" if trial(found) else "Measured"
        sentences.append(f"{kind}: {'; '.join(measured)}.")
    if jobs:
        sentences.append(
            f"Reported and not verified: job{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}, "
            "one run each."
        )
    if not measured:
        sentences.append("No measured run is evidence yet.")
    return " ".join(sentences)


def left_out(given: pd.DataFrame, drawn: pd.DataFrame) -> str:
    """Last sentence of a caption where `comparable.whole` left runs out; empty otherwise."""
    n = len(given) - len(drawn)
    return f" {count(n, 'run')} on a part of the data set left out." if n else ""
