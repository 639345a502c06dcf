"""The throughput benchmark runs and compares every source of batches."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from paths import REPOSITORY

pytestmark = pytest.mark.slow

BENCHMARK = REPOSITORY / "benchmarks" / "training_throughput.py"


def test_benchmark_runs(study_root):
    settings = ["dataset=synthetic", "train_images=64", "val_images=8", "global_batch=8",
                "threads_per_rank=1"]  # fmt: skip
    command = [sys.executable, str(BENCHMARK), "--rounds", "1", "--steps", "1", "--workers", "0"]
    for setting in settings:
        command += ["--set", setting]
    out = study_root / "figures.json"
    done = subprocess.run([*command, "--json", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert list(result["sources"]) == ["constant", "resident", "dataloader-0"]
    assert result["settings"]["dataset"] == "synthetic"
    assert result["sources"]["constant"]["of_limit"] == 1
