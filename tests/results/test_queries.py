"""The log of questions asked, and digests of their answers."""

from __future__ import annotations

import base64
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalebook import results
from scalebook.contract import ScalebookError, UsageError
from scalebook.results import queries
from scalebook.results.digests import canonical


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "asked.jsonl"
    monkeypatch.setenv("SCALEBOOK_QUERY_LOG", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def test_each_call_is_logged_and_can_be_asked_again(study_root, log):
    results.runs(evidence=True, experiment=["baseline", "fp16"])
    results.newest("baseline")
    with pytest.raises(ScalebookError):
        results.epochs("baseline_1_1cpu_1")
    lines = log()
    assert [line["query"] for line in lines] == ["runs", "newest", "epochs"]
    assert lines[0]["kwargs"] == {"evidence": True, "experiment": ["baseline", "fp16"]}
    assert lines[1]["kwargs"] == {"experiment": "baseline"}
    for line in lines:
        assert results.answer_digest(line["query"], line["kwargs"]) == line["answer"]
    assert len(log()) == 3


def test_paths_in_the_log_are_relative(study_root, log):
    @queries.query
    def echo_path(path):
        return str(path).rpartition("/")[2]

    try:
        echo_path(study_root / "results" / "x.json")
        echo_path(str(study_root / "results" / "x.json"))
        assert {line["kwargs"]["path"] for line in log()} == {"results/x.json"}
    finally:
        del queries._registry["echo_path"]


def test_inner_queries_are_covered_by_the_outer_one(log):
    @queries.query
    def outer_question():
        return len(results.reported())

    try:
        outer_question()
        assert [line["query"] for line in log()] == ["outer_question"]
    finally:
        del queries._registry["outer_question"]


def test_unknown_queries_and_arguments_are_refused(study_root):
    with pytest.raises(UsageError, match="no query 'delete'"):
        results.answer_digest("delete", {})
    with pytest.raises(UsageError, match="query epochs"):
        results.answer_digest("epochs", {"step": 1})


def test_the_form_of_an_answer_does_not_matter():
    one = pd.DataFrame({"a": [1, 2], "b": [1.0, np.nan]})
    other = pd.DataFrame({"a": [1.0, 2.0], "b": [1, None]}, index=[7, 3], dtype=object)
    assert results.digest(one) == results.digest(other)
    assert results.digest({"x": np.float64(0.1), "y": (1, 2)}) == results.digest(
        {"y": np.array([1, 2]), "x": 0.1}
    )
    assert results.digest(one) != results.digest(one[["b", "a"]])
    assert results.digest(one) != results.digest(one.iloc[::-1])
    assert results.digest(50_000_001) != results.digest(50_000_002)


@given(st.floats(1e-6, 1e6))
def test_six_significant_digits_count(value):
    assert results.digest(value) == results.digest(float(f"{value:.17g}"))
    assert results.digest(value) != results.digest(value * 1.001)


def test_an_array_counts_by_its_numbers_however_plotly_packed_it():
    numbers = np.array([[1.0, 2.5], [1e7, -4.0]], dtype="<f8")
    packed = {"bdata": base64.b64encode(numbers.tobytes()).decode(), "dtype": "f8", "shape": "2, 2"}
    assert results.digest({"y": packed}) == results.digest({"y": numbers})
    assert canonical(packed) == [[1, 2.5], [10_000_000, -4]]
    assert results.digest({"x": 1234567}) != results.digest({"x": 1234568})
    assert results.digest({"x": 1234567.1}) == results.digest({"x": 1234568.1})


def test_an_object_of_the_study_counts_by_what_it_says(study_root):
    experiment = results.snapshot().study.experiments["baseline"]
    assert results.digest(experiment) == results.digest(experiment.model_dump(mode="json"))
