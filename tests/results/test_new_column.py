"""A column more in the CSV takes two places: the contract and the training loop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import train_helpers
from paths import REPOSITORY

#: What is to be written where; nothing else may need a change.
PATCH = {
    "contract.py": (
        '    Column("loss_scale", decimals=1),\n',
        '    Column("loss_scale", decimals=1),\n'
        '    Column("images_seen", "images", check="whole"),\n',
    ),
    "train/loop.py": (
        '"epoch": epoch, "train_loss"',
        '"images_seen": epoch * sum(sizes), "epoch": epoch, "train_loss"',
    ),
}

READ = """
import json
from scalebook import results
stem = results.newest()
path = f"results/local/csv/{stem}.csv"
table = results.epochs(stem)
text = open(path).read()
open(path, "w").write(text.replace(",40\\n", ",-40\\n"))
found = results.problems()
print(json.dumps([table["images_seen"].tolist(), str(table["images_seen"].dtype),
                  found[["row", "column", "problem"]].values.tolist()]))
"""


@pytest.mark.slow
def test_a_csv_column_takes_two_places(tmp_path):
    assert len(PATCH) == 2
    source = tmp_path / "src/scalebook"
    shutil.copytree(REPOSITORY / "src/scalebook", source)
    for name, (old, new) in PATCH.items():
        text = (source / name).read_text()
        assert text.count(old) == 1, name
        (source / name).write_text(text.replace(old, new))
    root = train_helpers.study(tmp_path / "study", epochs=2)
    environment = {"PYTHONPATH": str(source.parent), "SCALEBOOK_JOB_ID": "t1"}
    (outcome,) = train_helpers.finish(train_helpers.start_ranks(root, 1, **environment))
    assert outcome[0] == 0, outcome
    read = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment, "SCALEBOOK_ROOT": str(root)},
    )
    assert json.loads(read.stdout) == [
        [40, 80],
        "int64",
        [[2, "images_seen", "-40 must be a whole number, not negative"]],
    ]
