"""The ring model finds the latency and bandwidth that made a curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fabricate import add_allreduce
from hypothesis import given, settings
from hypothesis import strategies as st

from scalebook.analysis import link_model
from scalebook.contract import ScalebookError
from scalebook.values import ledger

SIZES = [4**power for power in range(5, 14)]


def curve(alpha: float, beta: float, ranks=(2,), jobs: int = 1, noise: float = 0.0, seed: int = 0):
    """Curves of some jobs, the bandwidth of each off by a random factor."""
    spread = np.random.default_rng(seed)
    rows = [
        {
            "system": "s", "stem": f"allreduce_{job}_{n}cpu_{job}", "world_size": n, "bytes": size,
            "link_gbit_s": None, "backend": "gloo",
            "latency_us": 1e6 * link_model.ring_seconds(n, size, alpha, own),
        }
        for job in range(jobs)
        for own in [beta * np.exp(noise * spread.standard_normal())]
        for n in ranks
        for size in SIZES
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_formula_by_hand():
    # 2 · 3 hops of 1 ms; 2 · 3 / 4 of 8 MB at 1 MB/s.
    assert link_model.ring_seconds(4, 8e6, 1e-3, 1e6) == pytest.approx(0.006 + 12)
    assert link_model.ring_seconds(1, 8e6, 1e-3, 1e6) == 0


@settings(max_examples=15)
@given(alpha=st.floats(2e-6, 2e-3), beta=st.floats(2e7, 2e10), ranks=st.sampled_from([2, 4, 8]))
def test_a_curve_without_noise_is_recovered(alpha, beta, ranks):
    found = link_model.fit(curve(alpha, beta, (ranks,)))
    assert found.alpha.median == pytest.approx(alpha, rel=0.01)
    assert found.beta.median == pytest.approx(beta, rel=0.01)
    assert found.error_max < 0.01


def test_the_interval_is_the_spread_of_the_jobs():
    found = link_model.fit(curve(3e-4, 1.2e8, jobs=6, noise=0.05))
    assert found.has_interval and found.beta.n == 6 and found.beta.coverage > 0.95
    assert found.beta.low < 1.2e8 < found.beta.high
    assert found.alpha.median == pytest.approx(3e-4, rel=0.01)
    assert not link_model.fit(curve(3e-4, 1.2e8, jobs=2, noise=0.05)).has_interval


def test_short_messages_and_one_job_that_waited_change_nothing():
    table = curve(3e-4, 1.2e8, jobs=3)
    table.loc[table["bytes"] < link_model.LONG, "latency_us"] *= 6
    table.loc[table["stem"].str.startswith("allreduce_2"), "latency_us"] *= 2
    found = link_model.fit(table)
    assert found.alpha.median == pytest.approx(3e-4, rel=0.01)
    assert found.beta.median == pytest.approx(1.2e8, rel=0.01)
    assert found.error < 0.01 < found.error_max


def test_no_latency_is_less_than_none():
    table = curve(0.0, 1.2e8)
    table["latency_us"] -= 50
    found = link_model.fit(table)
    assert found.alpha.median == 0 and found.beta.median == pytest.approx(1.2e8, rel=0.01)


def test_a_bandwidth_above_the_link_is_refused_with_the_reason(study_root):
    add_allreduce(study_root, "mini-1gbit", 0.13)
    found, refused = link_model.fits()
    assert not found and "0.13 GB/s is more than the 0.125 GB/s" in refused["mini-1gbit"]


def test_numbers_of_ranks_are_fitted_together():
    found = link_model.fit(curve(1e-4, 1e9, ranks=(2, 4, 8)))
    again = link_model.ring_seconds(32, 1e6, found.alpha.median, found.beta.median)
    assert again == pytest.approx(link_model.ring_seconds(32, 1e6, 1e-4, 1e9), 0.02)


def test_one_long_message_is_refused():
    table = curve(1e-4, 1e9)
    with pytest.raises(ScalebookError, match="two messages of 1 MiB or more"):
        link_model.fit(table[table["bytes"] <= link_model.LONG])


def test_keys_of_the_ledger(study_root):
    assert not any(key.startswith("modelled.link.") for key in ledger())
    add_allreduce(study_root, "mini-1gbit", 0.12)
    add_allreduce(study_root, "mini-open", 1.2)
    add_allreduce(study_root, "mini-200mbit", 0.02, local=True)
    found = ledger()
    # Two ranks: 200 µs are two hops; 0.12 of 0.125 GB/s.
    assert found["modelled.link.mini-1gbit.alpha_us"].value == pytest.approx(100, rel=0.01)
    assert found["modelled.link.mini-1gbit.efficiency"].value == pytest.approx(96, rel=0.01)
    assert "modelled.link.mini-open.efficiency" not in found
    assert not any(key.startswith("modelled.link.mini-200mbit") for key in found)
    value = found["modelled.link.mini-1gbit.bandwidth_gb_s"]
    assert value.kind == "modelled" and "not yet validated" in value.source
    assert value.n == 1 and value.low is None and value.files[0].endswith(".csv")
