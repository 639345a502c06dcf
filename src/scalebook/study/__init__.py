"""What to run: ``study.yaml`` read into frozen, validated objects.

A study names experiments and systems. One of each, with a seed, resolves into
one JSON document that `scalebook.train` reads on any machine.
"""

from scalebook.study.evidence import EvidenceRule
from scalebook.study.model import Campaign, Control, Experiment, Study, load
from scalebook.study.plan import Plan
from scalebook.study.resolving import (
    check_seed,
    detect_device,
    image_sources,
    parse_overrides,
    resolve,
)
from scalebook.study.systems import Accelerator, Accounting, Facts, Slurm, System

__all__ = [
    "Accelerator",
    "Accounting",
    "Campaign",
    "Control",
    "EvidenceRule",
    "Experiment",
    "Facts",
    "Plan",
    "Slurm",
    "Study",
    "System",
    "check_seed",
    "detect_device",
    "image_sources",
    "load",
    "parse_overrides",
    "resolve",
]
