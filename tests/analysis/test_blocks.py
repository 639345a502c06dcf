"""Blocks find a known effect through drift, and the old way of seeds hours apart does not."""

import numpy as np
import pytest
from fabricate import add_run

from scalebook.analysis import scaling
from scalebook.analysis.statistics import CONFIDENCE, summarise

#: What the simulated study measures: the second configuration is 1.20 times as fast.
EFFECT = 1.20
BLOCKS = 6
SIMULATIONS = 500


def drift(times: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Factor on the machine's speed, up to a quarter over some hours, and 1 % of noise a run."""
    phase, period = random.uniform(0, 2 * np.pi), random.uniform(6, 18)
    slow = 1 + 0.15 * np.sin(2 * np.pi * times / period + phase)
    return slow * random.lognormal(0, 0.01, len(times))


def test_ratios_within_blocks_hold_their_coverage_under_drift():
    random = np.random.default_rng(1)
    covered = {"blocks": 0, "apart": 0}
    widths = {"blocks": [], "apart": []}
    for _ in range(SIMULATIONS):
        # In blocks the two run one after the other, in an order drawn for each; the old way ran
        # one configuration after the other.
        times = np.arange(2 * BLOCKS, dtype=float)
        first = random.integers(0, 2, BLOCKS)
        in_blocks = drift(times, random).reshape(BLOCKS, 2)
        base = in_blocks[np.arange(BLOCKS), first]
        fast = EFFECT * in_blocks[np.arange(BLOCKS), 1 - first]
        apart = drift(times, random)
        for way, ratios in (
            ("blocks", fast / base),
            ("apart", EFFECT * apart[BLOCKS:] / apart[:BLOCKS]),
        ):
            summary = summarise(ratios)
            covered[way] += summary.low <= EFFECT <= summary.high
            widths[way].append(summary.high - summary.low)
    # Six values cover 96.9 %; of 500 simulations 4.5 standard errors less is 93.4 %.
    assert covered["blocks"] / SIMULATIONS > CONFIDENCE - 0.015
    assert covered["apart"] / SIMULATIONS < 0.85
    assert np.median(widths["blocks"]) < 0.5 * np.median(widths["apart"])


def in_block(campaign, number):
    return {"resolved": {"block": {"campaign": campaign, "number": number}}}


def test_times_are_compared_within_a_block_whatever_the_seed(study_root):
    # The machine got slower from block to block; the same seed ran in two of them.
    for block, speed in enumerate((1.0, 0.8, 0.6)):
        for name, rate, world in (("baseline", 400.0, 1), ("ddp_2gpu", 600.0, 2)):
            add_run(study_root, name, block % 2, speed * rate, world=world,
                    job_id=f"t{block}-{world}", **in_block("tiny", block))  # fmt: skip
    rows = scaling.scaling_table().query("kind == 'measured' and basis == 'throughput'")
    (row,) = rows.to_dict("records")
    assert row["pairing"] == "by block" and row["n"] == 3
    ends = (row["speedup"], row["speedup_low"], row["speedup_high"])
    assert ends == pytest.approx((1.5, 1.5, 1.5))


def test_blocks_of_two_campaigns_are_not_one(study_root):
    add_run(study_root, rate=400.0, job_id="t1", **in_block("one", 0))
    add_run(study_root, "ddp_2gpu", 1, 600.0, world=2, job_id="t2", **in_block("two", 0))
    rows = scaling.scaling_table().query("kind == 'measured' and basis == 'throughput'")
    assert rows["pairing"].tolist() == ["of medians"]
