"""A trace cut into pieces is the trace read whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalebook.contract import ScalebookError
from scalebook.traces.backends import splitting

EVIL = st.sampled_from(["}, {", '"}, {"', "}]", '"traceEvents": [', "\\", "]}", "é\u2028", "{"])
TEXT = st.lists(EVIL | st.text(max_size=5), max_size=4).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**12) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4) | VALUES, max_size=12)


def read(data: bytes, piece: int = 16):
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    found = splitting.Events(pieces, "t.json")
    lists = list(found)
    return [event for part in lists for event in part], found.header, len(lists)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(splitting, "CHUNK", 32)


@pytest.mark.slow
@settings(max_examples=150)
@given(EVENTS, st.dictionaries(TEXT, VALUES, max_size=3), st.sampled_from([None, 1]), st.booleans())
def test_pieces_hold_what_the_whole_holds(events, header, indent, bare):
    chunk, splitting.CHUNK = splitting.CHUNK, 32
    try:
        header = {"nested": {"traceEvents": [{"a": 1}, {"b": 2}]}} | header
        header.pop("traceEvents", None)
        head, *rest = header.items()
        document = dict([head, ("traceEvents", events), *rest])
        document = events if bare else document
        found, said, _ = read(json.dumps(document, indent=indent).encode())
        assert found == events
        assert said == ({} if bare else header)
    finally:
        splitting.CHUNK = chunk


def test_a_long_trace_is_really_cut(small):
    events = [{"name": "}, {", "args": {"list": [{"a": 1}, {"b": 2}]}, "ts": i} for i in range(50)]
    for text in (json.dumps(events), json.dumps({"traceEvents": events}, indent=2)):
        found, _, lists = read(text.encode())
        assert found == events and lists > 10


def test_nan_and_bytes_that_are_no_text_are_read_in_any_piece(small):
    events = [{"name": f"event {i}", "ts": i} for i in range(40)]
    text = json.dumps(events).replace('"ts": 7}', '"ts": NaN}').encode()
    text = text.replace(b"event 20", b"event \xff")
    found, _, lists = read(text)
    assert lists > 5 and len(found) == 40
    assert found[7]["ts"] != found[7]["ts"] and found[20]["name"] == "event \ufffd"


@pytest.mark.parametrize("wrap", ['{"traceEvents": %s, "x": 1}', "%s"])
def test_a_document_cut_anywhere_is_refused(small, wrap):
    text = (
        wrap % json.dumps([{"name": f"}}, {{ {i}", "args": {"a": [1]}} for i in range(8)])
    ).encode()
    for end in range(len(text)):
        with pytest.raises(ScalebookError, match="cut short|empty"):
            read(text[:end])


def test_one_endless_event_is_refused(small, monkeypatch):
    monkeypatch.setattr(splitting, "LONGEST", 4000)
    with pytest.raises(ScalebookError, match="one event takes more than"):
        read(b'[{"name": "' + b"x" * 9000 + b'"}]')
    with pytest.raises(ScalebookError, match="without an event"):
        read(b'{"a": "' + b"x" * 9000 + b'", "traceEvents": []}')
