"""Figures by name: those of this package, and of any other that is installed beside it."""

from __future__ import annotations

import sys

import pytest

from scalebook import figures
from scalebook.contract import ScalebookError, UsageError
from scalebook.figures import plot_files, registry, rendering
from scalebook.publish import plots

TOY = """
import plotly.graph_objects as go

from scalebook.figures import figure, theme


@figure("A toy", plot=True)
def toy_figure(height: float = 1.0) -> go.Figure:
    return theme.finish(
        go.Figure(go.Bar(x=["toy"], y=[height])), alt="A bar.", caption="One bar.", sources=[]
    )
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that names a module of its own as figures."""

    def installed(source: str) -> None:
        (tmp_path / "toy_study_figures.py").write_text(source)
        about = tmp_path / "toy_study-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-study\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\ntoy = toy_study_figures\n")
        registry._import_all.cache_clear()

    before = dict(figures.registered())
    monkeypatch.syspath_prepend(tmp_path)
    yield installed
    registry._figures.clear()
    registry._figures.update(before)
    sys.modules.pop("toy_study_figures", None)
    registry._import_all.cache_clear()


@pytest.mark.slow
def test_a_figure_of_another_package_is_drawn_kept_and_shown(study_root, install, monkeypatch):
    install(TOY)
    assert figures.build("toy_figure").layout.title.text == "A toy"
    assert figures.build("toy_figure", height=3).data[0].y == (3,)
    assert plots.as_json("toy_figure")["layout"]["meta"]["caption"] == "One bar."
    assert "toy_figure" in plot_files.stale()
    monkeypatch.setattr(rendering, "browser", lambda: "fake")
    monkeypatch.setattr(
        rendering, "render", lambda drawn, suffixes: [dict.fromkeys(suffixes, b"-")] * len(drawn)
    )
    written = plot_files.update(["toy_figure"])
    assert [path.name for path in written] == ["toy_figure.png", "toy_figure.svg"]
    assert "toy_figure" not in plot_files.stale()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_like_it", "figures of toy_study_figures .*nothing_like_it"),
        (TOY.replace("toy_figure", "gantt"), "'gantt': is in scalebook.figures.plan and in toy"),
    ],
)
def test_another_package_that_fails_is_named_in_one_line(install, source, message):
    install(source)
    with pytest.raises(ScalebookError, match=message) as caught:
        figures.registered()
    assert "\n" not in str(caught.value)


def test_every_figure_has_a_title_and_pages_may_ask_for_any():
    assert all(one.title for one in figures.registered().values())
    assert set(figures.plots()) < set(figures.registered())
    with pytest.raises(UsageError, match="no figure 'pie'; there are accuracy_curves"):
        figures.build("pie")


def test_notebooks_of_older_studies_find_what_they_call():
    assert figures.idle_breakdown is figures.registered()["idle_breakdown"].draw
    assert callable(figures.live_curve) and callable(figures.run_or_attach)
    with pytest.raises(AttributeError, match="no attribute 'pie'"):
        figures.pie  # noqa: B018
