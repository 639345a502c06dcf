"""Titles of the slides, each a message with its numbers and a branch for when it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, Sentence, has, listed, measured, number, value

from . import reports as theirs
from .proposal import ASKED, NAMES, OTHERS, fits_development
from .reports import TWO
from .runs import MIDDLE, OPEN, SLOW


def exchange(numbers: Ledger) -> Sentence:
    """What crosses the network in a step."""
    size = f"modelled.{TWO}.gradient_mb"
    if not has(numbers, size):
        return Sentence("unknown", "Work divides by the GPUs, the exchange does not")
    return Sentence(
        "size",
        f"GPUs share the work; {value(size, '.0f')} of gradients cross the network every step",
    )


def results(numbers: Ledger) -> Sentence:
    """What the second GPU brought."""
    rate, time = f"reported.{TWO}.speedup", f"modelled.{TWO}.speedup_by_epoch_time"
    if theirs.arrived(numbers) or not has(numbers, rate, time):
        return links(numbers)
    by_rate, by_time = (value(key, ".2f", False) for key in (rate, time))
    if theirs.bases(numbers) == "agree":
        return Sentence("agree", f"Two T4s are {by_rate} × as fast as one")
    return Sentence("contradict", f"Two T4s: {by_rate} × as fast by rate, {by_time} × by time")


def links(numbers: Ledger) -> Sentence:
    """What the link decides, where our own runs have the word."""
    gains = [f"ddp_2gpu.{name}.speedup" for name in (OPEN, MIDDLE, SLOW)]
    there = [gain for gain in gains if measured(numbers, gain)]
    if not there:
        return Sentence("not run", "What does the second node bring?")
    first, last = (value(f"{gain}.median", ".2f", False) for gain in (there[0], there[-1]))
    if number(numbers, f"{there[-1]}.median") < number(numbers, f"{there[0]}.median"):
        return Sentence("slower", f"The link takes the gain away: {first} × becomes {last} ×")
    return Sentence("not slower", f"The link does not decide: {first} × and {last} ×")


def ask(numbers: Ledger) -> Sentence:
    """What is asked for."""
    hours = f"{ASKED}.node_hours"
    if not has(numbers, hours):
        return Sentence("missing", "The ask: LUMI-G")
    return Sentence(
        "computed",
        f"{value(hours, ',.0f')} of LUMI-G show how far it scales, in "
        f"{value('plan.months', '.0f')}",
    )


def risks(numbers: Ledger) -> Sentence:
    """Whether the plan outlives the machine it is made for."""
    fits = [NAMES[machine] for machine in OTHERS if fits_development(numbers, machine)]
    if not fits:
        return Sentence("alone", "The plan stands or falls with LUMI-G; the other risks are ours")
    return Sentence("others", f"Should LUMI-G be retired, {listed(fits)} can take the plan")


SENTENCES: Mapping[str, Callable[[Ledger], Sentence]] = {
    "slide-ask": ask,
    "slide-exchange": exchange,
    "slide-results": results,
    "slide-risks": risks,
}
