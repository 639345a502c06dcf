"""What to run: ``study.yaml`` read into frozen, validated objects.

A study names experiments and systems. One of each, with a seed, resolves into
one JSON document that `scalebook.train` reads on any machine.
"""

from scalebook.study.model import Campaign, Control, Experiment, Study, load
from scalebook.study.plan import Plan
from scalebook.study.resolving import (
    check_seed,
    detect_device,
    image_sources,
    parse_overrides,
    resolve,
)
from scalebook.study.systems import Accounting, Facts, System

__all__ = [
    "Accounting",
    "Campaign",
    "Control",
    "Experiment",
    "Facts",
    "Plan",
    "Study",
    "System",
    "check_seed",
    "detect_device",
    "image_sources",
    "load",
    "parse_overrides",
    "resolve",
]
