"""The book as a site: its script of figures."""

from __future__ import annotations

import hashlib
import re

from scalebook.publish import plots


def test_a_figure_of_other_types_of_traces_loads_the_whole_of_plotly():
    bars = {"data": [{"type": "bar", "y": [1]}, {"y": [1]}]}
    map_ = {"data": [{"type": "heatmap", "z": [[1]]}]}
    assert plots.script(plots.types(bars)) == plots.BASIC
    assert plots.script([*plots.types(bars), *plots.types(map_)]) == plots.PLOTLY


def test_the_part_of_plotly_is_of_the_release_of_the_whole():
    # Where this fails: `npm pack plotly.js-basic-dist-min@RELEASE` brings the new one.
    release = re.compile(r"plotly\.js (?:\(\w+ - minified\) )?v([\d.]+)")
    heads = [path.read_text(encoding="utf-8")[:200] for path in (plots.BASIC, plots.PLOTLY)]
    part, whole = (release.search(head)[1] for head in heads)
    assert part == whole
    digest = hashlib.sha256(plots.BASIC.read_bytes()).hexdigest()
    assert f"sha256 {digest}" in plots.BASIC.with_name("LICENSES.txt").read_text()
