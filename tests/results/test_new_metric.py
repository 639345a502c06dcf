"""A metric of a run takes one place: the catalogue, the ledger and the pages derive from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from paths import REPOSITORY

OLD = "    for metric in (\n        Metric(\n"
NEW = """    for metric in (
        Metric(
            "worst_val_acc", "worst validation accuracy", "%", "worst accuracy (%)", 2,
            "val_acc, smallest", lambda epochs: float(epochs["val_acc"].min()),
        ),
        Metric(
"""
READ = """
import json
from fabricate import add_run
from scalebook import contract, results, values
from scalebook.publish.runs import content, data
root = contract.find_root()
stem = add_run(root, accuracy=(40.0, 30.0, 50.0))
row = results.runs(kind="measured").to_dict("records")[0]
index = data.index({stem: row})
print(json.dumps([
    row["worst_val_acc"],
    values.lookup(f"run.{stem}.worst_val_acc").value,
    [one["values"] for one in index["columns"] if one["title"] == "worst accuracy (%)"],
    "worst validation accuracy (%)" in content.content(row, root)["html"],
]))
"""


def test_a_metric_of_a_run_takes_one_place(study_root, tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(REPOSITORY / "src/scalebook", source / "scalebook")
    path = source / "scalebook/results/metrics.py"
    assert path.read_text().count(OLD) == 1
    path.write_text(path.read_text().replace(OLD, NEW))
    places = os.pathsep.join(map(str, (source, REPOSITORY / "tests/helpers")))
    read = subprocess.run(
        [sys.executable, "-c", READ], cwd=study_root, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": places}, check=False,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == [30.0, 30.0, [[30.0]], True]
