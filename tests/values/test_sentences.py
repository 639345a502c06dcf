"""Computed sentences: they say the other thing when the numbers do."""

from __future__ import annotations

import re

import pytest
from fabricate import add_run
from study_sentences import captions, ours, sentences, theirs

from scalebook.analysis import exchange
from scalebook.values.sentences import apart, listed
from scalebook.values.value import Value

ROLE = re.compile(r"\{value\}`([^`|]+)(\|[^`]*)?`")


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


def link(run: tuple, control: tuple, **more) -> dict[str, Value]:
    names = {"ddp_2gpu.mini-1gbit.efficiency": run, "ddp_1node.mini-1gbit.efficiency": control}
    return known(**names, **more)


# --------------------------------------------------------------------------- reported


def test_a_factor_of_the_ranks_is_a_contradiction_with_its_possible_causes():
    said = theirs.two_bases(reported())
    assert "exclude each other" in said and "twice the training set" in said
    assert "whole set instead of its share" in said


def test_the_runs_on_one_gpu_are_named_where_their_numbers_agree():
    single = {f"reported.{job}.throughput": 4460.0 for job in ("2644", "2650")}
    single |= {f"modelled.{job}.throughput_by_epoch_time": 4545.0 for job in ("2644", "2650")}
    assert "both runs on one GPU" in theirs.two_bases(reported() | known(**single))
    single["modelled.2650.throughput_by_epoch_time"] = 9000.0
    assert "both runs on one GPU" not in theirs.two_bases(reported() | known(**single))


def test_another_factor_has_no_simple_cause():
    said = theirs.two_bases(reported(by_epoch=3500.0))
    assert "exclude each other" in said and "No simple slip" in said and "twice" not in said


def test_numbers_within_rounding_agree():
    said = theirs.two_bases(reported(throughput=2600.0))
    assert "agree" in said and "exclude" not in said


@pytest.mark.parametrize(
    ("rate", "epoch", "expected"),
    [
        (
            2480.0,
            20.3,
            "confirms the reported time per epoch and does not confirm the reported thr",
        ),
        (5020.0, 10.0, "confirms the reported throughput and does not confirm the reported time"),
        (5020.0, 20.0, "confirms the reported throughput and time per epoch."),
        (900.0, 60.0, "It does not confirm the reported throughput and time per epoch."),
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
    assert expected in theirs.two_bases(ledger)
    assert ("stays undetermined" in theirs.two_bases(ledger)) == repeats
    assert ("repeats" in sentences.conclusion(ledger)) == repeats


@pytest.mark.parametrize(
    ("images", "rate", "expected"),
    [
        (100_000.0, 5000.0, "every rank trained on the whole set"),
        (50_000.0, 5000.0, "that of the timed part alone"),
        (50_000.0, 2500.0, "that times the number of ranks"),
        (50_000.0, 3600.0, "`recorded.2649.rate|,.0f|unit`."),
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
    assert expected in theirs.two_bases(ledger)
    assert "decide" in sentences.abstract_results(ledger)


@pytest.mark.parametrize(
    ("cifar", "imagenet", "expected"),
    [
        (184.0, 12.0, "far from being limited by arithmetic"),
        (184.0, 60.0, "as torchvision's does."),
        (80.0, 5.0, "the stem remains open"),
        (900.0, 120.0, "rate itself is therefore in doubt"),
    ],
)
def test_arithmetic_decides_the_stem_or_does_not(cifar, imagenet, expected):
    shares = {
        "modelled.2644.peak_share_cifar": cifar,
        "modelled.2644.peak_share_imagenet": imagenet,
    }
    assert expected in theirs.stem(known(**shares))


def test_half_precision_near_the_peak_is_not_said_to_be_far_from_it():
    far = {"modelled.2650.peak_share_imagenet": 2.6, "reported.2650.speedup": 1.7}
    assert "not by arithmetic" in theirs.half_precision(known(**far))
    near = far | {"modelled.2650.peak_share_imagenet": 70.0}
    assert "Arithmetic may be what limits it" in theirs.half_precision(known(**near))


def test_the_bottleneck_is_undetermined_until_the_trace_is_there():
    shares = {"reported.2915.share.other": 53.2}
    assert "undetermined" in theirs.batch_norm(known(**shares))
    assert "may hide" not in theirs.batch_norm(known(**shares))
    shares["reported.2915.share.batch_norm"] = 18.0
    assert "may hide" in theirs.batch_norm(known(**shares))
    own = "trace.profile_2915_1gpu_2915_rank0.by_operator."
    trace = {f"{own}batch_norm_share": 18.0, f"{own}convolution_share": 66.0}
    assert "does not hold" in theirs.batch_norm(known(**trace))
    assert "the claim holds" in theirs.batch_norm(known(**trace | {f"{own}batch_norm_share": 70.0}))


# --------------------------------------------------------------------------- measured


def test_the_loss_is_the_network_s_only_where_the_ranges_are_apart():
    assert "network's, not that of" in ours.link_effect(link((23, 25, 26), (57, 62, 74)))
    assert "does not separate" in ours.link_effect(link((23, 25, 60), (57, 62, 74)))
    assert "control is the slower one" in ours.link_effect(link((80, 85, 90), (57, 62, 74)))
    assert "not been run" in ours.link_effect({})


def test_a_speed_up_below_one_is_said_only_where_the_whole_range_is():
    ranges = {"run": (23, 25, 26), "control": (57, 62, 74)}
    slower = {"ddp_2gpu.mini-1gbit.speedup": (0.4, 0.5, 0.6)}
    assert "slower than one node" in ours.link_effect(link(**ranges, **slower))
    unsure = {"ddp_2gpu.mini-1gbit.speedup": (0.4, 0.5, 1.1)}
    assert "slower than one node" not in ours.link_effect(link(**ranges, **unsure))


def test_weak_scaling_helps_does_not_or_is_not_shown_to():
    def ledger(weak, strong):
        return known(
            **{"ddp_weak.mini-1gbit.efficiency": weak, "ddp_2gpu.mini-1gbit.efficiency": strong}
        )

    assert "falls accordingly" in ours.weak_effect(ledger((44, 47, 48), (23, 25, 26)))
    assert "not shown to help" in ours.weak_effect(ledger((25, 47, 48), (23, 25, 26)))
    assert "does worse" in ours.weak_effect(ledger((10, 11, 12), (23, 25, 26)))


def test_a_weak_speed_up_below_one_is_not_passed_over():
    ledger = known(
        **{"ddp_weak.mini-1gbit.efficiency": (44, 47, 48),
           "ddp_2gpu.mini-1gbit.efficiency": (23, 25, 26),
           "ddp_weak.mini-1gbit.speedup": (0.87, 0.94, 0.95)}
    )  # fmt: skip
    assert "no faster than one" in ours.weak_effect(ledger)
    faster = ledger | known(**{"ddp_weak.mini-1gbit.speedup": (0.9, 1.1, 1.2)})
    assert "no faster than one" not in ours.weak_effect(faster)


def test_the_network_s_part_is_below_above_or_about_its_floor():
    def ledger(part):
        floor = {"modelled.ddp_2gpu.mini-1gbit.transfer_ms": 358.0}
        return known(**{"ddp_2gpu.mini-1gbit.network_ms": part, **floor})

    assert "hides behind" in ours.overlap(ledger((270, 283, 300)))
    assert "come on top" in ours.overlap(ledger((370, 380, 390)))
    about = ours.overlap(ledger((350, 358, 370)))
    assert "hides" not in about and "on top" not in about


def test_accuracies_that_overlap_show_no_effect():
    told = {"reported.2644.final_val_acc": 77.42, "reported.2649.final_val_acc": 74.08}

    def said(one, two):
        finals = {"baseline.local.final_val_acc": one, "ddp_2gpu.local.final_val_acc": two}
        return ours.accuracies(known(**told, **finals))

    assert "show no effect" in said((68, 69, 70), (69, 70, 71))
    assert "matters here" in said((68, 69, 70), (75, 76, 77))


def test_equal_accuracies_behind_every_link_are_told_from_unequal_ones():
    finals = {
        f"{kind}.{system}.final_val_acc": (31, 33, 38)
        for kind in ("ddp_1node", "ddp_2gpu")
        for system in ("mini-open", "mini-1gbit", "mini-200mbit")
    }
    assert "seed by seed" in ours.same_training(known(**finals))
    other = finals | {"ddp_2gpu.mini-open.final_val_acc": (31, 34, 38)}
    assert "should not" in ours.same_training(known(**other))
    count = "ddp_2gpu.mini-open.final_val_acc.n"
    missing = {count: Value(count, 2.0, "runs", "measured", "made up")}
    assert "yet: some links" in ours.same_training(known(**other) | missing)
    assert "seed by seed" in ours.same_training(known(**finals) | missing)


def test_ranges_that_touch_are_not_apart():
    ledger = known(a=(1, 2, 3), b=(3, 4, 5), c=(3.1, 4, 5))
    assert not apart(ledger, "a", "b")
    assert apart(ledger, "a", "c") and apart(ledger, "c", "a")


# --------------------------------------------------------------------------- all of them


def test_own_gpu_numbers_are_told_from_arrived_ones():
    assert "no measurement on a GPU" in sentences.own_gpu({})
    arrived = known(**{"baseline.magic-castle.final_val_acc": (77.0, 77.0, 77.0)})
    assert "have arrived" in sentences.own_gpu(arrived)
    assert "traces are not" in sentences.at_hand({}) and "files of its own" in sentences.at_hand(
        arrived
    )
    cited = {"cited.magic-castle.nodes": Value("cited.magic-castle.nodes", 2, "", "cited", "")}
    assert "no measurement on a GPU" in sentences.own_gpu(cited)


def test_a_file_without_rates_settles_nothing():
    finals = {"ddp_2gpu.magic-castle.final_val_acc": (74.0, 74.0, 74.0)}
    assert "records no rate" in theirs.two_bases(reported() | known(**finals))


def test_abstract_and_conclusion_blame_the_link_only_where_it_is_the_slower_one():
    ratios = known(
        modelled__2649__speedup_by_throughput=1.12, modelled__2649__speedup_by_epoch_time=0.55
    )
    slow = reported() | ratios | link((23, 25, 26), (57, 62, 74))
    assert "alone is enough" in sentences.abstract_results(slow)
    assert "slow link is enough" in sentences.conclusion(slow)
    fast = reported() | ratios | link((80, 85, 90), (57, 62, 74))
    assert "not shown" in sentences.abstract_results(fast)
    assert "does not separate" in sentences.conclusion(fast)


def test_captions_turn_with_the_numbers():
    worse = captions.scaling(link((23, 25, 26), (57, 62, 74)))
    assert "slower the link" in worse
    assert "Parallel efficiency" in captions.scaling(link((23, 25, 60), (57, 62, 74)))


def test_no_sentence_holds_a_number_of_its_own():
    """Digits stand only in roles, code, labels, mathematics and names of formats."""
    ledger = reported() | link((23, 25, 26), (57, 62, 74)) | known(
        **{"modelled.2644.peak_share_cifar": 184.0, "modelled.2644.peak_share_imagenet": 12.0,
           "modelled.2650.peak_share_imagenet": 2.6, "reported.2650.speedup": 1.7}
    )  # fmt: skip
    for name in ("two-bases", "stem", "half-precision", "link-effect", "abstract-results"):
        text = re.sub(
            r"\{[a-z]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|FP\d\d", "", sentences.SENTENCES[name](ledger)
        )
        assert not re.search(r"\d", text), (name, text)


def test_lists_read_as_english():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_the_batch_up_to_which_a_link_explains_the_loss(study_root):
    # 11,181,642 parameters × 4 B = 44.7 MB; a ring of two sends them once: 35.8 ms at 10 Gbit/s.
    add_run(study_root, model={"name": "resnet18", "stem": "imagenet", "parameters": 11181642})
    found = {value.key: value.value for value in exchange.values()}
    assert found["modelled.2649.gradient_mb"] == pytest.approx(44.727, abs=1e-3)
    gap = 1e6 * (1 / 5000 - 1 / 8920)
    assert found["modelled.2649.gap_us_per_image"] == pytest.approx(gap)
    assert found["modelled.2649.exchange_ms_10gbit"] == pytest.approx(35.78, abs=0.01)
    assert found["modelled.2649.matching_batch_10gbit"] == pytest.approx(
        1e3 * 35.781 / gap, rel=1e-3
    )
    assert not [key for key in found if ".2650." in key]  # as many ranks as its reference
