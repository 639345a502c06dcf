"""Another model, image folder, machine and reported file: a study of its own, and no new code."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from paths import REPOSITORY
from PIL import Image
from waiting import PATIENCE_S

STUDY = """
name: shapes
title: "Squares and stripes"
defaults:
  model: shufflenet_v2_x0_5
  dataset: folder
  data_dir: pictures
  image_size: 32
  global_batch: 16
  epochs: 2
  lr: 0.02
  lr_reference_batch: 16
  untimed_steps: 1
  threads_per_rank: 1
  timeout_s: 60
experiments:
  solo: {world_size: 1, description: "One rank."}
  pair: {world_size: 2, scaling: strong, reference: solo}
systems:
  laptop: {launcher: local}
  school: {launcher: slurm}
seeds: [7]
evidence:
  - {experiments: [solo, pair], systems: [laptop]}
notebooks:
  01_run: {experiment: solo, system: laptop}
"""

REPORTED = """
source: "wall chart of the physics lab"
date: "2026-02-01"
system: school
jobs:
  - job_id: "77"
    experiment: solo
    files: []
    configuration: {world_size: 1, nodes: 1, device: gpu, model: shufflenet_v2_x0_5}
    values:
      throughput: {value: 321, unit: images/s, as_written: "321"}
      final_val_acc: {value: 88.5, unit: "%", as_written: "88.5"}
"""

INDEX = """# Squares and stripes

The wall chart says {value}`reported.77.throughput|.0f`; we measured
{value}`solo.laptop.throughput.median|.0f` with one rank.

```{study-figure} throughput_comparison
```
"""


def draw_pictures(folder):
    random = np.random.default_rng(0)
    for split, number in (("train", 24), ("test", 8)):
        for name in ("squares", "stripes"):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(number):
                pixels = random.integers(0, 80, (40, 40, 3), dtype=np.uint8)
                if name == "squares":
                    pixels[10:30, 10:30] += 150
                else:
                    pixels[::4] += 150
                Image.fromarray(pixels).save(place / f"{index}.png")


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    root = tmp_path / "squares & stripes"
    root.mkdir()
    (root / "study.yaml").write_text(STUDY)
    (root / "data" / "reported").mkdir(parents=True)
    (root / "data" / "reported" / "chart.yaml").write_text(REPORTED)
    draw_pictures(root / "pictures")
    (root / "book").mkdir()
    (root / "book" / "index.md").write_text(INDEX)
    (root / "book" / "references.bib").write_text("")
    shutil.copy(REPOSITORY / "book" / "runs.md", root / "book")  # the notebooks lead to it
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    config = (REPOSITORY / "_config.yml").read_text()
    title = next(line for line in config.splitlines() if line.startswith("title:"))
    (root / "_config.yml").write_text(config.replace(title, 'title: "Squares and stripes"'))
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n"
        "  - file: book/runs\n  - file: notebooks/01_run\n  - file: notebooks/04_scaling\n"
    )
    monkeypatch.chdir(root)
    monkeypatch.delenv("SCALEBOOK_ROOT", raising=False)
    return root


def scalebook(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "scalebook.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.slow
def test_a_second_study_trains_and_builds_its_book_without_a_change_of_code(shapes):
    stems = []
    for experiment in ("solo", "pair"):
        done = scalebook("run", experiment, "--json")
        assert done.returncode == 0, done.stderr
        stems.append(json.loads(done.stdout)["stem"])
    assert stems[0].startswith("solo_") and "_1cpu_" in stems[0]
    rows = {row["stem"]: row for row in json.loads(scalebook("runs", "--json").stdout)}
    assert all(rows[stem]["evidence"] for stem in stems)
    assert rows[stems[0]]["dataset"].startswith("folder-")
    assert rows[stems[0]]["final_val_acc"] > 0

    built = scalebook("book")
    assert built.returncode == 0, built.stdout + built.stderr
    page = (shapes / "_build" / "html" / "book" / "index.html").read_text()
    assert "Squares and stripes" in page
    assert "wall chart of the physics lab" in page
    assert 'class="sb-plot-data"' in page
    assert "resnet" not in page.lower()
    scaling = (shapes / "_build" / "html" / "notebooks" / "04_scaling.html").read_text()
    assert "pair" in scaling
