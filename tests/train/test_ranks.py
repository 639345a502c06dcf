"""One, two and three ranks compute the same thing."""

from __future__ import annotations

import json

import pytest
import torch
import train_helpers as helpers

from scalebook import results

pytestmark = pytest.mark.slow


def run(root, world_size, **changes):
    helpers.study(root, world_size=world_size, **changes)
    if world_size == 1:
        assert helpers.train(root) == 0
    else:
        for status, _, errors in helpers.finish(helpers.start_ranks(root, world_size)):
            assert status == 0, errors
    return helpers.parameters(root), helpers.rows(root)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One rank on data whose last step is ragged: 40 images in steps of 13 leave one."""
    patch = pytest.MonkeyPatch()
    root = tmp_path_factory.mktemp("alone")
    patch.setenv("SCALEBOOK_ROOT", str(root))
    changes = {
        "model": "tinynet_plain", "epochs": 2, "global_batch": 13, "freeze_batch_norm": True,
        "warmup_epochs": 0.0, "label_smoothing": 0.1,
    }  # fmt: skip
    result = run(root, 1, **changes)
    patch.undo()
    return changes, *result


@pytest.mark.parametrize("world_size", [2, 3])
def test_ragged_tail_weighs_each_image_alike(alone, world_size, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    changes, expected, expected_rows = alone
    found, rows = run(tmp_path, world_size, **changes)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.allclose(found[name].float(), values.float(), atol=1e-5), name
    for row, expected_row in zip(rows, expected_rows):
        for column in ("train_loss", "val_loss"):
            assert float(row[column]) == pytest.approx(float(expected_row[column]), abs=1e-5)
        # 40 training and 21 validation images: a padded or missing one would show.
        for column in ("train_acc", "val_acc", "images", "lr", "warmup_images"):
            assert row[column] == expected_row[column], column
    steps = helpers.steps(tmp_path)
    assert len(steps) == 2 * 4 * world_size
    for epoch in (1, 2):
        for rank in range(world_size):
            mine = [s for s in steps if (s["epoch"], s["rank"]) == (str(epoch), str(rank))]
            assert [step["step"] for step in mine] == ["1", "2", "3", "4"]
        assert sum(int(s["images"]) for s in steps if s["epoch"] == str(epoch)) == 40
    # The last step holds one image: all ranks but the first have none.
    tail = [s for s in steps if s["step"] == "4" and s["epoch"] == "1"]
    assert sorted(int(s["images"]) for s in tail) == [0] * (world_size - 1) + [1]


def test_ranks_that_are_asked_to_leave_their_all_reduce_curve(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    monkeypatch.setenv("TRAIN_TEST_LARGEST_MESSAGE", "4096")
    helpers.study(tmp_path, world_size=2, epochs=1, model="tinynet_plain")
    path = tmp_path / "resolved.json"
    asked = json.loads(path.read_text())
    asked["training"]["allreduce"] = True
    path.write_text(json.dumps({**asked, "link": {"network": "a wire", "link_gbit_s": 2.0}}))
    for status, _, errors in helpers.finish(helpers.start_ranks(tmp_path, 2)):
        assert status == 0, errors
    curve = results.allreduce()
    assert curve["bytes"].tolist() == [1024, 4096] and set(curve["link_gbit_s"]) == {2.0}
    assert set(curve["stem"]) == set(results.runs()["stem"]) and results.problems().empty


def test_validation_uses_the_same_statistics_everywhere(tmp_path, monkeypatch):
    """With batch norm training, the result is that of the saved model on all images."""
    from scalebook.train.images import dataset
    from scalebook.train.settings import DatasetSettings

    monkeypatch.setenv("SCALEBOOK_ROOT", str(tmp_path))
    state, rows = run(tmp_path, 2, epochs=1, model="tinynet_plain")
    model = helpers.TinyNet()
    model.load_state_dict(state)
    model.eval()
    data = dataset.load(DatasetSettings("synthetic", "data", 16, 40, 21), tmp_path, print)
    batches = dataset.Batches(data, torch.device("cpu"), torch.contiguous_format)
    with torch.no_grad():
        output = model(batches.normalise(data.val.images))
    loss = torch.nn.functional.cross_entropy(output, data.val.labels).item()
    hits = (output.argmax(1) == data.val.labels).sum().item()
    assert float(rows[0]["val_loss"]) == pytest.approx(loss, abs=2e-6)
    assert float(rows[0]["val_acc"]) == pytest.approx(100 * hits / 21, abs=1e-4)
