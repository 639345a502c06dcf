"""Sentences whose meaning depends on the data: ``{study-text} NAME``.

Each is a function from the ledger to a case and its MyST text. It chooses by comparing numbers, and
names the numbers by key. Where a number is missing it says what is missing, so that the documents
can be built before a run is made, and say something else once a file arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scalebook.values.sentences import Ledger, Sentence

from . import answers, captions, paper, proposal, slides
from . import reports as theirs
from . import runs as ours

#: Every computed sentence by its name in ``{study-text} NAME``.
SENTENCES: Mapping[str, Callable[[Ledger], Sentence]] = {
    "accuracies": ours.accuracies,
    "answer-bottleneck": answers.bottleneck,
    "answer-precision": answers.precision,
    "answer-scaling": answers.scaling,
    "batch-norm": theirs.batch_norm,
    "cpu-profile": theirs.cpu_profile,
    "curve": ours.curve,
    "exchange": theirs.exchange,
    "half-precision": theirs.half_precision,
    "ladders": ours.ladders,
    "link-effect": ours.link_effect,
    "links-compared": ours.links_compared,
    "open-link": ours.open_link,
    "options": ours.options,
    "overlap": ours.overlap,
    "product": ours.product,
    "same-training": ours.same_training,
    "stem": theirs.stem,
    "weak-effect": ours.weak_effect,
    "caption-accuracy": captions.accuracy,
    "caption-allreduce": captions.allreduce,
    "caption-overheads": captions.overheads,
    "caption-profile": captions.profile,
    "caption-scaling": captions.scaling,
    "caption-throughput": captions.throughput,
    **paper.SENTENCES,
    **proposal.SENTENCES,
    **slides.SENTENCES,
}
