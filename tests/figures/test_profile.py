"""The profile's figures: what they draw of a trace, what they say, and that names stay text."""

from __future__ import annotations

import json
import shutil

import pytest
from fabricate import add_trace
from paths import REPOSITORY
from profile_traces import add, add_cpu, add_gpu, add_job, gpu_events
from test_drawing import HOSTILE, meta, texts
from trace_events import kernel, launch, operator, write

from scalebook import figures, results, traces
from scalebook.contract import ScalebookError, UsageError
from scalebook.figures.profile import breakdown, families, idle, ranks, shares, view
from scalebook.figures.profile.roofline import roofline
from scalebook.figures.profile.timeline import AROUND, ELSEWHERE, timeline
from scalebook.figures.profile.utilisation import job_with_readings, utilisation
from scalebook.publish import downloads
from scalebook.traces import queries

#: What may stand in a book page beside other figures.
LARGEST = 1_500_000


def bars(figure) -> list:
    return [trace for trace in figure.data if trace.type == "bar"]


def whole_text(figure) -> str:
    ticks = [list(axis.ticktext or ()) for axis in figure.select_yaxes()]
    return json.dumps([texts(figure), ticks])


# --------------------------------------------------------------------------- timeline


def test_the_middle_step_is_laid_out_on_lanes(tmp_path):
    trace = traces.read(write(tmp_path / "t.json", gpu_events()))
    events = traces.get_timeline(trace)
    assert list(dict.fromkeys(events["lane_name"])) == ["GPU 0, stream 7", "thread 1"]
    # Steps 3 to 7 were marked: the middle one is 5, which begins 2 ms after the first.
    own = events[events["step"] == 5]
    gpu = own[own["lane"] == 0]
    assert gpu["start_us"].tolist() == [800, 1150] and gpu["dur_us"].tolist() == [300, 100]
    assert gpu["family"].tolist() == ["convolution", "batch_norm"]
    assert gpu["operator"].iloc[0] == "aten::conv2d" and "8×3×32×32" in gpu["shapes"].iloc[0]
    host = events[events["lane"] == 1].set_index("name")
    assert host["depth"].to_dict()["aten::cudnn_convolution"] == 3
    assert host.loc["ProfilerStep#5", "start_us"] == 0 and host["step"].eq(5).all()
    # When the host began the step the device was still at the one before.
    assert set(events["step"]) == {4, 5}
    assert (events["left_out"] == 0).all()


def test_a_step_can_be_named_and_must_be_there(tmp_path):
    trace = traces.read(write(tmp_path / "t.json", gpu_events()))
    assert "ProfilerStep#3" in set(traces.get_timeline(trace, step=3)["name"])
    with pytest.raises(UsageError, match="no such step; it has 3, 4, 5, 6, 7"):
        traces.get_timeline(trace, step=99)


def test_of_many_events_the_longest_are_kept(tmp_path):
    many = [operator("aten::add", 10.0 * n, 1 + n % 7) for n in range(400)]
    deep = [operator("aten::mul", 5000 + n, 100 - 2 * n) for n in range(40)]
    trace = traces.read(write(tmp_path / "t.json", many + deep))
    events = traces.get_timeline(trace, most=100)
    assert len(events) == 100 and events["left_out"].iloc[0] == 340
    assert events["dur_us"].min() >= 6 and events["depth"].max() == 13
    assert (events["step"] == -1).all()


def test_every_event_is_a_bar_of_its_family(study_root):
    figure = timeline(add_gpu(study_root))
    names = [bar.name for bar in bars(figure)]
    assert len(names) == len(set(names)) and {"convolution", "batch norm"} <= set(names)
    assert ELSEWHERE in names
    around = next(bar for bar in bars(figure) if bar.name == AROUND)
    assert "forward" in around.text and around.textposition == "inside"
    convolution = next(bar for bar in bars(figure) if bar.name == "convolution")
    # One row each for the stream, the operator, the one in it, and its call.
    assert len(set(convolution.y)) == len(convolution.x) == 4
    said = " ".join(convolution.customdata)
    assert "launched by aten::conv2d" in said and "8×3×32×32" in said and "300 µs" in said
    assert convolution.marker.color == families.colour("convolution")
    assert figure.layout.yaxis.fixedrange and figure.layout.hovermode == "closest"
    assert "number 5" in figure.layout.title.text
    assert "GPU 0, stream 7: 2 events" in meta(figure)["alt"]
    assert "middle one" in meta(figure)["caption"] and meta(figure)["sources"]


def test_a_thread_is_named_after_a_phase_only_where_that_is_most_of_it(study_root):
    def lane(forward: float) -> str:
        events = [
            operator("forward", 0, forward, cat="user_annotation"),
            operator("aten::conv2d", 1, forward - 2),
            operator("backward", 1000, 100, cat="user_annotation"),
            operator("aten::conv2d", 1001, 98),
        ]
        return timeline(add(study_root, "a_rank0", events)).layout.yaxis.ticktext[0]

    assert lane(500) == "thread 1<br>forward" and lane(120) == "thread 1"


def test_rows_of_lanes_do_not_overlap(study_root):
    events = [
        event | {"tid": tid}
        for tid in (1, 2, 3)
        for event in (operator("aten::conv2d", 0, 90), operator("aten::add", 5, 10))
    ]
    figure = timeline(add(study_root, "a_rank0", events))
    rows = sorted({float(row) for bar in bars(figure) for row in bar.y})
    assert len(rows) == 6 and min(b - a for a, b in zip(rows, rows[1:])) >= 0.99
    assert len(figure.layout.shapes) == 2


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["x", "<", "é"])
def test_a_timeline_of_a_hostile_trace_is_small_and_holds_no_markup(study_root, letter):
    events = []
    for n in range(3000):
        name = f"{HOSTILE}{letter * 200}{n}"
        events += [
            operator(name, 20.0 * n, 15, args={"Input Dims": [[2**40] * 30]}),
            launch(20.0 * n + 2, n),
            kernel(f"<b onclick=x>{name}", 20.0 * n + 9, 9, n),
        ]
    figure = timeline(add(study_root, "hostile_rank0", events))
    shown = [text for bar in bars(figure) for text in bar.customdata]
    assert len(shown) == 8000 and "1,000 of the shortest" in meta(figure)["caption"]
    for text in shown:
        assert "<script" not in text and "<a " not in text and "<b o" not in text
    assert len(json.dumps(json.loads(figure.to_json()))) < LARGEST


def test_traces_that_show_nothing_say_why(study_root):
    broken = add(study_root, "broken_rank0", [])
    (study_root / broken).write_text('{"traceEvents": [')
    for draw in (timeline, roofline):
        assert not draw(None).data and not draw(broken).data
        assert "cut short" in meta(draw(broken))["caption"]
    assert "no shapes" in meta(roofline(add_cpu(study_root)))["caption"]
    assert not ranks.rank_comparison([]).data and not utilisation(None).data


# --------------------------------------------------------------------------- groupings


def test_a_bar_is_a_grouping_and_what_is_missing_is_said(study_root):
    add_gpu(study_root)
    add_cpu(study_root)
    figure = figures.build("profiling_breakdown")
    drawn = {(bar.xaxis, bar.y[0], bar.name): bar for bar in bars(figure)}
    shares_of = {key: bar.x[0] for key, bar in drawn.items()}
    # Reported first, then the CPU, and the GPU with a bar for each grouping.
    assert shares_of["x", 0, "batch norm"] == 18.0
    assert drawn["x", 0, "batch norm"].marker.pattern.shape == "/"
    assert shares_of["x3", 0, "GEMM"] == shares_of["x3", 1, "convolution"] == pytest.approx(75)
    assert ("x3", 1, "GEMM") not in shares_of and shares_of["x2", 0, "convolution"] > 50
    names = [axis.ticktext for axis in figure.select_yaxes()]
    assert [len(one) for one in names] == [1, 1, 2]  # no plot stands empty
    assert drawn["x3", 1, "convolution"].text == ("convolution 75 %",)
    assert "A CPU runs no kernels" in meta(figure)["caption"]
    assert "a trace of the job" in meta(figure)["caption"]
    assert figures.fit(figure, figures.PHONE).layout.height < 600
    said = meta(figure)["caption"]
    assert "GEMM is the largest named group with 75.0 %" in said
    assert "convolution is the largest named group with 75.0 %" in said


def test_a_published_trace_teaches_the_difference(study_root):
    shutil.copytree(REPOSITORY / "data/examples", study_root / "data/examples")
    (found,) = [one.shares for one in shares.breakdowns() if one.kind == "example"]
    assert found["grouped by launching operator"]["convolution"] == pytest.approx(66.6, 0.01)
    assert found["grouped by kernel name"]["GEMM"] == pytest.approx(24.8, 0.01)
    figure = figures.build("profiling_breakdown")
    assert any("not of this study" in text for text in texts(figure))
    assert "HolisticTraceAnalysis" in meta(figure)["caption"] and "MIT" in meta(figure)["caption"]
    figure = figures.grouping_difference()
    said = meta(figure)["caption"]
    assert "convolution takes 66.6 % of device time, but only 38.8 %" in said
    assert "GEMM (24.7 %)" in said and "https://github.com/facebookresearch" in said
    total = sum(value for bar in bars(figure) for value in bar.x)
    assert 97 < total <= 100


def test_without_a_gpu_there_is_no_difference_to_show(study_root):
    add_cpu(study_root)
    assert "a CPU runs no kernels" in meta(figures.grouping_difference())["caption"]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"schema": "scalebook.trace-example/1"}',
     '{"schema": "scalebook.trace-example/1", "title": "a", "source": "b", "url": "c", "licence":'
     ' "d", "date": "e", "computed": "f", "summary": {"by_operator": {"x": "y"}}}'],
)  # fmt: skip
def test_a_damaged_example_is_one_line(study_root, content):
    (study_root / "data/examples").mkdir()
    (study_root / "data/examples/a.json").write_text(content)
    with pytest.raises(ScalebookError, match=r"^data/examples/a\.json: [^\n]+$"):
        traces.trace_examples()


@pytest.mark.shared
def test_the_committed_example_is_what_the_trace_says(shared):
    name = "resnet_v100_ddp_rank0"
    kept = queries.load_example(REPOSITORY / f"data/examples/{name}.json", name)
    now = traces.summary(shared / f"data/traces/{name}.pt.trace.json.gz")
    assert kept["computed"].endswith(now["file"])
    for key, value in kept["summary"].items():
        assert results.digest(value) == results.digest(now[key]), key
    assert {"by_operator", "by_kernel", "by_both", "time", "verdict"} <= set(kept["summary"])


# --------------------------------------------------------------------------- waiting, roofline


def test_parts_of_the_time_add_up(study_root):
    file = add_gpu(study_root)
    summary = traces.trace_summary(file)
    assert sum(idle._shares(summary).values()) == pytest.approx(100)
    add_cpu(study_root)
    figure = figures.idle_breakdown()
    totals = [sum(bar.x[place] for bar in bars(figure)) for place in range(2)]
    assert totals == [pytest.approx(100), pytest.approx(100)]
    said = meta(figure)["alt"]
    # Of 4,450 µs in which five steps ran the kernels took 400 µs each.
    assert "profile_9_1gpu_9, rank 0: 4.45 ms, of it compute 44.9 %" in said
    assert "idle: other" in said and "waits for a launch" not in said


def test_operators_stand_under_the_roof_of_their_device(study_root):
    figure = roofline(add_gpu(study_root))
    roof = next(trace for trace in figure.data if trace.mode == "lines")
    assert max(roof.y) == pytest.approx(8.1) and roof.name == "peak in fp32"
    point = next(trace for trace in figure.data if trace.mode == "markers")
    assert point.name == "convolution, forward" and len(point.x) == 1
    flops = 2 * 8 * 64 * 32 * 32 * 3 * 9 * 5
    assert point.y[0] == pytest.approx(flops / (5 * 300) / 1e6)
    assert "8×3×32×32" in point.customdata[0] and "NVIDIA T4" in meta(figure)["caption"]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    unknown = roofline(add_gpu(study_root, "profile_8_1gpu_8", device="Voodoo 2"))
    assert not [trace for trace in unknown.data if trace.mode == "lines"]
    assert "No roof is drawn" in meta(unknown)["caption"]


# --------------------------------------------------------------------------- ranks, utilisation


def test_who_waits_for_whom_is_drawn(study_root):
    files = add_job(study_root)
    figure = ranks.rank_comparison(files)
    waits = {bar.name: list(bar.x) for bar in bars(figure) if bar.xaxis == "x2"}
    assert waits["waits for others"] == [pytest.approx(1.2), 0]
    assert waits["others wait for it"] == [0, pytest.approx(1.2)]
    assert figure.layout.yaxis.ticktext == ("rank 0", "rank 1<br>straggler")
    assert "for rank 1" in meta(figure)["caption"]
    table = ranks.collective_table(files)
    assert table["bytes"].tolist() == [1e6] and table["calls"].tolist() == [4]
    assert table["busbw_gb_s"].tolist() == ["2.5"]
    assert ranks.collective_table(files[:1]).empty
    assert ranks._rate(None, True) == "unknown" and ranks._rate(3.0, False) == "≥ 3"


def test_ranks_that_do_not_belong_together_are_refused_in_the_figure(study_root):
    files = [add_gpu(study_root), add_gpu(study_root, "profile_8_1gpu_8")]
    assert "is of rank 0" in meta(ranks.rank_comparison(files))["caption"]
    assert ranks.collective_table(files).empty


DMON = "# gpu    pwr  gtemp     sm    mem     fb\n# Idx      W      C      %      %     MB\n"


def test_utilisation_is_drawn_for_what_was_recorded(study_root):
    folder = study_root / "results/profiling"
    folder.mkdir(parents=True)
    lines = [f"    0     {50 + n % 9}     39     {90 + n % 6}     40    455\n" for n in range(4000)]
    (folder / "gpu_util_2915.log").write_text(DMON + "".join(lines))
    assert job_with_readings(None) == job_with_readings("nothing") == "2915"
    figure = utilisation("2915")
    titles = [text for text in texts(figure)[1:] if "(" in text]
    assert titles[:4] == ["utilisation (%)", "memory used (MiB)", "power (W)", "temperature (°C)"]
    assert {trace.name for trace in figure.data} == {"GPU 0"}
    assert all(len(trace.x) < 1501 for trace in figure.data)
    said = meta(figure)["caption"]
    assert "used up to 455 MiB" in said and "means of several readings" in said
    (folder / "gpu_util_2915.log").write_text("nothing of use\n")
    assert not utilisation("2915").data


# --------------------------------------------------------------------------- one trace, its file


def test_a_trace_of_a_gpu_is_shown_before_one_of_a_cpu(study_root):
    assert view.trace_view().file is None
    assert not view.trace_view().timeline().data and view.trace_view().steps().empty
    cpu = add_cpu(study_root, "a_1_1cpu_1")
    assert view.trace_view().file == cpu
    gpu = add_gpu(study_root)
    chosen = view.trace_view()
    assert chosen.file == gpu and chosen.ranks == () and "one of 2 traces" in chosen.message
    assert chosen.steps()["step"].tolist() == [3, 4, 5, 6, 7]
    files = add_job(study_root)
    assert list(view.trace_view(gpu.rpartition("/")[2]).ranks) == files
    with pytest.raises(UsageError, match="is not in results/profiling"):
        view.trace_view("elsewhere.json")


def displayed(monkeypatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(view, "show_markup", lambda markup, markdown: shown.append(markup))
    return shown


def test_the_verdict_and_the_files_are_shown_as_text(study_root, monkeypatch):
    shown = displayed(monkeypatch)
    gpu = add_gpu(study_root, device=HOSTILE.replace("\x00", ""))
    add_job(study_root)
    add_trace(study_root, "trial_1_1gpu_1_rank0", {"volta_sgemm": 1}, local=True)
    broken = add(study_root, "broken&_rank0", [])
    view.trace_view(gpu).verdict()
    view.show_traces(everything=True)
    page = "".join(shown)
    assert "<script" not in page and "<a href='j" not in page and "&lt;script" in page
    assert "The ranks of ddp_2gpu_8_2gpu_8: 2 ranks" in page
    offered = downloads.links(page)
    assert set(offered) == {gpu, broken, *(f for f in traces.trace_files() if "ddp_2gpu" in f)}
    assert all((study_root / one).is_file() for one in offered)
    assert "of a trial" in page and "holds no GPU activity" in page
    assert page.count("data-perfetto=") == page.count(" download>") == 4


def test_large_traces_stay_out_of_the_book(study_root, monkeypatch):
    shown = displayed(monkeypatch)
    monkeypatch.setattr(view, "LARGEST_MIB", 0)
    add_gpu(study_root)
    view.show_traces()
    assert "too large" in shown[0] and not downloads.links(shown[0])


@pytest.mark.parametrize(
    "target", ["../../etc/passwd", "../results/profiling/../../study.yaml", "../study.yaml",
               "../results/csv/a.csv", "https://example.org/results/profiling/a"],
)  # fmt: skip
def test_only_traces_are_brought_beside_a_page(target):
    assert downloads.links(f'<a href="{target}" download>') == []


def test_hostile_names_of_runs_and_kernels_stay_text(study_root):
    name = '<b>x</b> & "q" %{x}'
    events = [operator(name, 0, 100), launch(5, 1), kernel(name, 10, 50, 1)]
    file = add(study_root, "r&b_1_rank0", {"traceEvents": events})
    for figure in (timeline(file), figures.idle_breakdown(), breakdown.profiling_breakdown()):
        assert "<b>x" not in whole_text(figure)
        assert not any("<b>x" in text for bar in bars(figure) for text in bar.customdata or ())
