"""The computed sentences of this study, as its book loads them."""

from paths import REPOSITORY

from scalebook.values.sentences import load

sentences = load(REPOSITORY)
assert sentences is not None
captions, ours, paper, proposal, theirs = (
    sentences.captions,
    sentences.ours,
    sentences.paper,
    sentences.proposal,
    sentences.theirs,
)
