"""The study's figures: what they show, what they say of it, and when there is nothing to show."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from fabricate import add_allreduce, add_campaign, add_run, add_trace

from scalebook import analysis, figures, results, study
from scalebook.analysis import reported_jobs
from scalebook.figures import captions, notebook, runs, theme
from scalebook.figures.profile import shares
from scalebook.values.keys import ledger

HOSTILE = "<script>alert(1)</script>\x00\n<a href='javascript:x'>b</a> & \"q\" %{x}"


def texts(figure) -> list[str]:
    """All text that plotly may take for markup."""
    found = [str(figure.layout.title.text)]
    found += [annotation.text or "" for annotation in figure.layout.annotations]
    for trace in figure.data:
        found.append(trace.name or "")
        found.append(trace.hovertemplate or "")
        for name in ("x", "y", "text", "customdata"):
            values = getattr(trace, name, None)
            if values is not None and not isinstance(values, str):
                found += [value for value in values if isinstance(value, str)]
    for axis in (*figure.select_xaxes(), *figure.select_yaxes()):
        found.append(axis.title.text or "")
    return found


def meta(figure) -> dict:
    return figure.layout.meta


def no_reports(root):
    for file in (root / "data/reported").iterdir():
        file.unlink()


def measured_study(root):
    for seed in range(3):
        add_run(root, seed=seed, rate=480 + 10 * seed, epoch_time=100 - seed)
        add_run(root, "ddp_2gpu", seed, 600 + 5 * seed, world=2, epoch_time=82 - seed)


def measured_network(root):
    """The campaign of the small cluster, and its links: a step of 300 ms on one rank."""
    steps = {"baseline": 300.0, "ddp_1node": 190.0, "ddp_2gpu": 214.0, "ddp_weak": 372.0}
    for system, slower, rate in (("mini-open", 0, 1.4), ("mini-1gbit", 330, 0.12)):
        spread = {
            name: ms + slower * (name in ("ddp_2gpu", "ddp_weak")) for name, ms in steps.items()
        }
        add_campaign(root, system, spread)
        add_allreduce(root, system, rate)


#: Figures that show nothing but measurements.
MEASURED_ONLY = ("overheads", "allreduce_bandwidth", "link_efficiency")
REPORTED_ONLY = ("reported_speedup",)
#: Figures that show no run: `test_figures_plan` has them.
NO_RUNS = ("model_sizes", "ddp_architecture", "gantt", "risk_matrix", "machine_ladder")
OF_RUNS = [name for name in figures.plots() if name not in NO_RUNS]


@pytest.mark.parametrize("name", OF_RUNS)
def test_an_empty_study_gets_a_sentence(study_root, name):
    no_reports(study_root)
    figure = figures.build(name)
    assert not figure.data
    assert len(figure.layout.annotations) == 1
    assert meta(figure)["caption"].endswith(".")


@pytest.mark.parametrize("name", OF_RUNS)
@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_every_subset_of_the_evidence_is_drawn(study_root, name, reported, measured):
    if not reported:
        no_reports(study_root)
    if measured:
        measured_study(study_root)
        measured_network(study_root)
        add_trace(study_root, "profile_1_1gpu_1_rank0", {"volta_sgemm_128": 60, "bn_fw": 40})
    figure = figures.build(name)
    said = meta(figure)
    assert {"alt", "caption", "sources"} <= set(said)
    assert said["alt"] and said["caption"]
    assert bool(said["sources"]) == bool(figure.data)
    of_measured = measured and name not in REPORTED_ONLY
    assert bool(figure.data) == (of_measured or (reported and name not in MEASURED_ONLY))
    assert figure.layout.height > 100
    json.loads(figure.to_json())


def test_reported_is_told_from_measured_without_colour(study_root):
    measured_study(study_root)
    bars = [t for t in figures.build("throughput_comparison").data if t.type == "bar"]
    hatched = {trace.name: trace.marker.pattern.shape for trace in bars}
    assert hatched == {"measured": None, "reported": "/"}
    points = [t for t in figures.build("accuracy_curves").data if "text" in t.mode]
    assert len(points) == 3 and all(t.marker.symbol.endswith("-open") for t in points)


def test_systems_never_share_an_axis(study_root):
    measured_study(study_root)
    figure = figures.build("throughput_comparison")
    axes = {}
    for trace in figure.data:
        if trace.type == "bar":
            axes.setdefault(trace.name, set()).add(trace.xaxis)
    assert not axes["measured"] & axes["reported"]


def test_single_runs_are_points_and_intervals_are_theirs(study_root):
    measured_study(study_root)
    scatter = [t for t in figures.build("throughput_comparison").data if t.type == "scatter"]
    points = sorted(value for t in scatter if t.mode == "markers" and t.customdata for value in t.x)
    assert points == pytest.approx([480, 490, 500, 600, 605, 610])
    bars = next(t for t in scatter if t.error_x.array is not None)
    assert list(bars.x) == pytest.approx([490, 605])
    assert list(bars.error_x.array) == pytest.approx([10, 5])
    assert list(bars.error_x.arrayminus) == pytest.approx([10, 5])


def test_one_run_gets_no_error_bar(study_root):
    add_run(study_root)
    figure = figures.build("throughput_comparison")
    assert not [t for t in figure.data if t.type == "scatter"]
    assert "n = 1" in meta(figure)["alt"]


def test_a_ratio_stands_beside_the_value_of_its_reference(study_root):
    said = meta(figures.build("throughput_comparison"))["alt"]
    assert "baseline, 1 rank FP32 4,460 images/s" in said
    assert "5,000 images/s, 1.12 × baseline" in said
    caption = meta(figures.build("scaling_efficiency"))["caption"]
    assert "4,460 images/s and 11 s an epoch" in caption


def test_no_curve_is_invented_for_a_reported_run(study_root):
    figure = figures.build("accuracy_curves")
    assert all(len(trace.y) == 1 and trace.mode == "markers+text" for trace in figure.data)
    assert "No curve was reported" in meta(figure)["caption"]


def test_curves_are_medians_with_a_band_and_the_runs(study_root):
    for seed, end in enumerate((50.0, 60.0, 58.0)):
        add_run(study_root, seed=seed, accuracy=(30.0, 40.0, end))
    lines = [t for t in figures.build("accuracy_curves").data if "lines" in t.mode]
    median = next(t for t in lines if t.name)
    assert list(median.y) == [30, 40, 58] and list(median.x) == [1, 2, 3]
    assert "(n = 3)" in median.name
    band = next(t for t in lines if t.fill == "toself")
    assert set(band.y) == {30, 40, 60, 50}
    assert len([t for t in lines if t.line.width == 1]) == 3


def test_a_dropped_in_file_becomes_a_curve(study_root):
    path = study_root / "results/csv/baseline_2644_1gpu_2644.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,val_acc\n1,60\n2,77.42\n")
    curves = [t for t in figures.build("accuracy_curves").data if "lines" in t.mode]
    assert [list(trace.y) for trace in curves] == [[60, 77.42]]


def test_a_damaged_curve_leaves_the_others(study_root):
    measured_study(study_root)
    bad = next((study_root / "results/csv").iterdir())
    bad.write_text("epoch,val_acc\n1,often\n")
    assert figures.build("accuracy_curves").data


def test_both_efficiencies_are_drawn_and_their_contradiction_named(study_root):
    figure = figures.build("scaling_efficiency")
    ends = {t.name: t.x[-1] for t in figure.data}
    assert ends["ideal"] == 100
    assert ends["by rate"] == pytest.approx(56.05, abs=0.01)
    assert ends["by time"] == pytest.approx(27.5)
    assert any("contradictory" in text for text in texts(figure))
    assert "56 % by throughput, 28 % by time per epoch" in meta(figure)["caption"]


def test_files_of_reported_jobs_are_drawn_beside_the_report(study_root):
    folder = study_root / "results/csv"
    folder.mkdir(parents=True)
    text = "epoch,val_acc,throughput,epoch_time_s\n1,60,{0},{1}\n"
    (folder / "baseline_2644_1gpu_2644.csv").write_text(text.format(4460, 11))
    (folder / "baseline_2649_2gpu_2649.csv").write_text(text.format(5000, 10))
    figure = figures.build("scaling_efficiency")
    titles = [text for text in texts(figure) if "magic-castle</b>" in text]
    assert len(titles) == 2 and titles[0].startswith("<b>measured")
    drawn = next(t for t in figure.data if t.name == "by time")
    assert list(drawn.x) == [pytest.approx(55), pytest.approx(27.5)]
    assert drawn.marker.symbol == ("square", "square-open")


def test_agreeing_efficiencies_are_not_called_contradictory(study_root):
    no_reports(study_root)
    add_run(study_root, rate=400, epoch_time=100)
    add_run(study_root, "ddp_2gpu", rate=600, world=2, epoch_time=66)
    figure = figures.build("scaling_efficiency")
    assert not any("contradict" in text for text in texts(figure))
    assert "strong scaling" in meta(figure)["alt"]


def test_a_figure_calls_contradictory_what_the_checks_of_reports_do(study_root):
    no_reports(study_root)
    add_run(study_root, rate=400, epoch_time=100)
    add_run(study_root, "ddp_2gpu", rate=441.6, world=2, epoch_time=100)  # 55.2 % and 50.0 %
    assert not reported_jobs.agree(55.2, 50.0)
    figure = figures.build("scaling_efficiency")
    assert any("contradictory" in text for text in texts(figure))
    assert "55 % by throughput, 50 % by time per epoch" in meta(figure)["caption"]


def test_strong_and_weak_stand_with_their_intervals_under_their_system(study_root):
    measured_network(study_root)
    figure = figures.build("scaling_efficiency")
    labels = list(figure.layout.yaxis.ticktext)
    group = ["ddp_2gpu, 2 ranks, strong", "ddp_1node, 2 ranks, strong", "ddp_weak, 2 ranks, weak"]
    assert labels == [*group, *group, "ddp_2gpu, 2 ranks"]
    points = next(t for t in figure.data if t.name == "by rate")
    assert points.x[2] == pytest.approx(100 * 300 / 372, rel=0.01)
    assert points.x[6] == pytest.approx(56.05, abs=0.01)
    spread = next(t for t in figure.data if t.name == "interval by throughput")
    assert len(spread.x) == 6 and max(spread.error_x.array) > 0
    heads = [text for text in texts(figure) if text.startswith("<b>")]
    assert [head.split("</b>")[0] for head in heads] == [
        "<b>measured on mini-open",
        "<b>measured on mini-1gbit",
        "<b>reported for magic-castle",
    ]
    assert "13,824 images (weak 27,648)" in heads[0]
    ideal = next(t for t in figure.data if t.name == "ideal")
    struck = [
        one
        for one in figure.layout.annotations
        if one.text in heads
        if any(low <= one.y <= high for low, high in zip(ideal.y[::3], ideal.y[1::3]))
    ]
    assert not struck  # no heading lies on the line
    caption = meta(figure)["caption"]
    assert "mini-open and mini-1gbit: Two network namespaces on one machine" in caption
    assert "cifar10-jpeg (subset of 13,824 training images)" in caption
    assert "an epoch is partial" in caption
    assert "weak scaling, 2 ranks, measured: 80." in meta(figure)["alt"]


def test_partial_epochs_stay_out_of_whole_trainings(study_root):
    no_reports(study_root)
    measured_network(study_root)
    assert "mini-open" in meta(figures.build("throughput_comparison"))["alt"]
    measured_study(study_root)
    for name in ("throughput_comparison", "accuracy_curves"):
        said = meta(figures.build(name))
        assert "mini-open" not in said["alt"]
        assert said["caption"].endswith("24 runs on a part of the data set left out.")


def test_a_step_is_stacked_from_its_parts(study_root):
    measured_network(study_root)
    figure = figures.build("overheads")
    bars = {t.name: list(t.x) for t in figure.data if t.type == "bar"}
    assert list(bars) == ["computation", "parallel overhead", "network"]
    # Shares: the longest step would hide the parts of the others.
    assert bars["network"] == pytest.approx([100 * 24 / 216, 100 * 354 / 546], abs=0.1)
    assert [sum(parts) for parts in zip(*bars.values())] == pytest.approx([100, 100], abs=0.1)
    limit = next(t for t in figure.data if t.name and "modelled" in t.name)
    assert list(limit.x) == [pytest.approx(100 * (192 + 357.8) / 546, abs=0.1)]
    said = meta(figure)
    assert "network 354 (354 to 354, n = 3)" in said["alt"]
    assert "the link alone would take 358 ms (modelled)" in said["alt"]
    assert "one machine" in said["caption"] and "13,824" in said["caption"]


def test_without_a_control_the_reason_stands_in_place_of_the_bars(study_root):
    add_campaign(study_root, "mini-1gbit", {"baseline": 300.0, "ddp_2gpu": 540.0})
    figure = figures.build("overheads")
    assert not figure.data
    assert "no control on mini-1gbit" in meta(figure)["caption"]


def test_a_curve_has_its_quartiles_and_the_limit_of_its_link(study_root):
    measured_network(study_root)
    add_allreduce(study_root, "mini-200mbit", 0.02, local=True)
    figure = figures.build("allreduce_bandwidth")
    lines = {t.name: t for t in figure.data if t.name}
    limit = "rate that the link is set to"
    assert list(lines) == ["mini-open", "mini-1gbit", limit]
    assert lines["mini-1gbit"].y[-1] == pytest.approx(0.12, rel=0.01)
    assert list(lines[limit].y) == [0.125, 0.125]
    assert lines[limit].line.dash == "dash"
    assert lines[limit].showlegend
    band = next(t for t in figure.data if t.fill == "toself")
    assert max(band.y) > max(lines["mini-open"].y)
    assert figure.layout.xaxis.type == "log"
    assert "96 % of its link" in meta(figure)["alt"]


def test_systems_that_the_study_does_not_declare_differ_in_colour(study_root):
    names = ["another", "elsewhere", "mini-1gbit"]
    for name in names:
        add_allreduce(study_root, name, 1.0)
    lines = [line for line in figures.build("allreduce_bandwidth").data if line.name in names]
    assert [line.name for line in lines] == ["mini-1gbit", "another", "elsewhere"]
    assert len({line.line.color for line in lines}) == 3


def test_both_groupings_of_a_trace_are_shown(study_root):
    add_trace(
        study_root,
        "profile_1_1gpu_1_rank0",
        {"volta_sgemm_128x64_nn": 300, "cudnn::bn_fw_tr_1C11": 100},
    )
    add_trace(study_root, "profile_2_1gpu_2_rank0", {"volta_sgemm": 1}, local=True)
    (found,) = [one.shares for one in shares.breakdowns() if one.kind == "measured"]
    assert list(found) == ["grouped by kernel name", "grouped by launching operator"]
    by_name, by_operator = found.values()
    assert by_name["GEMM"] == pytest.approx(75) and by_name["batch norm"] == pytest.approx(25)
    assert by_operator == {"convolution": pytest.approx(100)}
    assert len(shares.trace_table()) == 1 and len(shares.trace_table(everything=True)) == 2


def test_a_damaged_trace_is_named_and_the_rest_is_drawn(study_root):
    path = add_trace(study_root, "profile_1_1gpu_1_rank0", {"volta_sgemm": 1})
    path.write_text('{"traceEvents": [')
    assert [one.kind for one in shares.breakdowns()] == ["reported"]
    table = shares.trace_table()
    assert "profile_1_1gpu_1_rank0" in table["verdict"].iloc[0]


def test_small_groups_are_drawn_together():
    found = shares._shares({"a": 990.0, "b": 5.0, "other": 2.0, "c": 3.0})
    assert list(found) == ["a", "other"] and found["other"] == pytest.approx(1.0)
    assert shares._shares({}) == shares._shares({"a": 0.0}) == {}


@pytest.mark.parametrize("name", ["throughput_comparison", "accuracy_curves", "scaling_efficiency"])
def test_real_and_generated_images_never_share_a_figure(study_root, name):
    text = (study_root / "study.yaml").read_text()
    (study_root / "study.yaml").write_text(re.sub(r"datasets: \[", "datasets: [synthetic, ", text))
    generated = {"name": "synthetic"}
    add_run(study_root, rate=10, dataset=generated, seed=7)
    add_run(study_root, "ddp_2gpu", 7, 15, world=2, dataset=generated)
    assert "synthetic" not in str(meta(figures.build(name))).lower()
    no_reports(study_root)
    figure = figures.build(name)
    assert meta(figure)["caption"].startswith("SYNTHETIC DATA")
    assert any("synthetic" in text for text in texts(figure))
    add_run(study_root, rate=20, seed=8)
    add_run(study_root, "ddp_2gpu", 8, 30, world=2)
    assert "synthetic" not in str(meta(figures.build(name))).lower()


@pytest.mark.parametrize("name", ["throughput_comparison", "accuracy_curves"])
def test_a_figure_of_trials_is_provisional_however_its_caption_begins(
    study_root, monkeypatch, name
):
    no_reports(study_root)
    monkeypatch.setattr(captions, "TRIAL", "Preliminary. ")
    for local in (True, False):  # once there is evidence, it alone is drawn
        add_run(study_root, local=local, job_id=f"t{local}")
        figure = figures.build(name)
        assert meta(figure)["caption"].startswith("Preliminary. ") == local
        assert theme.is_provisional(figure) == local


def test_hostile_names_are_shown_as_text(study_root):
    path = study_root / "data/reported/magic-castle-2025.yaml"
    quoted = json.dumps(HOSTILE.replace("\x00", ""))
    text = path.read_text().replace("system: magic-castle", f"system: {quoted}")
    text = text.replace("device_name: NVIDIA Tesla T4", f"device_name: {quoted}")
    text = text.replace("dataset: cifar10", f"dataset: {quoted}")
    text = text.replace("share.gemm", '"share.<b>x</b>"')
    path.write_text(text)
    add_allreduce(study_root, HOSTILE.replace("\x00", ""))
    assert results.problems().empty
    for name in set(OF_RUNS) - {"overheads", "link_efficiency"}:
        figure = figures.build(name)
        assert figure.data
        for text in texts(figure):
            assert "<script" not in text and "<a " not in text and "<b>x" not in text
    for frame in (results.runs(), shares.breakdown_table()):
        assert "<script" not in figures.show_table_html(frame)


def test_escape_keeps_text_short_and_printable():
    assert theme.escape("a\nb\x00c<b>&") == "a b c&lt;b&gt;&amp;"
    assert len(theme.escape("x" * 500, 20)) == 20


def test_colours_do_not_depend_on_which_runs_are_there(study_root):
    def colours():
        figure = figures.build("throughput_comparison")
        bars = [t for t in figure.data if t.type == "bar" and t.name == "reported"]
        return {trace.y[0]: trace.marker.color for trace in bars}

    before = colours()
    measured_study(study_root)
    assert colours() == before
    assert len(set(before.values())) == len(before)


def test_many_configurations_of_one_experiment_are_told_apart(study_root):
    no_reports(study_root)
    for seed, batch in enumerate((64, 128, 256)):
        add_run(study_root, seed=seed, global_batch=batch)
    bars = [t for t in figures.build("throughput_comparison").data if t.type == "bar"]
    assert len({trace.y[0] for trace in bars}) == 3


# --------------------------------------------------------------------------- single runs


def test_a_live_curve_follows_a_run(study_root):
    stem = add_run(study_root, local=True, dataset={"name": "synthetic"})
    figure = runs.live_curve(stem)
    assert {trace.name for trace in figure.data} == {"training", "validation", "throughput"}
    assert "SYNTHETIC DATA" in figure.layout.title.text
    assert meta(figure)["caption"].startswith("SYNTHETIC DATA")
    csv = study_root / f"results/local/csv/{stem}.csv"
    csv.write_text(csv.read_text().splitlines()[0] + "\n")
    assert "No epoch has ended yet" in texts(runs.live_curve(stem))[1]
    csv.unlink()
    assert not runs.live_curve(stem).data


def test_a_live_curve_needs_only_epoch_and_accuracy(study_root):
    path = study_root / "results/csv/baseline_2644_1gpu_2644.csv"
    path.parent.mkdir(parents=True)
    path.write_text("epoch,val_acc\n1,60\n")
    assert [trace.name for trace in runs.live_curve(path.stem).data] == ["validation"]


def test_a_live_curve_of_nothing_is_a_sentence(study_root):
    assert "no run" in texts(runs.live_curve("nothing"))[1]


def test_tables_are_escaped_and_say_when_they_are_empty():
    frame = pd.DataFrame({"a": [1.234, None], "<b>": ["<i>", True], "c": [["x", "y"], 3]})
    text = figures.show_table_html(frame, digits=2)
    assert "&lt;i&gt;" in text and "<i>" not in text and "<b>" not in text
    assert "1.23" in text and "–" in text and "x, y" in text and ">yes<" in text
    assert "<script" not in figures.show_table_html(frame.iloc[:0], empty="<script>")


def test_a_table_folds_intervals_and_writes_counts_without_decimals():
    frame = pd.DataFrame(
        {"n": [3, 1], "epochs": pd.array([3, None], "Int64"), "steps": [1153, 40],
         "rate_median": [5.25, 7.0], "rate_low": [5.0, 7.0], "rate_high": [6.0, 7.0]}
    )  # fmt: skip
    headers = {"epochs": "epochs", "steps": "steps", "rate_median": "rate"}
    text = re.sub(r"</?span[^>]*>", "", figures.show_table_html(frame, headers, digits=2))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert cells == ["3", "1,153", "5.25 (5.00–6.00)", "–", "40", "7.00"]


def test_details_of_a_caption_list_what_they_enumerate():
    shown = notebook.details("Rates. By link: one 1 % (n = 6); two <b>; three. Lines are ranges.")
    assert "<p>Rates. By link:</p><ul><li>one 1 % (n = 6)</li><li>two &lt;b&gt;</li>" in shown
    assert shown.endswith("<li>three</li></ul><p>Lines are ranges.</p></details>")


def test_the_study_decides_the_order(study_root):
    labels = [t.y[0] for t in figures.build("throughput_comparison").data if t.type == "bar"]
    names = list(study.load().experiments)
    order = [names.index(label.split(",")[0]) for label in labels]
    assert order == sorted(order)


def test_labels_stand_for_names_in_figures_and_tables(study_root):
    path = study_root / "study.yaml"
    text = path.read_text().replace("  baseline:\n", "  baseline:\n    label: one rank\n", 1)
    path.write_text(text.replace("local: {launcher", "local: {label: one machine, launcher", 1))
    add_run(study_root)
    figure = figures.build("throughput_comparison")
    assert "Measured on one machine: one rank " in figure.layout.meta["alt"]
    assert next(bar.y[0] for bar in figure.data if bar.type == "bar") == "one rank"
    table = figures.show_table_html(analysis.configuration_table(), analysis.THROUGHPUT_HEADERS)
    assert "<td>one rank</td>" in table and "<td>one machine</td>" in table
    assert ledger()["baseline.local.throughput.median"].source.startswith(
        "1 run of one rank on one machine"
    )
