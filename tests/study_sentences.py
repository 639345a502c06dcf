"""The computed sentences of this study, as its book loads them."""

from pathlib import Path

from scalebook.publish import texts

sentences = texts.load(Path(__file__).resolve().parent.parent)
assert sentences is not None
captions, ours, proposal, theirs = (
    sentences.captions,
    sentences.ours,
    sentences.proposal,
    sentences.theirs,
)
