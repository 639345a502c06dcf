"""The scripts of examples/, each run in this study's folder."""

import subprocess
import sys

import pytest
from paths import REPOSITORY

pytestmark = pytest.mark.examples


def run(name, *arguments):
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_a_studys_runs_are_a_table():
    header, names, *rows = run("runs_table").splitlines()
    assert header == "images/s over seeds" and names.split()[-4:] == [
        "median",
        "min",
        "max",
        "count",
    ]
    for row in rows[1:]:
        middle, low, high, count = map(float, row.split()[-4:])
        assert 0 < low <= middle <= high and count >= 1
    assert any("ddp_2gpu" in row for row in rows)


def test_a_figure_of_ones_own_is_in_the_books_theme(tmp_path):
    run("own_figure", tmp_path / "own.html")
    page = (tmp_path / "own.html").read_text()
    assert "validation accuracy (%)" in page and "ddp_2gpu_" in page and "Accuracy by time" in page


def test_a_trace_has_its_verdict():
    trace = next((REPOSITORY / "results/profiling").glob("*_2cpu_*_rank0.pt.trace.json.gz"))
    name, *times, verdict = run("trace_verdict", trace.relative_to(REPOSITORY)).splitlines()
    assert name == str(trace.relative_to(REPOSITORY)) and verdict.strip().startswith("The run is ")
    assert [time.split()[0] for time in times] == ["compute", "communication", "memory", "idle"]


def test_an_example_is_ten_to_thirty_lines():
    scripts = list((REPOSITORY / "examples").glob("*.py"))
    assert len(scripts) == 3
    assert all(10 <= len(script.read_text().splitlines()) <= 30 for script in scripts)
