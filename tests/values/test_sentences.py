"""Computed sentences: they say the other thing when the numbers do."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from fabricate import add_run
from study_sentences import captions, ours, paper, sentences, theirs

from scalebook.analysis import Evidence
from scalebook.analysis.reported_jobs import network_bounds
from scalebook.values import Value, ledger
from scalebook.values.sentences import apart, functions, listed, make

WORDING = Path(__file__).with_name("wording.json")


def known(**numbers: float | tuple[float, float, float]) -> dict[str, Value]:
    """A ledger; ``__`` in a name stands for a dot, a triple for low, median and high."""
    found = {}
    for name, given in numbers.items():
        key = name.replace("__", ".")
        parts = {"": given}
        if isinstance(given, tuple):
            parts = dict(zip((".low", ".median", ".high"), given)) | {".n": 3.0}
        for end, number in parts.items():
            found[key + end] = Value(key + end, float(number), "", "measured", "made up")
    return found


def reported(throughput: float = 5000.0, by_epoch: float = 2500.0) -> dict[str, Value]:
    return known(
        reported__2649__throughput=throughput,
        reported__2649__epoch_time_s=20.0,
        modelled__2649__throughput_by_epoch_time=by_epoch,
    )


#: By how much the control differs from itself.
SPREAD = {"control.ddp_1node.spread": 1.28}


def link(run: tuple, control: tuple, **more) -> dict[str, Value]:
    names = {"ddp_2gpu.mini-1gbit.efficiency": run}
    names |= {f"ddp_1node.mini-{link}.efficiency": control for link in ("open", "1gbit")}
    return known(**names, **SPREAD, **more)


# --------------------------------------------------------------------------- reported


def test_a_factor_of_the_ranks_is_a_contradiction_with_its_possible_causes():
    assert theirs.two_bases(reported()).case == "contradict, twice"


def test_the_landing_page_tells_emulated_nodes_from_gpus():
    gain, step = (1.3, 1.35, 1.4), (480.0, 483.0, 490.0)
    own = {"ddp_2gpu__mini-open__speedup": gain, "ddp_2gpu__mini-1gbit__network_ms": step}
    own |= {"ddp_2gpu__mini-1gbit__step_time_p50_ms": step}
    pair = known(reported__2649__speedup=1.12, modelled__2649__speedup_by_epoch_time=0.55)
    made = sentences.SENTENCES["answer-scaling"](known(**own) | reported() | pair)
    assert made.case == "always, contradict"
    assert "two CPU ranks on two emulated nodes" in made.text
    assert "contradict each other" in made.text
    assert "network_ms.median" in made.text and "2649.speedup_by_epoch_time" in made.text
    agreed = sentences.SENTENCES["answer-scaling"](reported(throughput=2600.0) | pair)
    assert agreed.case == "not run, agree" and "speedup_by_epoch_time" not in agreed.text


def test_the_runs_on_one_gpu_are_named_where_their_numbers_agree():
    single = {f"reported.{job}.throughput": 4460.0 for job in ("2644", "2650")}
    single |= {f"modelled.{job}.throughput_by_epoch_time": 4545.0 for job in ("2644", "2650")}
    assert "single GPUs agree" in theirs.two_bases(reported() | known(**single)).case
    single["modelled.2650.throughput_by_epoch_time"] = 9000.0
    assert "single GPUs agree" not in theirs.two_bases(reported() | known(**single)).case


def test_another_factor_has_no_simple_cause():
    assert theirs.two_bases(reported(by_epoch=3500.0)).case == "contradict, no simple slip"


def test_numbers_within_rounding_agree():
    assert theirs.two_bases(reported(throughput=2600.0)).case == "agree"


@pytest.mark.parametrize(
    ("rate", "epoch", "expected"),
    [
        (2480.0, 20.3, "confirms time per epoch, settled"),
        (5020.0, 10.0, "confirms throughput, settled"),
        (5020.0, 20.0, "confirms throughput and time per epoch, open"),
        (900.0, 60.0, "confirms none, settled"),
    ],
)
def test_the_run_s_own_file_settles_it(rate, epoch, expected):
    ledger = reported() | known(
        **{
            "ddp_2gpu.magic-castle.throughput": (rate, rate, rate),
            "ddp_2gpu.magic-castle.epoch_time_s": (epoch, epoch, epoch),
        }
    )
    repeats = rate > 5000 and epoch > 15
    assert theirs.bases(ledger) == ("open" if repeats else "arrived")
    assert theirs.two_bases(ledger).case == expected
    assert paper.conclusion(ledger).case.startswith("open" if repeats else "arrived")


@pytest.mark.parametrize(
    ("images", "rate", "expected"),
    [
        (100_000.0, 5000.0, "all-images"),
        (50_000.0, 5000.0, "untimed"),
        (50_000.0, 2500.0, "multiplied"),
        (50_000.0, 3600.0, "slower"),
    ],
)
def test_counts_in_the_file_say_how_both_numbers_came_about(images, rate, expected):
    ledger = reported() | known(
        **{
            "ddp_2gpu.magic-castle.throughput": (5000.0, 5000.0, 5000.0),
            "ddp_2gpu.magic-castle.epoch_time_s": (20.0, 20.0, 20.0),
            "recorded.2649.images": images,
            "recorded.2649.train_time_s": images / rate,
            "recorded.2649.rate": rate,
        }
    )
    assert theirs.bases(ledger) == "arrived"
    assert theirs.two_bases(ledger).case.endswith(f", {expected}")
    assert paper.abstract_results(ledger).case == "arrived, not run"


@pytest.mark.parametrize(
    ("cifar", "imagenet", "expected"),
    [
        (184.0, 12.0, "large, far from the peak"),
        (184.0, 60.0, "large"),
        (80.0, 5.0, "open"),
        (900.0, 120.0, "impossible"),
    ],
)
def test_arithmetic_decides_the_stem_or_does_not(cifar, imagenet, expected):
    shares = {
        "modelled.2644.peak_share_cifar": cifar,
        "modelled.2644.peak_share_imagenet": imagenet,
    }
    assert theirs.stem(known(**shares)).case == expected


def test_half_precision_near_the_peak_is_not_said_to_be_far_from_it():
    far = {"modelled.2650.peak_share_imagenet": 2.6, "reported.2650.speedup": 1.7}
    assert theirs.half_precision(known(**far)).case == "far from the peak"
    near = far | {"modelled.2650.peak_share_imagenet": 70.0}
    assert theirs.half_precision(known(**near)).case == "near the peak"


def test_the_bottleneck_is_undetermined_until_the_trace_is_there():
    shares = {"reported.2915.share.other": 53.2}
    assert theirs.batch_norm(known(**shares)).case == "undetermined"
    shares["reported.2915.share.batch_norm"] = 18.0
    assert theirs.batch_norm(known(**shares)).case == "undetermined, a larger one may hide"
    own = "trace.profile_2915_1gpu_2915_rank0.by_operator."
    trace = {f"{own}batch_norm_share": 18.0, f"{own}convolution_share": 66.0}
    assert theirs.batch_norm(known(**trace)).case == "contradicted"
    trace[f"{own}batch_norm_share"] = 70.0
    assert theirs.batch_norm(known(**trace)).case == "holds"


#: Sentences of paper, proposal and slides that say which speed-up of two GPUs holds.
DECIDED = (
    "abstract-results",
    "conclusion",
    "proposal-evidence",
    "proposal-reported",
    "slide-results",
)


@pytest.mark.parametrize(
    ("images", "holds", "fails", "why"),
    [
        (100_000, "throughput", "epoch_time", "each GPU trained on all images"),
        (50_000, "epoch_time", "throughput", "the GPUs shared the images"),
    ],
)
def test_the_owner_s_file_turns_every_document(study_root, images, holds, fails, why):
    def made() -> dict[str, tuple[str, str]]:
        numbers = ledger()
        return {name: sentence(numbers) for name, sentence in sentences.SENTENCES.items()}

    add_run(study_root, model={"name": "resnet18", "stem": "imagenet", "parameters": 11181642})
    before = made()
    assert before["readings"][0] == "two readings"
    for name in DECIDED:
        text = before[name][1]
        assert "by_throughput" in text or "reported.2649.speedup" in text, name
        assert "by_epoch_time" in text, name
    lines = ["epoch,val_acc,images,train_time_s,epoch_time_s"]
    lines += [f"{epoch},{60 + epoch},{images},{20 + epoch / 50},20.2" for epoch in range(1, 6)]
    own = study_root / "results/csv/baseline_2649_2gpu_2649.csv"
    own.write_text("\n".join(lines) + "\n")
    after = made()
    for name in DECIDED:
        text = after[name][1]
        assert f"by_{holds}" in text or (holds == "throughput" and "2649.speedup|" in text), name
        assert f"by_{fails}" not in text, name
        assert name in ("slide-results", "proposal-evidence") or why in text, name
    loss = "sharded_gap_us" if holds == "epoch_time" else "2649.gap_us"
    assert loss in after["exchange"][1] and "Under either reading" not in after["exchange"][1]
    assert "recorded.2649.images" in after["readings"][1]
    assert (after["at-hand"][0], after["own-gpu"][0]) == ("arrived", "arrived")
    undecided = ("will decide", "stays open", "to follow", "either reading", "confirms neither")
    for name, (_, text) in after.items():
        assert not any(words in text for words in undecided), name


# --------------------------------------------------------------------------- measured


def test_the_loss_is_the_network_s_only_where_the_ranges_are_apart():
    assert ours.link_effect(link((23, 25, 26), (57, 62, 74))).case == "network"
    assert ours.link_effect(link((23, 25, 60), (57, 62, 74))).case == "overlap"
    assert ours.link_effect(link((80, 85, 90), (57, 62, 74))).case == "control slower"
    assert ours.link_effect({}).case == "not run"
    # Apart, but by less than the control differs from itself; or nobody knows by how much it does.
    assert ours.link_effect(link((50, 51, 52), (58, 62, 74))).case == "overlap"
    alone = link((23, 25, 26), (57, 62, 74))
    del alone["control.ddp_1node.spread"]
    assert ours.link_effect(alone).case == "overlap"


def test_an_open_link_costs_only_what_is_beyond_the_control():
    def case(run):
        names = {"ddp_2gpu.mini-open.efficiency": run}
        return ours.open_link(link((23, 25, 26), (59, 64, 72)) | known(**names)).case

    assert case((54, 60, 66)) == "overlap" and case((53, 55, 57)) == "overlap"
    assert case((38, 40, 42)) == "not free"


def test_a_speed_up_below_one_is_said_only_where_the_whole_range_is():
    ranges = {"run": (23, 25, 26), "control": (57, 62, 74)}
    slower = {"ddp_2gpu.mini-1gbit.speedup": (0.4, 0.5, 0.6)}
    slow_case = "network, slower than one node"
    assert ours.link_effect(link(**ranges, **slower)).case == slow_case
    unsure = {"ddp_2gpu.mini-1gbit.speedup": (0.4, 0.5, 1.1)}
    assert ours.link_effect(link(**ranges, **unsure)).case == "network"


def test_weak_scaling_helps_does_not_or_is_not_shown_to():
    def ledger(weak, strong):
        return known(
            **{"ddp_weak.mini-1gbit.efficiency": weak, "ddp_2gpu.mini-1gbit.efficiency": strong},
            **SPREAD,
        )

    assert ours.weak_effect(ledger((44, 47, 48), (23, 25, 26))).case == "helps"
    assert ours.weak_effect(ledger((25, 47, 48), (23, 25, 26))).case == "overlap"
    assert ours.weak_effect(ledger((10, 11, 12), (23, 25, 26))).case == "worse"


def test_a_weak_speed_up_below_one_is_not_passed_over():
    ledger = known(
        **{
            "ddp_weak.mini-1gbit.efficiency": (44, 47, 48),
            "ddp_2gpu.mini-1gbit.efficiency": (23, 25, 26),
            "ddp_weak.mini-1gbit.speedup": (0.87, 0.94, 0.95),
            **SPREAD,
        }
    )
    assert ours.weak_effect(ledger).case == "helps, no faster than one"
    faster = ledger | known(**{"ddp_weak.mini-1gbit.speedup": (0.9, 1.1, 1.2)})
    assert ours.weak_effect(faster).case == "helps"


@pytest.mark.parametrize(
    ("weak", "case"), [(1.1, "1 too small"), (1.9, "all count")], ids=["noise", "beyond it"]
)
def test_a_loss_from_link_to_link_counts_beyond_what_the_control_differs(weak, case):
    first, then = "mini-open.mini-1gbit", "mini-1gbit.mini-200mbit"
    found = {f"contrast.ddp_1node.{pair}": (0.9, 1.0, 1.1) for pair in (first, then)}
    found |= {f"contrast.ddp_2gpu.{pair}": (1.8, 1.9, 2.0) for pair in (first, then)}
    found |= {f"contrast.ddp_weak.{first}": (weak, weak, weak)}
    found |= {f"contrast.ddp_weak.{then}": (3.4, 3.8, 4.0)}
    made = ours.links_compared(known(**found, **SPREAD))
    assert made.case == case
    assert ("but that of weak scaling from full rate" in made.text) == (
        weak < SPREAD["control.ddp_1node.spread"]
    )
    assert ours.links_compared(known(**found)).case == "not run"  # without a yardstick


def test_the_bottleneck_is_convolution_s_only_where_every_profile_says_so():
    one, two = (f"trace.profile_t-{n}_{n}cpu_t-{n}.by_operator." for n in (1, 2))
    shares = {f"{one}convolution_share": 75.0, f"{one}batch_norm_share": 10.0,
              f"{two}convolution_share": 47.0, f"{two}communication_share": 36.0}  # fmt: skip
    assert theirs.convolution_leads(known(**shares))
    assert theirs.cpu_profile(known(**shares)).case == "one and two ranks"
    assert not theirs.convolution_leads(known(**shares | {f"{two}communication_share": 50.0}))
    assert not theirs.convolution_leads({})
    assert theirs.cpu_profile({}) == ("none", "")


@pytest.mark.parametrize(
    ("errors", "says"), [((21, 28), "overestimates these steps by"), ((-9, 28), "misses these")]
)
def test_the_model_of_the_proposal_is_not_said_to_do_better_than_it_does(errors, says):
    finals = {"ddp_2gpu.mini-1gbit.efficiency": (34, 36, 37)}
    finals |= {"ddp_1node.mini-1gbit.efficiency": (64, 70, 73)}
    names = ("mini-open", "mini-1gbit")
    steps = {f"modelled.ddp_2gpu.{n}.step_error": e for n, e in zip(names, errors)}
    steps |= {"modelled.ddp_2gpu.mini-open.step_ms": (280, 311, 320)}
    steps |= {"ddp_2gpu.mini-open.step_time_p50_ms": (250, 257, 330)}
    text = sentences.SENTENCES["proposal-evidence"](known(**finals, **steps)).text
    assert says in text and text.endswith("the measured step is outside its range.")


def test_the_paper_names_the_address_of_its_repository_once_it_is_filled_in(study_root):
    assert paper.repository({}).case == "to fill"
    file, address = study_root / "CITATION.cff", "https://example.org/study"
    file.write_text(f"cff-version: 1.2.0\nrepository-code: {address}\n")
    made = paper.repository({})
    assert made.case == "address" and f"<{address}>" in made.text


def test_the_network_s_part_is_below_above_or_about_its_floor():
    def ledger(part):
        floor = {"modelled.ddp_2gpu.mini-1gbit.transfer_ms": 358.0}
        return known(**{"ddp_2gpu.mini-1gbit.network_ms": part, **floor})

    assert ours.overlap(ledger((270, 283, 300))).case == "less"
    assert ours.overlap(ledger((370, 380, 390))).case == "more"
    assert ours.overlap(ledger((350, 358, 370))).case == "about"


def test_accuracies_that_overlap_decide_nothing():
    accuracies = {"reported.2644.final_val_acc": 77.42, "reported.2649.final_val_acc": 74.08}

    def case(one, two):
        finals = {"baseline.local.final_val_acc": one, "ddp_2gpu.local.final_val_acc": two}
        return ours.accuracies(known(**accuracies, **finals)).case

    assert case((68, 69, 70), (69, 70, 71)) == "overlap"
    assert case((68, 69, 70), (75, 76, 77)) == "apart"


def test_equal_accuracies_behind_every_link_are_told_from_unequal_ones():
    finals = {
        f"{kind}.{system}.final_val_acc": (31, 33, 38)
        for kind in ("ddp_1node", "ddp_2gpu")
        for system in ("mini-open", "mini-1gbit", "mini-200mbit")
    }
    assert ours.same_training(known(**finals)).case == "same"
    other = finals | {"ddp_2gpu.mini-open.final_val_acc": (31, 34, 38)}
    assert ours.same_training(known(**other)).case == "different"
    count = "ddp_2gpu.mini-open.final_val_acc.n"
    missing = {count: Value(count, 2.0, "runs", "measured", "made up")}
    assert ours.same_training(known(**other) | missing).case == "runs missing"
    assert ours.same_training(known(**finals) | missing).case == "same"


def test_ranges_that_touch_are_not_apart():
    ledger = known(a=(1, 2, 3), b=(3, 4, 5), c=(3.1, 4, 5))
    assert not apart(ledger, "a", "b")
    assert apart(ledger, "a", "c") and apart(ledger, "c", "a")


def test_longer_ladders_and_options_are_told_of_once_they_are_evidence(study_root):
    add_run(study_root, rate=400)
    add_run(study_root, "ddp_2gpu", rate=600, world=2)
    assert ours.ladders(ledger()) == ours.options(ledger()) == ("none", "")
    add_run(study_root, "ddp_2gpu", rate=700, world=4, job_id="t-four")
    case, text = ours.ladders(ledger())
    assert case == "falls" and "ddp_2gpu.local.ranks_4.efficiency.median" in text
    half = {"resolved": {"reference": "ddp_2gpu"}}
    add_run(study_root, "fp16", rate=900, world=2, **half)
    case, text = ours.options(ledger())
    assert case == "gain" and "{value}`fp16.local.speedup.median|.2f`" in text


# --------------------------------------------------------------------------- all of them


def test_own_gpu_numbers_are_told_from_arrived_ones():
    assert paper.own_gpu({}).case == "none"
    arrived = known(**{"baseline.magic-castle.final_val_acc": (77.0, 77.0, 77.0)})
    assert paper.own_gpu(arrived).case == "arrived"
    assert paper.at_hand({}).case == "summary"
    assert paper.at_hand(arrived).case == "arrived"
    cited = {"cited.magic-castle.nodes": Value("cited.magic-castle.nodes", 2, "", "cited", "")}
    assert paper.own_gpu(cited).case == "none"


def test_a_file_without_rates_settles_nothing():
    finals = {"ddp_2gpu.magic-castle.final_val_acc": (74.0, 74.0, 74.0)}
    assert "no rate in the file" in theirs.two_bases(reported() | known(**finals)).case


def test_abstract_and_conclusion_blame_the_link_only_where_it_is_the_slower_one():
    ratios = known(
        modelled__2649__speedup_by_throughput=1.12, modelled__2649__speedup_by_epoch_time=0.55
    )
    slow = reported() | ratios | link((23, 25, 26), (57, 62, 74))
    assert paper.abstract_results(slow).case == "contradict, link"
    assert paper.conclusion(slow).case == "contradict, link"
    fast = reported() | ratios | link((80, 85, 90), (57, 62, 74))
    assert paper.abstract_results(fast).case == "contradict, not shown"
    assert paper.conclusion(fast).case == "contradict, not shown"


def test_captions_turn_with_the_numbers():
    assert captions.scaling(link((23, 25, 26), (57, 62, 74))).case == "link limits"
    assert captions.scaling(link((23, 25, 60), (57, 62, 74))).case == "plain"


def test_no_sentence_holds_a_number_of_its_own():
    """Digits stand only in roles, code, labels, mathematics and names of formats."""
    ledger = reported() | link((23, 25, 26), (57, 62, 74)) | known(
        **{"modelled.2644.peak_share_cifar": 184.0, "modelled.2644.peak_share_imagenet": 12.0,
           "modelled.2650.peak_share_imagenet": 2.6, "reported.2650.speedup": 1.7}
    )  # fmt: skip
    for name in (
        "readings",
        "conclusion",
        "stem",
        "half-precision",
        "link-effect",
        "abstract-results",
    ):
        text = re.sub(
            r"\{[a-z]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|FP\d\d",
            "",
            sentences.SENTENCES[name](ledger).text,
        )
        assert not re.search(r"\d", text), (name, text)


class Everything(dict):
    """A ledger in which every number is one."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> Value:
        return Value(key, 1.0, "", "measured", "made up")


def test_the_wording_is_that_of_the_snapshot():
    """After rewording, write it anew: SCALEBOOK_UPDATE_SNAPSHOTS=1 pytest tests/values."""
    made = {
        case: {name: list(sentence(numbers)) for name, sentence in sentences.SENTENCES.items()}
        for case, numbers in {"reported alone": reported(), "everything": Everything()}.items()
    }
    if os.environ.get("SCALEBOOK_UPDATE_SNAPSHOTS"):
        WORDING.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    assert made == json.loads(WORDING.read_text())


def test_a_sentence_of_a_study_made_earlier_is_its_text_alone(study_root):
    (study_root / "book").mkdir()
    (study_root / "book/sentences.py").write_text(
        "from scalebook.analysis.phrases import Ledger, value\n"
        "SENTENCES = {'a': lambda known: value('x.y')}\n"
    )
    functions.cache_clear()
    assert make("a", {}) == ("", "{value}`x.y||unit`")
    functions.cache_clear()


def test_lists_read_as_english():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_the_batch_up_to_which_a_link_explains_the_loss(study_root):
    # 11,181,642 parameters × 4 B = 44.7 MB; a ring of two sends them once: 35.8 ms at 10 Gbit/s.
    add_run(study_root, model={"name": "resnet18", "stem": "imagenet", "parameters": 11181642})
    found = {(one.job_id, one.metric): one.value for one in network_bounds(Evidence().jobs)}
    assert found["2649", "gradient_mb"] == pytest.approx(44.727, abs=1e-3)
    gap = 1e6 * (1 / 5000 - 1 / 8920)
    assert found["2649", "gap_us_per_image"] == pytest.approx(gap)
    assert found["2649", "exchange_ms_10gbit"] == pytest.approx(35.78, abs=0.01)
    assert found["2649", "matching_batch_10gbit"] == pytest.approx(1e3 * 35.781 / gap, rel=1e-3)
    assert not [key for key in found if "2650" in key]  # as many ranks as its reference
