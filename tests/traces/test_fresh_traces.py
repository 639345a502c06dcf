"""Traces that the profiler writes here and now, against times counted from their raw events."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, schedule
from trace_events import events_of, own_times

from scalebook import traces

pytestmark = pytest.mark.slow

STEPS = 3


def traced(folder: Path, step: Callable[[], object], **settings) -> Path:
    """Trace of some steps after one that is not recorded."""
    path = folder / "fresh_rank0.pt.trace.json"
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=0, warmup=1, active=STEPS, repeat=1),
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
        **settings,
    ) as profiler:
        for _ in range(STEPS + 1):
            step()
            profiler.step()
    return path


def training(net: torch.nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """One step of training."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()

    return step


def agreed(path: Path) -> dict:
    """The summary of a trace whose times by operator are those counted from its raw events."""
    raw = own_times(path)
    table = traces.get_breakdown(traces.read(path), "operator").set_index("group")
    found = table["total_us"][table["total_us"] > 0.01].to_dict()
    counted = {name: time for name, time in raw.items() if time > 0.01}
    # An event may outlast what called it by the µs that the clock was read late.
    assert found == pytest.approx(counted, rel=0.01, abs=2)
    summary = traces.summary(path)
    assert summary["total_us"] == pytest.approx(sum(raw.values()), rel=0.002)
    assert sum(summary["by_operator"].values()) == pytest.approx(summary["total_us"], abs=0.1)
    marks = events_of(path, "ProfilerStep#")
    numbers = sorted({int(one["name"].partition("#")[2]) for one in marks})
    assert [one["step"] for one in summary["steps"]] == numbers and len(numbers) == STEPS
    lasted = {int(one["name"].partition("#")[2]): one["dur"] for one in marks}
    steps = {one["step"]: one["dur_us"] for one in summary["steps"]}
    assert steps == pytest.approx(lasted, abs=0.01)
    return summary


def test_a_trace_with_stacks(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(),
                              torch.nn.Linear(8 * 14 * 14, 10))  # fmt: skip
    step = training(net, torch.randn(4, 3, 16, 16))
    path = traced(tmp_path, step, with_stack=True, with_modules=True, record_shapes=True)
    summary = agreed(path)
    assert {"convolution", "batch_norm", "gemm"} <= set(summary["by_operator"])
    modules = set(summary["by_module"])
    assert {f"Sequential_0/{one}_0" for one in ("Conv2d", "BatchNorm2d", "Linear")} <= modules
    # Python's other functions name files: they are counted, and not read.
    python = [one["name"] for one in events_of(path) if one["cat"] == "python_function"]
    others = [name for name in python if not name.startswith("nn.Module: ")]
    assert len(others) > 100 and summary["not_read"]["python_function"] == len(others)
    names = traces.read(path).events["name"].cat.categories
    assert not [name for name in names if ".py(" in name]


def test_a_trace_of_a_compiled_model(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Without a compiler of C++ the same regions run as graphs of operators.
    backend = "inductor" if shutil.which("g++") else "aot_eager"
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 10)
    )
    torch._dynamo.reset()
    try:
        step = training(torch.compile(net, backend=backend), torch.randn(16, 64))
        step()
        path = traced(tmp_path, step, record_shapes=True)
    finally:
        torch._dynamo.reset()
    assert events_of(path, "CompiledFunction") and events_of(path, "Torch-Compiled Region")
    summary = agreed(path)
    raw = own_times(path)
    products = sum(time for name, time in raw.items() if name in ("aten::addmm", "aten::mm"))
    assert products and summary["by_operator"]["gemm"] >= 0.99 * products
    assert {"forward", "backward", "optimizer"} <= set(summary["by_phase"])
