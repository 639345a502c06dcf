"""What a page offers in place of the step that a timeline shows, and what a notebook chooses."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from profile_traces import add, add_cpu, add_gpu, add_job
from test_drawing import meta
from trace_events import kernel, launch, operator

from scalebook.contract import UsageError
from scalebook.figures.profile import choices, view
from scalebook.figures.profile.timeline import timeline
from scalebook.publish import plots

CASES = Path(__file__).parents[1] / "traces/cases"


def offered(figure) -> dict[tuple[str, ...], dict]:
    return {tuple(one["names"]): one for one in meta(figure)["choices"]["each"]}


def unpacked(figure, one: dict) -> set[tuple]:
    """Family, row, begin and length in tenths of a µs, and text of each bar of a choice."""
    texts, found = meta(figure)["choices"]["texts"], set()
    for bar in one["data"]:
        begins, lengths, rows, named = bar["packed"]
        for begin, length, row, at in zip(np.cumsum(begins), lengths, rows, named):
            found.add((bar["name"], row, begin, length, texts[at]))
    return found


def drawn(figure) -> set[tuple]:
    """The same of a figure that is drawn."""
    found = set()
    for bar in figure.data:
        for begin, length, row, text in zip(bar.base, bar.x, bar.y, bar.customdata):
            at = [round(1e4 * float(one)) for one in (begin, length)]
            found.add((bar.name, round(float(row), 2), *at, text.rpartition("<br>")[0]))
    return found


def test_each_step_of_each_rank_and_trace_is_offered_as_it_would_be_drawn(study_root):
    gpu, ranks, cpu = add_gpu(study_root), add_job(study_root), add_cpu(study_root)
    figure = view.trace_view(gpu).timeline()
    found = offered(figure)
    job, steps = "ddp_2gpu_8_2gpu_8", ("profile_9_1gpu_9", "0")
    assert set(found) == {(job, "0", "1"), (job, "1", "1"), ("profile_7_1cpu_7", "0", "all")} | {
        (*steps, str(step)) for step in (3, 4, 5, 6, 7)
    }
    shown = found.pop((*steps, "5"))
    assert shown["middle"] and "data" not in shown and "number 5" in figure.layout.title.text
    for names, one in found.items():
        file = cpu if names[2] == "all" else gpu if names[0] == steps[0] else ranks[int(names[1])]
        own = timeline(file, None if names[2] == "all" else int(names[2]))
        assert unpacked(figure, one) == drawn(own)
        told = figure.layout.to_plotly_json() | one["layout"]  # what differs
        assert told["meta"]["alt"] == meta(own)["alt"] and file in told["meta"]["alt"]
        assert list(told["xaxis"]["range"]) == list(own.layout.xaxis.range)
        assert told["title"]["text"] == own.layout.title.text
    assert found[(*steps, "4")]["layout"]["meta"]["message"].startswith("The events of step 4 in")
    assert "Not offered" not in meta(figure)["caption"]


def test_what_a_page_has_no_room_for_is_told(study_root, monkeypatch):
    events = []
    for step in range(3):
        at = 100_000.0 * step
        events.append(operator(f"ProfilerStep#{step}", at, 99_000, cat="user_annotation"))
        events += [operator("aten::add", at + 60 * n, 9 + n % 7) for n in range(1500)]
    add(study_root, "a_rank0", events)
    figure = view.trace_view().timeline()
    whole = offered(figure)
    assert len(whole) == 3 and all("left out" not in str(one) for one in whole.values())
    alone = choices._weight(timeline("results/profiling/a_rank0.pt.trace.json").to_json())
    monkeypatch.setattr(choices, "MOST_PACKED", alone + 2 * 500 * choices.EVENT)
    thinned = offered(view.trace_view().timeline())
    left = [one["layout"]["meta"]["caption"] for one in thinned.values() if "layout" in one]
    assert len(left) == 2 and all("1,001 of the shortest" in one for one in left)
    monkeypatch.setattr(choices, "MOST_PACKED", alone + 500 * choices.EVENT)
    figure = view.trace_view().timeline()
    assert len(offered(figure)) == 2 and "Not offered here" in meta(figure)["caption"]
    assert "1 further step, which" in meta(figure)["caption"]
    monkeypatch.setattr(choices, "MOST_PACKED", 0)
    figure = view.trace_view().timeline()
    assert len(offered(figure)) == 1 and "2 further steps" in meta(figure)["caption"]


@pytest.mark.slow
def test_many_long_steps_leave_a_page_light(study_root):
    for rank in range(4):
        events = []
        for step in range(4):
            at = 200_000.0 * step
            events.append(operator(f"ProfilerStep#{step}", at, 199_000, cat="user_annotation"))
            for n in range(1000):
                number, begin = 1000 * step + n, at + 190.0 * n + 7 * (n * n % 13)
                shapes = {"Input Dims": [[64, n % 97, 8, n]]}
                events += [
                    operator(f"aten::conv{n % 300}d", begin, 40 + n % 60, args=shapes),
                    launch(begin + 5, number),
                    kernel(f"void cutlass::Kernel<tile_{n}>", begin + 8, 30 + n % 90, number),
                ]
        add(study_root, f"run_2_4gpu_2_rank{rank}", events)
    figure = view.trace_view().timeline()
    assert len(offered(figure)) == 16
    page = plots.box(plots.plot_node(json.loads(figure.to_json())), 1)
    assert len(zlib.compress(page.encode())) < 1.1 * choices.MOST_PACKED


def test_traces_that_a_list_cannot_tell_apart_are_called_by_their_files(study_root):
    for name in ("x.1", "x.2"):
        add(study_root, name, [operator("aten::conv2d", 0, 100)])
    found = offered(view.trace_view().timeline())
    assert [names[1] for names in found] == ["x.1.pt.trace.json", "x.2.pt.trace.json"]


def test_one_step_alone_offers_nothing(study_root):
    add_cpu(study_root)
    assert "choices" not in meta(view.trace_view().timeline())


def test_choices_lie_beside_the_figure_in_a_page(study_root):
    add_gpu(study_root)
    node = plots.plot_node(json.loads(view.trace_view().timeline().to_json()))
    shown = json.loads(node["figure"])
    assert "choices" not in shown["layout"]["meta"] and len(shown["choices"]["each"]) == 5
    node = plots.plot_node(json.loads(timeline(None).to_json()))
    assert "choices" not in json.loads(node["figure"])


# --------------------------------------------------------------------------- in a notebook


def test_a_notebook_chooses_trace_rank_and_step(study_root):
    gpu, ranks = add_gpu(study_root), add_job(study_root)
    chosen = view.trace_view(gpu, step=4)
    assert chosen.file == gpu and "number 4" in chosen.timeline().layout.title.text
    assert offered(chosen.timeline())["profile_9_1gpu_9", "0", "4"].keys() == {"names", "middle"}
    name = ranks[0].rpartition("/")[2]
    chosen = view.trace_view(name, rank=1, step=1)
    assert chosen.file == ranks[1] and list(chosen.ranks) == ranks
    for arguments, message in (
        ({"file": gpu, "step": 9}, "^step 9: profile_9_1gpu_9_rank0.* has steps 3, 4, 5, 6, 7$"),
        ({"file": gpu, "rank": 1}, "^rank 1: profile_9_1gpu_9 has traces of 0$"),
        ({"file": name, "rank": 2}, "^rank 2: ddp_2gpu_8_2gpu_8 has traces of 0, 1$"),
    ):
        with pytest.raises(UsageError, match=message):
            view.trace_view(**arguments)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("leftover_launches", "To note: 30 GPU activities whose launch was not recorded."),
        ("unknown_device", "20 mtia_runtime and 20 mtia_ccp_events."),
        ("kernel_at_time_zero", "Events left out, as they cannot be used: 1 no usable time."),
    ],
)
def test_what_is_odd_in_a_trace_stands_beside_its_verdict(study_root, monkeypatch, case, said):
    shown: list[str] = []
    monkeypatch.setattr(view, "show_markup", lambda markup, markdown: shown.append(markup))
    folder = study_root / "results/profiling"
    folder.mkdir(parents=True)
    shutil.copy(CASES / f"{case}.json", folder / "a_rank0.pt.trace.json")
    view.trace_view().verdict()
    assert said in shown[0]
    shown.clear()
    add_gpu(study_root)
    view.trace_view("profile_9_1gpu_9_rank0.pt.trace.json").verdict()
    assert not any(word in shown[0] for word in ("To note", "not read", "left out"))
