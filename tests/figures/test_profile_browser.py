"""The timeline as a reader has it: drawn, zoomed, pointed at; and a trace given to a viewer."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import plotly
import pytest
from docutils import nodes
from profile_traces import add, add_gpu, add_job
from test_drawing import HOSTILE
from trace_events import kernel, launch, operator

from scalebook.figures.profile import view
from scalebook.figures.profile.timeline import timeline
from scalebook.publish import plots, sphinx_ext

pytestmark = pytest.mark.browser

#: A viewer that answers as Perfetto's does, and shows in its title what it was given.
VIEWER = """<!doctype html><title>viewer</title><script>
setTimeout(() => addEventListener("message", (event) => {
  if (event.data === "PING") event.source.postMessage("PONG", "*");
  else if (event.data.perfetto) {
    const { buffer, fileName } = event.data.perfetto;
    document.title = `${fileName} ${buffer.byteLength}`;
  }
}), 300);
</script>"""

#: Middle of the bar in the view that matches, in CSS pixels of the page: [x, y, text].
BAR = """name => {
  const plot = document.querySelector(".sb-plot"), { xaxis, yaxis } = plot._fullLayout;
  const at = plot.getBoundingClientRect(), [low, high] = xaxis.range;
  for (const trace of plot._fullData) for (let i = 0; i < trace.x.length; i++) {
    const middle = trace.base[i] + trace.x[i] / 2;
    if (middle < low || middle > high || !trace.customdata[i].includes(name)) continue;
    return [at.left + xaxis._offset + xaxis.d2p(middle), at.top + yaxis._offset +
      yaxis.d2p(trace.y[i]), trace.customdata[i]];
  }
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        """Say nothing."""


@pytest.fixture
def site(study_root, monkeypatch) -> Iterator[str]:
    """Address of a page with the timeline of 6,001 events and the links to its file."""
    events = [operator("ProfilerStep#1", 0, 100_000, cat="user_annotation")]
    for n in range(2000):
        name = HOSTILE if n == 1999 else f"aten::conv{n}d"
        shapes = {"Input Dims": [[64, n, 8, 8]]}
        events += [
            operator(name, 50.0 * n, 40, args=shapes),
            launch(50.0 * n + 5, n),
            kernel(f"volta_scudnn_{n}", 50.0 * n + 8, 40, n),
        ]
    file = add(study_root, "profile_1_1gpu_1_rank0", events)
    shown: list[str] = []
    monkeypatch.setattr(view, "show_markup", lambda markup, markdown: shown.append(markup))
    view.show_traces()
    with served(study_root, timeline(file), "".join(shown)) as address:
        yield address


@contextlib.contextmanager
def served(root: Path, drawn, more: str = "") -> Iterator[str]:
    """Address of a folder with ``page.html`` that holds a figure with its caption."""
    written = SimpleNamespace(body=[])
    figure = json.loads(drawn.to_json())
    with pytest.raises(nodes.SkipNode):
        plots.visit_html(written, plots.plot_node(figure))
    folder = root / "notebooks"
    folder.mkdir()
    bundle = Path(plotly.__file__).parent / "package_data/plotly.min.js"
    for script in (bundle, sphinx_ext.STATIC / "scalebook.js"):
        shutil.copy(script, folder / script.name)
    (folder / "viewer.html").write_text(VIEWER)
    (folder / "page.html").write_text(
        '<!doctype html><meta charset="utf-8"><script defer src="plotly.min.js"></script>'
        '<script defer src="scalebook.js"></script><link rel="icon" href="data:,">'
        + f"<figure>{''.join(written.body)}<figcaption><p><span class=caption-text>"
        f"{plots.message_text(figure)}</span></p></figcaption></figure>{more}"
    )
    handler = functools.partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/notebooks/"
        server.shutdown()


@pytest.fixture
def page(site, browser):
    """The page, opened; it asks no other host for anything."""
    with visited(site, browser) as page:
        yield page


@contextlib.contextmanager
def visited(site: str, browser):
    """A page of a site in the browser."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.route(
        lambda url: not url.startswith((site.partition("/notebooks")[0], "data:", "blob:")),
        lambda route: (wrong.append(route.request.url), route.abort()),
    )
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{site}page.html")
    page.wait_for_selector(".sb-plot .barlayer path")
    yield page
    assert wrong == []
    context.close()


def zoomed(page) -> tuple[float, float]:
    low, high = page.evaluate("document.querySelector('.sb-plot')._fullLayout.xaxis.range")
    return low, high


def hover(page, name: str) -> str:
    """Point at the first bar in view whose text holds `name`; what is shown then."""
    page.mouse.move(1, 1)  # away from what was pointed at before
    page.wait_for_selector(".hoverlayer .hovertext", state="detached")
    x, y, _ = page.evaluate(BAR, name)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector(".hoverlayer .hovertext")
    return page.locator(".hoverlayer .hovertext").text_content()


def test_a_timeline_is_zoomed_by_dragging_and_names_what_is_pointed_at(page):
    assert page.locator(".barlayer path").count() == 6001
    box = page.locator(".sb-plot .nsewdrag").bounding_box()
    y = box["y"] + box["height"] / 2
    before = zoomed(page)
    page.mouse.move(box["x"] + 0.50 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], y, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "high => document.querySelector('.sb-plot')._fullLayout.xaxis.range[1] < high",
        arg=0.6 * before[1],
    )
    low, high = zoomed(page)
    assert 0 < high - low < 0.08 * (before[1] - before[0])
    # What is in the middle of the step is in view now, and can be read.
    said = hover(page, "volta_scudnn_")
    assert "launched by aten::conv" in said and "64×" in said and "40 µs" in said
    assert "convolution" in said
    assert page.locator(".sb-plot").get_attribute("tabindex") == "0"


def test_another_step_rank_or_trace_is_chosen_by_keyboard(study_root, browser):
    gpu, ranks = add_gpu(study_root), add_job(study_root)
    with (
        served(study_root, view.trace_view(gpu).timeline()) as site,
        visited(site, browser) as page,
    ):
        found = page.locator(".sb-choices select")
        lists = {name: found.nth(at) for at, name in enumerate(("Trace", "Rank", "Step"))}
        title, caption = page.locator(".gtitle"), page.locator(".caption-text")

        def shows(step: int, file: str) -> None:
            page.wait_for_function(
                "([said, n]) => document.querySelector('.gtitle').textContent.endsWith(n) &&"
                " document.querySelector('.sb-plot').getAttribute('aria-label').includes(said)",
                arg=[file, f"number {step}"],
            )
            assert file in caption.text_content() and f"step {step}" in caption.text_content()

        shows(5, gpu)
        first = page.evaluate("document.querySelector('.sb-plot').clientHeight")
        assert lists["Step"].input_value() == "5" and not lists["Rank"].is_visible()
        assert lists["Trace"].input_value() == "profile_9_1gpu_9"
        lists["Step"].focus()
        page.keyboard.press("ArrowUp")
        shows(4, gpu)
        assert "middle" not in caption.text_content()
        # What a bar says of itself is what it says where the page drew it.
        assert "300 µs" in hover(page, "launched by aten::conv2d")
        lists["Trace"].focus()
        page.keyboard.press("Home")
        shows(1, ranks[0])
        assert lists["Rank"].is_visible() and not lists["Step"].is_visible()
        lists["Rank"].focus()
        page.keyboard.press("ArrowDown")
        shows(1, ranks[1])
        lists["Trace"].focus()
        page.keyboard.press("End")
        shows(5, gpu)
        assert page.evaluate("document.querySelector('.sb-plot').clientHeight") == first
        assert title.text_content() == "Timeline of one step, number 5"


def test_hostile_names_are_text_where_they_are_pointed_at(page):
    end = "{ 'xaxis.range': [99.9, 100] }"
    page.evaluate(f"Plotly.relayout(document.querySelector('.sb-plot'), {end})")
    said = hover(page, "launched by &lt;script")
    assert "<script>alert(1)</script>" in said and "%{x}" in said
    assert page.locator(".hoverlayer script, .hoverlayer a").count() == 0


def test_a_trace_is_given_to_a_viewer_only_when_asked(page, study_root):
    link = page.locator("a[data-perfetto]")
    assert link.get_attribute("href") == "https://ui.perfetto.dev"
    page.evaluate("document.querySelector('a[data-perfetto]').href = 'viewer.html'")
    with page.context.expect_page() as opened:
        link.focus()
        page.keyboard.press("Enter")
    name = "profile_1_1gpu_1_rank0.pt.trace.json"
    size = (study_root / "results/profiling" / name).stat().st_size
    opened.value.wait_for_function(f"document.title === '{name} {size}'")
    # Where the file cannot be had the page says what to do.
    (study_root / "results/profiling" / name).unlink()
    link.click()
    page.wait_for_function("document.querySelector('.sb-perfetto').textContent.includes('drag it')")
    assert page.locator("a[download]").get_attribute("href") == f"../results/profiling/{name}"


def test_a_viewer_that_does_not_answer_is_told(page):
    # As where the machine is offline: a window opens, and nothing listens in it.
    page.clock.install()
    page.evaluate("document.querySelector('a[data-perfetto]').href = 'nowhere.html'")
    with page.context.expect_page():
        page.locator("a[data-perfetto]").click()
    status = page.locator(".sb-perfetto")
    page.clock.run_for(5_000)
    assert status.text_content() == ""
    for _ in range(100):  # its patience begins once the trace has been read
        page.clock.run_for(1_000)
        if status.text_content():
            break
        time.sleep(0.05)
    assert "does not answer" in status.text_content() and "Download" in status.text_content()
