"""What stands on a page: figures, formulas and numbers, and nothing that can break out of it."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from docutils import nodes
from fabricate import add_campaign
from hypothesis import given
from hypothesis import strategies as st

from scalebook.analysis.text import number
from scalebook.contract import ScalebookError
from scalebook.publish import maths, pages, plotly_mime, plots, sphinx_ext, tables, values
from scalebook.publish.origins import catalogue
from scalebook.values import Value

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & ]]>"


@pytest.fixture(autouse=True)
def _another_build():
    """Numbers are read once a build; each test stands for one."""
    values.numbers.cache_clear()


def figure(**layout) -> dict:
    return {"data": [{"type": "bar", "x": ["a"], "y": [1.0]}], "layout": layout}


def test_what_pages_show_is_told_in_the_order_of_the_book_whatever_was_read_last():
    rate = Value("cited.rate", 4460.0, "images/s", "cited", "a paper")
    shown = {"slides": "4 k", "aside": "4.5 k", "paper": "4,460", "index": "4,460"}
    read = {
        name: pages.Page(numbers={rate.key: (rate, [text])}, inputs={("table", "runs"): "1f2e"})
        for name, text in shown.items()
    }
    book = SimpleNamespace(external_site_map={"index": 0, "paper": 0, "closed": 0, "slides": 0})
    env = SimpleNamespace(config=book, scalebook_pages=read)
    (entry,) = catalogue.entries(env)
    assert entry.pages == ["index", "paper", "slides", "aside"]
    assert entry.texts == ["4,460", "4 k", "4.5 k"]
    (table,) = catalogue.drawn(env)
    assert table.pages == entry.pages


# --------------------------------------------------------------------------- figures


@pytest.mark.slow
@given(st.recursive(st.text() | st.floats() | st.none(), lambda inner: st.lists(inner)))
def test_json_in_a_script_never_ends_it_and_reads_back(value):
    text = plots.script_json({"x": value})
    assert not set("<>&\u2028\u2029") & set(text)
    assert "NaN" not in re.sub(r'"(\\.|[^"\\])*"', "", text)
    json.loads(text)


def test_a_hostile_title_stays_text():
    node = plots.plot_node(figure(title={"text": HOSTILE}))
    written = SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        plots.visit_html(written, node)
    page = "".join(written.body)
    assert page.count("<script") == 1 and page.count("</script>") == 1
    assert "alert(1)</" not in page.replace("alert(1)&lt;/", "")
    data = re.search(r"<script[^>]*>(.*)</script>", page, re.S)[1]
    assert json.loads(data)["layout"]["title"]["text"] == HOSTILE


def test_a_figure_says_what_it_shows_and_keeps_its_height():
    node = plots.plot_node(figure(height=300, meta={"alt": 'Two "bars"'}))
    written = SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        plots.visit_html(written, node)
    page = "".join(written.body)
    assert 'role="figure"' in page and 'aria-label="Two &quot;bars&quot;"' in page
    assert 'tabindex="0"' in page and "height:300px" in page and "<noscript>" in page


def test_the_caption_is_text_below_the_figure():
    data = SimpleNamespace(
        mime_type=plotly_mime.MIME, content=figure(meta={"caption": "<b>bold</b>"})
    )
    (node,) = plotly_mime.PlotlyMime.handle_mime(None, data, inline=False)
    assert isinstance(node, nodes.figure)
    assert node[1].astext() == "<b>bold</b>" and isinstance(node[1][0], nodes.Text)


def test_other_mime_types_are_left_alone():
    data = SimpleNamespace(mime_type="image/png", content="")
    assert plotly_mime.PlotlyMime.handle_mime(None, data, inline=False) is None


def test_the_caption_a_notebook_shows_below_a_figure_is_not_shown_twice():
    shown = {"data": {plotly_mime.MIME: figure(meta={"caption": "So & so"})}}
    words = '<div class="sb-caption"><p><em>So &amp; so</em></p></div>'
    caption = {"data": {"text/html": words}}
    table = {"data": {"text/html": "<table></table>"}}
    assert sphinx_ext._without_captions([shown, caption, table, caption]) == [shown, table, caption]


# --------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("tex", [r"S_p = \frac{X_p}{X_1}", r"a &= b \\ c &= d", "x < y"])
def test_formulas_become_mathml_with_their_source(tex):
    found = maths.to_mathml(tex, block=True)
    assert found.startswith("<math") and found.endswith("</math>")
    assert '<annotation encoding="application/x-tex">' in found


@pytest.mark.parametrize("text", ["<script>", "<b>x</b>", '<mi onclick="x"/>', "R&D"])
def test_markup_in_a_formula_is_refused(text):
    with pytest.raises(ValueError):
        maths.to_mathml(rf"\text{{{text}}}", block=False)


def test_aligned_lines_get_no_number_of_their_own():
    found = maths.to_mathml(r"\begin{align} a &= b \\ c &= d \end{align}", block=True)
    assert "(1)" not in found.partition("<annotation")[0]


# --------------------------------------------------------------------------- numbers


def value(number=4460.0, unit="images/s", **more):
    more = {"kind": "reported", "source": "reported for job 2644: guide", "n": 1, **more}
    return (
        SimpleNamespace(value=number, unit=unit, low=None, high=None, **more)
        if ("low" not in more)
        else SimpleNamespace(value=number, unit=unit, **more)
    )


@pytest.mark.parametrize(
    ("spec", "unit", "text"),
    [
        (",.0f", False, "4,460"),
        ("", True, "4,460\u00a0images/s"),
        (".1f", True, "4460.0\u00a0images/s"),
        ("d", False, "4460"),
    ],
)
def test_numbers_are_shown_as_asked(spec, unit, text):
    assert values.shown(value(), spec, unit) == text


def test_small_and_negative_numbers():
    assert values.shown(value(0.5501, "")) == "0.550"
    assert values.shown(value(-3.0, "%"), ".0f", True) == "\u22123\u00a0%"


def test_a_number_reads_the_same_in_prose_in_its_note_and_in_figures():
    one = value(123.44, low=123.44, high=1234.0, kind="measured", n=3, source="")
    assert values.shown(one) == number(123.44) == "123.4"
    assert values.interval(one) == "123.4 to 1,234 images/s"


@pytest.mark.parametrize("spec", [">9999999999", "{}", "x", ".999f", "s", "0.1f\n"])
def test_only_plain_formats_are_taken(spec):
    with pytest.raises(ScalebookError):
        values.shown(value(), spec)


def test_a_note_names_kind_source_size_and_interval():
    assert values.provenance(value()) == "Reported for job 2644: guide"
    measured = value(485.0, kind="measured", source="median of runs", n=3, low=480.0, high=490.0)
    said = values.provenance(measured)
    assert said == "Measured: median of runs; n = 3; 480 to 490 images/s"


# --------------------------------------------------------------------------- tables


def test_the_table_of_runs_names_what_was_only_reported(study_root):
    runs = tables.table("runs")
    assert set(runs["Kind"]) == {"reported"}
    row = runs[[job.text == "2644" for job in runs["Job"]]].iloc[0]
    shown = [row[heading].text for heading in ("Images/s", "s/epoch", "Accuracy, %")]
    assert shown == ["4,460", "11.0", "77.42"]
    assert row["Images/s"].value.key == "reported.2644.throughput"


def test_facts_of_a_system_come_with_source_and_date(study_root):
    facts = dict(tables.table("system.magic-castle").itertuples(index=False))
    assert facts["gpu name"] == "NVIDIA Tesla T4" and facts["source"] and facts["date"]
    assert facts["gpu memory gb"].text == "16\u00a0GB"


@pytest.mark.parametrize(
    "name",
    ["nonsense", "system.nowhere", "scaling.other", "scaling", "runs.x", "ladder.lumi-g", "*"],
)
def test_an_unknown_table_is_named(study_root, name):
    with pytest.raises(ScalebookError) as caught:
        tables.table(name)
    assert "\n" not in str(caught.value)


def test_results_stand_beside_what_was_reported(study_root):
    add_campaign(study_root, "mini-1gbit")
    found = tables.table("results")
    assert found["Kind"].tolist()[:4] == ["reported"] * 3 + ["measured"]
    two = found[(found["Experiment"] == "ddp_2gpu") & (found["Kind"] == "measured")].iloc[0]
    assert two["n"].text == "3" and two["Efficiency, %"].text == "38 (38–38)"
    reported = found[found["Experiment"] == "fp16"].iloc[0]
    assert (reported["Speed-up"].text, reported["Efficiency, %"]) == ("1.7", "–")


def test_scaling_tables_give_batch_steps_and_intervals(study_root):
    add_campaign(study_root, "mini-1gbit")
    strong, weak = tables.table("scaling.strong"), tables.table("scaling.weak")
    assert strong["Experiment"].tolist() == ["baseline", "ddp_2gpu", "ddp_1node"]
    row = strong.iloc[1]
    assert (row["Global batch"].text, row["Ranks"].text, row["Nodes"].text) == ("128", "2", "2")
    assert row["Step, median (ms)"].text == "402 (400–404)"
    assert row["Step, mean (ms)"].value.key.endswith("step_time_mean_ms.median")
    assert weak["Global batch"].map(lambda cell: cell.text).tolist() == ["128", "256"]


def test_rules_are_told_in_a_word_and_with_what_decides_them(study_root):
    short, reasons = tables.table("rules"), tables.table("rules.reasons")
    assert list(short.columns) == list(reasons.columns) == ["No.", "Rule", "Reported", "Measured"]
    assert short["Reported"][0] == "partly" and short["Measured"][0] == "not applicable"
    assert reasons["Reported"][0].startswith("partly: absolute rate of the base is told")


def test_tables_without_runs_say_so(study_root):
    assert "yet" in tables.table("scaling.weak").iloc[0, 0]


# --------------------------------------------------------------------------- numbers in formulas


def formula(tex: str, **value) -> nodes.math:
    node = nodes.math(tex, tex)
    about = {"key": "a.b", "kind": "measured", "unit": "", "note": "so", "runs": []}
    node["sb_values"] = [{**about, **value}]
    return node


@pytest.mark.parametrize(
    ("number", "unit", "tex"),
    [
        ("4,460", "", "x = {4{,}460}"),
        ("\u22123.5", "%", r"x = {-3.5\,\text{\%}}"),
        ("1.2e+05", "images/s", r"x = {1.2\times 10^{5}\,\text{images/s}}"),
    ],
)
def test_a_number_in_a_formula_is_tex_for_print(number, unit, tex):
    assert maths.as_tex(formula(r"x = \sbval{0}", number=number, unit=unit)) == tex


@pytest.mark.parametrize("tex", [r"S_{\sbval{0}}", r"\frac{\sbval{0}}{2}", r"2\sbval{0}^2"])
def test_a_number_in_a_formula_keeps_its_note_in_html(tex):
    node = formula(tex, number="4,460", unit="<b>")
    builder = SimpleNamespace(env=SimpleNamespace(), current_docname="x")
    math, notes = maths.render(SimpleNamespace(builder=builder), node, False)
    assert "<mn>4,460</mn><mtext>\u00a0&lt;b&gt;</mtext></mrow>" in math
    assert "tabindex" not in math and 'aria-describedby="sb-note-1"' in math
    reached = 'aria-describedby="sb-note-1" tabindex="0">4,460\u00a0&lt;b&gt;</span>'
    assert reached in notes and 'id="sb-note-1"' in notes and "91827" not in math
    annotation = math.partition("<annotation")[2]
    assert r"{4{,}460\,\text{&lt;b&gt;}}" in annotation


def test_a_formula_on_a_slide_shows_the_number_alone():
    builder = SimpleNamespace(env=SimpleNamespace(), current_docname="x", name="revealjs")
    node = formula(r"x = \sbval{0}", number="4,460", unit="")
    math, notes = maths.render(SimpleNamespace(builder=builder), node, False)
    assert "<mrow><mn>4,460</mn></mrow>" in math and notes == ""
