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


def curve(alpha: float, beta: float, ranks=(2,), noise: float = 0.0, seed: int = 0):
    spread = np.random.default_rng(seed)
    rows = [
        {
            "system": "s", "stem": f"allreduce_a_{n}cpu_a", "world_size": n, "bytes": size,
            "link_gbit_s": None, "backend": "gloo",
            "latency_us": 1e6 * link_model.ring_seconds(n, size, alpha, beta)
            * np.exp(noise * spread.standard_normal()),
        }
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
    # Both terms must show: a latency below a hundredth of every message cannot be seen.
    if not SIZES[0] / beta < 10 * alpha < SIZES[-1] / beta * 100:
        return
    found = link_model.fit(curve(alpha, beta, (ranks,)))
    assert found.alpha == pytest.approx(alpha, rel=0.02)
    assert found.beta == pytest.approx(beta, rel=0.02)
    assert found.error_max < 0.02


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16))
def test_noise_stays_inside_the_interval_or_near(seed):
    found = link_model.fit(curve(3e-4, 1.2e8, noise=0.05, seed=seed))
    assert found.alpha == pytest.approx(3e-4, rel=0.25)
    assert found.beta == pytest.approx(1.2e8, rel=0.25)
    assert found.alpha_low <= found.alpha <= found.alpha_high
    assert found.beta_low <= found.beta <= found.beta_high


def test_one_point_that_waited_moves_little():
    table = curve(3e-4, 1.2e8)
    table.loc[1, "latency_us"] *= 6
    found = link_model.fit(table)
    assert found.alpha == pytest.approx(3e-4, rel=0.05)
    assert found.beta == pytest.approx(1.2e8, rel=0.05)
    assert found.error < 0.05 < found.error_max


def test_numbers_of_ranks_are_fitted_together():
    found = link_model.fit(curve(1e-4, 1e9, ranks=(2, 4, 8)))
    assert found.points == 27
    again = link_model.ring_seconds(32, 1e6, found.alpha, found.beta)
    assert again == pytest.approx(link_model.ring_seconds(32, 1e6, 1e-4, 1e9), 0.02)


def test_one_message_size_is_refused():
    with pytest.raises(ScalebookError, match="two message sizes"):
        link_model.fit(curve(1e-4, 1e9).head(1))


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
    assert value.low <= value.value <= value.high and value.files[0].endswith(".csv")
