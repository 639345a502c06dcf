"""Figures for one column of a paper: letters that can be read, numbers as in the wide drawing."""

from __future__ import annotations

import configparser
import json
import re
from types import SimpleNamespace

import pytest
from docutils import nodes
from fabricate import add_run
from test_drawing import HOSTILE, measured_network, measured_study, no_reports, texts

from scalebook import contract, figures
from scalebook.analysis.comparable import documented
from scalebook.figures import column, static
from scalebook.publish import pictures, plots
from scalebook.publish.latex import documents

NAMES = tuple(figures.COLUMN)


def sizes(value, key: str = "") -> list[float]:
    """Sizes of letters anywhere in what plotly is given, its template too."""
    if isinstance(value, dict):
        own = [value["size"]] if key.endswith("font") and "size" in value else []
        return own + [size for name, inner in value.items() for size in sizes(inner, name)]
    if isinstance(value, (list, tuple)):
        return [size for inner in value for size in sizes(inner, key)]
    return []


@pytest.fixture
def measured(study_root):
    measured_study(study_root)
    measured_network(study_root)
    return study_root


@pytest.mark.parametrize("name", NAMES)
def test_letters_are_at_least_seven_points(measured, name):
    figure = static.for_print(figures.build(name, narrow=True))
    content = json.loads(figure.to_json())
    title = content["layout"]["template"]["layout"].pop("title")
    assert title and figure.layout.title.text is None  # the caption says it
    found = sizes(content)
    assert figure.layout.template.layout.font.size in found
    assert min(column.printed_pt(size, figure) for size in found) >= 7
    assert figure.layout.width == column.WIDTH
    assert column.printed_pt(figure.layout.height, figure) < 260


@pytest.mark.parametrize("name", NAMES)
def test_the_narrow_drawing_says_the_same(measured, name):
    wide, narrow = figures.build(name), figures.build(name, narrow=True)
    assert {key: narrow.layout.meta[key] for key in wide.layout.meta} == dict(wide.layout.meta)
    assert narrow.layout.meta["alt"] and narrow.layout.meta["caption"]
    assert not column.is_narrow(wide) and column.is_narrow(narrow)
    kinds = [(trace.type, len(trace.x)) for trace in wide.data]
    assert [(trace.type, len(trace.x)) for trace in narrow.data] == kinds
    svg = static._with_text(b"<svg></svg>", narrow).decode()
    assert f"<title>{wide.layout.title.text}</title>" in svg


@pytest.mark.parametrize("name", NAMES)
def test_without_results_it_says_so_within_the_column(study_root, name):
    no_reports(study_root)
    figure = figures.build(name, narrow=True)
    lines = figure.layout.annotations[0].text.split("<br>")
    assert figure.layout.width == column.WIDTH and " yet" in " ".join(lines)
    assert max(map(len, lines)) <= column.ACROSS


def test_a_figure_without_such_a_layout_is_the_same_everywhere(study_root, monkeypatch):
    assert "gantt" not in figures.COLUMN
    assert figures.build("gantt", narrow=True) == figures.build("gantt")
    with pytest.raises(contract.UsageError, match="no figure 'gone'"):
        figures.build("gone", narrow=True)


@pytest.mark.parametrize("name", ["throughput_comparison", "accuracy_curves"])
def test_names_of_any_length_leave_room_and_are_no_markup(study_root, name):
    add_run(study_root)
    runs = documented()
    assert set(runs["kind"]) == {"measured", "reported"}
    runs["experiment"] = runs["kind"].map({"measured": "e" * 60, "reported": HOSTILE})
    figure = figures.COLUMN[name](runs)
    assert figure.layout.margin.l < column.WIDTH / 2
    assert not any("<script" in text or "<a " in text for text in texts(figure))


@pytest.mark.parametrize("highest", [0, 0.003, 1, 47, 715, 2040, 7600, 1e9])
def test_ticks_are_few_and_round(highest):
    found = column.ticks(highest)
    assert found[0] == 0 and found[-1] <= highest and len(found) <= 4
    assert highest == 0 or len(found) >= 2


@pytest.mark.browser
def test_no_letter_of_the_pictures_is_small(measured, tmp_path):
    written = static.render(NAMES, tmp_path)
    narrow = [path for path in written if path.name.endswith(f"{static.COLUMN}.svg")]
    assert len(narrow) == len(NAMES)
    for path in narrow:
        drawn = re.findall(r"font-size: ?([\d.]+)px", path.read_text())
        assert drawn and min(map(float, drawn)) >= column.LETTERS


# --------------------------------------------------------------------------- on the page


def builder(*entries: tuple[str, str]) -> SimpleNamespace:
    """What `pictures` asks of Sphinx's LaTeX builder, with the themes as they are."""

    def theme(name: str) -> SimpleNamespace:
        config = configparser.ConfigParser()
        config.read(documents.THEMES / name / "theme.conf")
        return SimpleNamespace(config=config)

    data = [(page, f"{style}.tex", "T", "A", style, False) for page, style in entries]
    return SimpleNamespace(document_data=data, themes=SimpleNamespace(get=theme))


def placed(name: str, *classes: str) -> plots.study_plot:
    plot = plots.plot_node(plots.build.__wrapped__(name), name)
    nodes.figure("", plot, classes=["sb-figure", *classes])
    return plot


def test_only_one_of_two_columns_gets_the_narrow_drawing(study_root):
    latex = builder(("book/paper", "paper"), ("book/proposal", "proposal"), ("book/index", "book"))
    asked = placed("overheads", "column")
    assert pictures._is_in_column(asked, latex, "book/paper")
    assert not pictures._is_in_column(asked, latex, "book/proposal")
    assert not pictures._is_in_column(asked, latex, "book/index")
    assert not pictures._is_in_column(asked, SimpleNamespace(), "book/paper")
    assert not pictures._is_in_column(placed("overheads"), latex, "book/paper")
    assert not pictures._is_in_column(placed("gantt", "column"), latex, "book/paper")


def test_the_committed_narrow_drawing_is_taken_without_a_browser(study_root, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(pictures.messages, "say", said.append)
    monkeypatch.setattr(static, "_images", lambda drawn: [(b"", b"<svg></svg>")] * len(drawn))
    monkeypatch.setattr(static, "_with_dpi", lambda png: png)
    monkeypatch.setattr(static, "browser", lambda: "a browser")
    static.render(["throughput_comparison", "scaling_efficiency"])
    monkeypatch.setattr(static, "browser", lambda: None)
    committed = study_root / "results" / "plots"
    narrow, wide, other = (
        placed("throughput_comparison", "column"),
        placed("throughput_comparison"),
        placed("scaling_efficiency"),
    )

    def found() -> list[str]:
        got = pictures._svgs([narrow, wide, other], {narrow}, tmp_path, study_root)
        return [path.name for path in got]

    assert found() == [
        "throughput_comparison.column.svg",
        "throughput_comparison.svg",
        "scaling_efficiency.svg",
    ]
    assert said == []
    assert (
        pictures._png(committed / "throughput_comparison.column.svg")
        == committed / "throughput_comparison.png"
    )
    # A study whose plots are older than the narrow drawings still prints the wide one.
    (committed / "throughput_comparison.column.svg").unlink()
    assert found() == [
        "throughput_comparison.svg",
        "throughput_comparison.svg",
        "scaling_efficiency.svg",
    ]
    assert said == [
        "not current in results/plots: throughput_comparison; render with: scalebook figures"
    ]
    assert "throughput_comparison" in static.stale()
