"""Phases of a training step, by the names that operators and annotations carry."""

from __future__ import annotations

import re

PHASES = ("data", "forward", "backward", "optimizer", "communication", "other")

#: The autograd engine's frame around one node of the graph.
ENGINE = "autograd::engine::evaluate_function: "

_MARKS = (
    (re.compile(r"^optimizer\.|^optimi[sz]er(_?step)?$|zero_grad", re.I), "optimizer"),
    (re.compile(rf"^{ENGINE}|^(loss_?)?backward$|backward(_?pass)?$|Backward\d*$"), "backward"),
    (
        re.compile(
            r"^enumerate\(DataLoader\)|^(data|dataload(er|ing)|input)(_?(load|wait|copy))?$"
        ),
        "data",
    ),
    (re.compile(r"^(forward(_?pass)?|loss|criterion)$|\.forward$", re.I), "forward"),
)


def marked(name: str) -> int:
    """Number in `PHASES` of the phase that an event of this name opens; -1 for none."""
    name = name[:300]
    for pattern, phase in _MARKS:
        if pattern.search(name):
            return PHASES.index(phase)
    return -1
