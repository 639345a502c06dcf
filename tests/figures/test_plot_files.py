"""Figures as files: keyed by content, rendered only when stale, whole or not at all."""

from __future__ import annotations

import json
import os

import numpy as np
import plotly.graph_objects as go
import pytest
from fabricate import add_run
from waiting import PATIENCE_S

from scalebook import contract, figures
from scalebook.contract import ScalebookError
from scalebook.figures import plot_files, rendering, theme

FEW = ("throughput_comparison", "scaling_efficiency")


@pytest.fixture(autouse=True)
def few(request, monkeypatch):
    """A few plots of all: how their files are kept does not depend on how many there are."""
    chosen = {name: figures.plots()[name] for name in getattr(request, "param", FEW)}
    monkeypatch.setattr(plot_files, "plots", lambda: chosen)


def shown(narrow=False):
    """Names of the figures that have something to show, of those for one column if wanted."""
    names = [name for name, one in plot_files.plots().items() if one.column or not narrow]
    return [name for name in names if not theme.is_empty(figures.build(name))]


@pytest.fixture
def fake_browser(monkeypatch):
    """Renders nothing, but says how often it was asked."""
    asked = []

    def render(drawn, suffixes):
        asked.append(len(drawn))
        return [dict.fromkeys(suffixes, b"<svg></svg>")] * len(drawn)

    monkeypatch.setattr(rendering, "render", render)
    monkeypatch.setattr(rendering, "browser", lambda: "fake")
    return asked


def test_the_digest_sees_numbers_and_not_their_encoding():
    plain = go.Figure(go.Scatter(x=[1, 2], y=[0.1, 0.2]))
    arrays = go.Figure(go.Scatter(x=np.array([1, 2], "i4"), y=np.array([0.1, 0.2])))
    expected = plot_files.digest(plain)
    assert plot_files.digest(arrays) == expected
    assert plot_files.digest(go.Figure(json.loads(arrays.to_json()))) == expected
    assert plot_files.digest(go.Figure(plain).update_layout(height=300)) != expected


@pytest.mark.slow
@pytest.mark.parametrize("few", [(*FEW, "accuracy_curves", "overheads")], indirect=True)
def test_only_what_changed_is_stale(study_root, tmp_path, fake_browser):
    out = tmp_path / "plots"
    wide, narrow = shown(), shown(narrow=True)
    assert "throughput_comparison" in wide and "overheads" not in wide  # no run on two nodes
    assert plot_files.stale(out) == wide
    assert len(plot_files.update(plot_files.stale(out), out)) == 2 * len(wide) + len(narrow)
    assert plot_files.stale(out) == [] and plot_files.update(plot_files.stale(out), out) == []
    # A trial changes no document, a run that is evidence does.
    add_run(study_root, local=True, seed=5)
    assert plot_files.stale(out) == []
    add_run(study_root)
    assert plot_files.stale(out) == ["throughput_comparison", "accuracy_curves"]
    plot_files.update(["accuracy_curves"], out)
    assert plot_files.stale(out) == ["throughput_comparison"]
    assert fake_browser == [len(wide) + len(narrow), 2]
    os.utime(out / "accuracy_curves.png", (0, 0))
    (out / "scaling_efficiency.svg").unlink()
    assert plot_files.stale(out) == ["throughput_comparison", "scaling_efficiency"]
    (out / "accuracy_curves.column.svg").unlink()
    assert "accuracy_curves" in plot_files.stale(out)


def test_a_figure_that_shows_nothing_has_no_files(study_root, tmp_path, fake_browser):
    (study_root / "data/reported/magic-castle-2025.yaml").unlink()
    out = tmp_path / "plots"
    assert "throughput_comparison" not in plot_files.stale(out)
    out.mkdir()
    (out / "throughput_comparison.svg").write_text("of a run that is no more")
    assert "throughput_comparison" in plot_files.stale(out)
    plot_files.update(plot_files.stale(out), out)
    assert not list(out.glob("throughput_comparison*")) and plot_files.stale(out) == []
    assert "scalebook run baseline" in figures.build("throughput_comparison").layout.meta["alt"]


@pytest.mark.slow
def test_a_stale_figure_is_named_with_the_command(study_root, fake_browser):
    assert plot_files.stale_notice() == ""  # of a study that never rendered any
    plot_files.update(plot_files.stale())
    assert plot_files.stale_notice() == ""
    path = plot_files.folder() / "index.json"
    index = json.loads(path.read_text())
    contract.write_json(path, {**index, next(iter(index)): "another"})
    assert plot_files.stale_notice().endswith("render them with: scalebook figures")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"throughput_comparison": 3, "gone": "x"}'])
def test_a_damaged_index_makes_figures_stale(study_root, tmp_path, fake_browser, content):
    contract.write_whole(tmp_path / "plots/index.json", content)
    assert plot_files.stale(tmp_path / "plots") == shown()
    plot_files.update(shown(), tmp_path / "plots")
    narrow = {f"{name}.column" for name in shown(narrow=True)}
    index = json.loads((tmp_path / "plots/index.json").read_text())
    assert set(index) == {*shown(), *narrow}


@pytest.mark.slow
def test_no_browser_is_one_line_only_when_asked_to_render(study_root, tmp_path, monkeypatch):
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "plots"
    assert plot_files.stale(out) == shown()
    with pytest.raises(ScalebookError, match="install chromium, or set BROWSER_PATH") as caught:
        plot_files.update(plot_files.stale(out), out)
    assert "\n" not in str(caught.value) and "scaling_efficiency" in str(caught.value)
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_one_line(study_root, tmp_path, fake_browser):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "plots"):
        with pytest.raises(ScalebookError, match="is no folder that can be written") as caught:
            plot_files.update(["scaling_efficiency"], out)
        assert "\n" not in str(caught.value)
    # A disk may be full only when the file is written.
    taken = tmp_path / "plots"
    (taken / "scaling_efficiency.png").mkdir(parents=True)
    with pytest.raises(ScalebookError, match="cannot be written"):
        plot_files.update(["scaling_efficiency"], taken)
    assert plot_files.stale(taken)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("script", "said"), [("exit 3", "could not render"), ("sleep 60", "no answer in 5 s")]
)
def test_a_browser_that_fails_leaves_no_file(study_root, tmp_path, monkeypatch, script, said):
    broken = tmp_path / "chromium"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    monkeypatch.setattr(rendering, "TIMEOUT_S", 5 if "no answer" in said else PATIENCE_S)
    with pytest.raises(ScalebookError, match=said) as caught:
        plot_files.update(["scaling_efficiency"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.browser
def test_files_are_300_dpi_and_vector_on_white(study_root, tmp_path):
    from PIL import Image

    add_run(study_root)
    written = plot_files.update(["throughput_comparison"], tmp_path)
    assert [path.name for path in written] == [
        "throughput_comparison.png",
        "throughput_comparison.svg",
        "throughput_comparison.column.svg",
    ]
    with Image.open(written[0]) as image:
        assert image.size[0] == 1950 and image.mode == "RGB"
        assert round(image.info["dpi"][0]) == 300
        assert image.getpixel((2, 2)) == (255, 255, 255)
    svg = written[1].read_text()
    assert svg.startswith("<svg") and "<desc>Bar chart of throughput" in svg
    assert "images/s" in svg and "http" not in svg.replace("http://www.w3.org", "")


def test_print_and_screen_are_one_drawing(study_root):
    screen = figures.build("throughput_comparison")
    printed = rendering.printed(screen)
    assert printed.to_plotly_json()["data"] == screen.to_plotly_json()["data"]
    assert printed.layout.template.layout.paper_bgcolor == "#ffffff"
    assert screen.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
