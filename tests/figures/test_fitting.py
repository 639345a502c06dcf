"""Figures for one column of a paper: letters that can be read, numbers as in the wide drawing."""

from __future__ import annotations

import configparser
import json
import re
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from docutils import nodes
from fabricate import add_run
from paths import REPOSITORY
from sphinx.builders.latex import LaTeXBuilder
from test_drawing import HOSTILE, measured_network, measured_study, no_reports, texts

from scalebook import figures
from scalebook.analysis.comparable import documented
from scalebook.figures import fitting, plot_files, rendering, theme
from scalebook.figures.fitting import COLUMN, fit
from scalebook.publish import pictures, plots
from scalebook.publish.latex import documents

NAMES = [name for name, one in figures.plots().items() if one.column]


def sizes(value, key: str = "") -> list[float]:
    """Sizes of letters anywhere in what plotly is given, its template too."""
    if isinstance(value, dict):
        own = [value["size"]] if key.endswith("font") and "size" in value else []
        return own + [size for name, inner in value.items() for size in sizes(inner, name)]
    if isinstance(value, (list, tuple)):
        return [size for inner in value for size in sizes(inner, key)]
    return []


def printed_pt(pixels: float) -> float:
    """Size in print, in points, of what is `pixels` large in a column of 84 mm."""
    return pixels * (84 / 25.4 * 72) / COLUMN.width


@pytest.fixture
def measured(study_root):
    measured_study(study_root)
    measured_network(study_root)
    return study_root


@pytest.mark.parametrize("name", NAMES)
def test_letters_are_at_least_eight_points(measured, name):
    figure = rendering.printed(fit(figures.build(name), COLUMN))
    content = json.loads(figure.to_json())
    title = content["layout"]["template"]["layout"].pop("title")
    assert title and figure.layout.title.text is None  # the caption says it
    found = sizes(content)
    assert figure.layout.template.layout.font.size in found
    assert min(map(printed_pt, found)) >= 8
    assert figure.layout.width == COLUMN.width
    assert printed_pt(figure.layout.height) < 260


@pytest.mark.parametrize("name", NAMES)
def test_the_narrow_drawing_says_the_same(measured, name):
    wide = figures.build(name)
    before, narrow = plot_files.digest(wide), fit(wide, COLUMN)
    assert plot_files.digest(wide) == before and fit(wide, figures.WIDE) is wide
    assert {key: narrow.layout.meta[key] for key in wide.layout.meta} == dict(wide.layout.meta)
    assert narrow.layout.meta["alt"] and narrow.layout.meta["caption"]
    drawn = [(trace.type, trace.x, trace.y, trace.text) for trace in wide.data]
    assert str([(trace.type, trace.x, trace.y, trace.text) for trace in narrow.data]) == str(drawn)
    svg = rendering._with_text(b"<svg></svg>", narrow).decode()
    assert f"<title>{wide.layout.title.text}</title>" in svg


@pytest.mark.parametrize("name", NAMES)
def test_without_results_it_says_so_within_the_column(study_root, name):
    no_reports(study_root)
    figure = fit(figures.build(name), COLUMN)
    lines = figure.layout.annotations[0].text.split("<br>")
    assert figure.layout.width == COLUMN.width and " yet" in " ".join(lines)
    assert max(map(len, lines)) <= fitting.ACROSS


@pytest.mark.parametrize("name", ["throughput_comparison", "accuracy_curves"])
def test_names_of_any_length_leave_room_and_are_no_markup(study_root, name):
    add_run(study_root)
    runs = documented()
    assert set(runs["kind"]) == {"measured", "reported"}
    runs["experiment"] = runs["kind"].map({"measured": "e" * 60, "reported": HOSTILE})
    figure = fit(figures.build(name, runs=runs), COLUMN)
    assert figure.layout.margin.l < COLUMN.width / 2
    assert not any("<script" in text or "<a " in text for text in texts(figure))


def test_plots_that_shared_a_scale_keep_it_above_each_other(measured):
    figure = fit(figures.build("accuracy_curves"), COLUMN)
    inner = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    per_percent = [
        inner * (axis.domain[1] - axis.domain[0]) / (axis.range[1] - axis.range[0])
        for axis in figure.select_yaxes()
    ]
    assert per_percent[0] == pytest.approx(per_percent[1], rel=1e-6)
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]


def test_a_drawing_stands_in_two_parts_on_a_phone():
    wide = figures.build("ddp_architecture")
    narrow = fit(wide, figures.PHONE)
    end, (bottom, _) = narrow.layout.xaxis.range[1], narrow.layout.yaxis.range
    for one in narrow.layout.annotations:
        assert 0 <= one.x <= end and 0 <= one.y <= bottom
        assert one.axref is None or (abs(one.x - one.ax) < 60 and abs(one.y - one.ay) < 60)
    at = {one.text: one for one in narrow.layout.annotations}
    before = {one.text: one for one in wide.layout.annotations}
    assert at["<b>2 GPUs on 2 nodes</b>"].y == before["<b>2 GPUs on 2 nodes</b>"].y + bottom / 2
    assert at["<b>1 GPU</b>"].x == end / 2


#: Height of a phone's window below the bar of the page.
WINDOW = 700


@pytest.mark.parametrize("name", sorted(figures.plots()))
def test_a_phone_shows_a_figure_without_scrolling(monkeypatch, name):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    figure = fit(figures.build(name), fitting.PHONE)
    assert figure.layout.height <= WINDOW
    for bar in figure.data:  # no plot stands empty
        assert bar.type != "bar" or any(bar.x), bar.name


@pytest.mark.parametrize("name", sorted(figures.plots()))
def test_a_line_for_comparison_is_named(monkeypatch, name):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    figure = figures.build(name)
    straight = [one for one in figure.layout.shapes if one.line.dash not in (None, "solid")]
    traces = [one for one in figure.data if one.type == "scatter"]
    drawn = [one for one in traces if one.mode == "lines" and one.line.dash]
    named = {one.name for one in figure.data if one.showlegend is not False}
    assert all(one.name and one.showlegend for one in straight)
    assert {one.name for one in drawn} <= named


def test_a_slide_has_no_title_and_the_letters_of_a_page(measured):
    wide = figures.build("link_efficiency")
    figure = fit(wide, figures.slide(570, 400))
    assert figure.layout.title.text is None and figure.layout.meta["title"]
    assert (figure.layout.width, figure.layout.height) == (309, 217)
    assert figure.layout.template.layout.font.size == theme.LETTERS
    assert figure.data == wide.data


@pytest.mark.browser
def test_no_letter_of_the_pictures_is_small(measured, tmp_path):
    written = plot_files.update(NAMES, tmp_path)
    narrow = [path for path in written if path.name.endswith(f"{plot_files.NARROW}.svg")]
    assert len(narrow) == len(NAMES)
    for path in narrow:
        drawn = re.findall(r"font-size: ?([\d.]+)px", path.read_text())
        assert drawn and min(map(float, drawn)) >= fitting.LETTERS


# --------------------------------------------------------------------------- on the page


def builder(*entries: tuple[str, str]) -> Mock:
    """What `pictures` asks of Sphinx's LaTeX builder, with the themes as they are."""

    def theme(name: str) -> SimpleNamespace:
        config = configparser.ConfigParser()
        config.read(documents.THEMES / name / "theme.conf")
        return SimpleNamespace(config=config)

    data = [(page, f"{style}.tex", "T", "A", style, False) for page, style in entries]
    return Mock(LaTeXBuilder, document_data=data, themes=SimpleNamespace(get=theme))


def placed(name: str, *classes: str) -> plots.study_plot:
    plots.build.cache_clear()  # each test has its own study
    plot = plots.plot_node(plots.as_json(name), name)
    nodes.figure("", plot, classes=["sb-figure", *classes])
    return plot


def test_only_one_of_two_columns_gets_the_narrow_drawing(study_root):
    latex = builder(("book/paper", "paper"), ("book/proposal", "proposal"), ("book/index", "book"))
    asked = placed("overheads", "column")
    assert pictures._size(asked, latex, "book/paper") == COLUMN
    others = [
        (asked, latex, "book/proposal"),
        (asked, latex, "book/index"),
        (asked, SimpleNamespace(name="html"), "book/paper"),
        (placed("overheads"), latex, "book/paper"),
        (placed("gantt", "column"), latex, "book/paper"),
    ]
    assert {pictures._size(*one) for one in others} == {figures.WIDE}


@pytest.mark.slow
def test_committed_drawings_are_taken_without_a_browser(study_root, tmp_path, monkeypatch):
    lines = []
    svg = lambda drawn, suffixes: [dict.fromkeys(suffixes, b"<svg></svg>")] * len(drawn)  # noqa: E731
    monkeypatch.setattr(rendering, "render", svg)
    monkeypatch.setattr(rendering, "browser", lambda: "a browser")
    plot_files.update(["throughput_comparison", "scaling_efficiency"])
    monkeypatch.setattr(rendering, "browser", lambda: None)
    committed = study_root / "results" / "plots"
    throughput, scaling = placed("throughput_comparison", "column"), placed("scaling_efficiency")

    def found(suffix=".svg") -> list[str]:
        places = [(throughput, COLUMN), (throughput, figures.WIDE), (scaling, figures.WIDE)]
        drawings = [pictures.drawing(*place) for place in places]
        return [path.name for path in plot_files.pictures(drawings, tmp_path, suffix, lines.append)]

    wide = ["throughput_comparison.svg", "scaling_efficiency.svg"]
    assert found() == ["throughput_comparison.column.svg", *wide]
    assert lines == []
    # A study whose plots are older than the narrow drawings still prints the wide one, and so
    # does a page that takes no SVG.
    (committed / "throughput_comparison.column.svg").unlink()
    assert found() == [wide[0], *wide]
    assert lines == [
        "not current in results/plots: throughput_comparison; render with: scalebook figures"
    ]
    assert found(".png")[0] == "throughput_comparison.png"
    assert "throughput_comparison" in plot_files.stale()
    # A slide is drawn for its place alone: without a browser the wide drawing serves.
    lines.clear()
    drawing = pictures.drawing(throughput, figures.slide(570, 400))
    (path,) = plot_files.pictures([drawing], tmp_path, ".svg", lines.append)
    assert path.name == "throughput_comparison.svg" and lines == []


def test_a_page_carries_the_figure_of_a_phone(study_root):
    add_run(study_root)
    node = plots.plot_node(plots.as_json("throughput_comparison"), "throughput_comparison")
    narrow = json.loads(node["figure"])["narrow"]["layout"]
    assert node["narrow_height"] == narrow["height"] != node["height"]
    assert narrow["meta"]["min_width"] == 0 and "title" not in narrow


def test_on_a_phone_a_short_bar_has_its_text_beside_its_name(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    wide = figures.build("gantt")
    phone = fit(wide, fitting.PHONE)
    assert phone.data[0].text is None
    for name, text in zip(phone.layout.yaxis.ticktext, wide.data[0].text):
        assert name.endswith(f", {text}")


def test_on_a_phone_names_above_their_marks_keep_off_them(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    phone = fit(figures.build("scaling_efficiency"), fitting.PHONE)
    axis = phone.layout.yaxis
    marks = [y for one in phone.data if one.mode == "markers" for y in one.y]
    off = [min(abs(y - row) for row in axis.tickvals) * fitting.NAMED for y in marks]
    names = [one for one in phone.layout.annotations if one.yanchor == "bottom" and one.yshift]
    assert max(off) + fitting.MARK / 2 < min(one.yshift for one in names)


def test_names_of_many_marks_move_to_where_a_phone_has_room(monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(REPOSITORY))
    wide, phone = (
        fit(figures.build("model_sizes"), size) for size in (fitting.WIDE, fitting.PHONE)
    )
    places = [dict(zip(one.data[0].text, one.data[0].textposition)) for one in (wide, phone)]
    assert places[0] != places[1] and "" not in places[0]
    named = [name for name in phone.data[0].text if name]
    assert len(wide.data[0].text) - 4 <= len(named) and set(named) <= set(wide.data[0].text)
