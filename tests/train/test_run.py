"""A run's files, its resumption, and the one line of each failure, in one process."""

from __future__ import annotations

import csv
import errno
import getpass
import gzip
import json
import re
import shutil
import socket
from pathlib import Path

import pytest
import torch
import train_helpers as helpers

from scalebook import contract
from scalebook.results import schema
from scalebook.train import checkpoint, loop, manifest, records, stop

ATTEMPT = {"number", "start", "end", "ended", "reason", "first_epoch", "first_step", "scheduler"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    # A space in the path, as a user may have it.
    folder = tmp_path / "my study"
    monkeypatch.setenv("SCALEBOOK_ROOT", str(folder))
    for name in ("SCALEBOOK_JOB_ID", "SLURM_JOB_ID", "SCALEBOOK_COMMIT", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return helpers.study(folder)


def fails(root, capsys, *arguments, status=1) -> str:
    """The one line with which a training fails."""
    capsys.readouterr()
    assert helpers.train(root, *arguments) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("scalebook.train: "), lines
    assert str(root) not in lines[0]
    return lines[0]


def last_attempt(root) -> dict:
    return helpers.manifest(root)["attempts"][-1]


# --------------------------------------------------------------------------- files


def test_files_are_as_the_contract_says(root, monkeypatch, tmp_path):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "77")
    monkeypatch.setenv("SCALEBOOK_COMMIT", "abc")
    monkeypatch.setenv("SCALEBOOK_DIRTY", "1")
    progress = tmp_path / "progress.json"
    monkeypatch.setenv("SCALEBOOK_PROGRESS", str(progress))
    assert helpers.train(root) == 0
    stem = "tiny_77_1cpu_77"
    with open(root / f"results/local/csv/{stem}.csv") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == contract.CSV_COLUMNS
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        value = {key: float(text) for key, text in row.items() if text}
        assert value["images"] == 40 and value["attempt"] == 1 and value["global_batch"] == 16
        images = value["images"] - value["warmup_images"]
        seconds = value["train_time_s"] - value["warmup_time_s"]
        assert value["throughput"] == pytest.approx(images / seconds, rel=1e-2)
        assert value["epoch_time_s"] >= value["train_time_s"] + value["val_time_s"] - 1e-5
        assert 0 <= value["train_acc"] <= 100 and value["peak_mem_mb"] > 50
        assert row["loss_scale"] == ""
    assert [row["warmup_images"] for row in rows] == ["32", "0", "0"]

    with gzip.open(root / f"results/local/steps/{stem}.csv.gz", "rt") as file:
        reader = csv.DictReader(file)
        steps = list(reader)
    assert tuple(reader.fieldnames) == contract.STEP_COLUMNS
    assert [step["warmup"] for step in steps] == ["1", "1"] + ["0"] * 7
    assert [step["images"] for step in steps[:3]] == ["16", "16", "8"]
    for epoch, row in enumerate(rows, 1):
        own = [step for step in steps if step["epoch"] == str(epoch)]
        total = sum(float(step["step_time_s"]) for step in own)
        assert float(row["train_time_s"]) == pytest.approx(total, abs=1e-5)
        assert all(float(s["data_wait_s"]) < float(s["step_time_s"]) for s in own)

    document = json.loads((root / f"results/local/manifests/{stem}.json").read_text())
    assert document["schema"] == contract.MANIFEST_SCHEMA and document["stem"] == stem
    assert document["code"] == {"commit": "abc", "dirty": True}
    assert document["dataset"]["name"] == "synthetic" and document["dataset"]["classes"] == 10
    assert document["model"]["parameters"] == sum(p.numel() for p in helpers.TinyNet().parameters())
    assert document["backend"] is None and document["threads_per_rank"] == 1
    assert document["batch_per_rank"] == document["global_batch"] == 16
    (attempt,) = document["attempts"]
    assert attempt.keys() == ATTEMPT and attempt["ended"] == "completed" and attempt["end"]

    log = (root / f"results/local/logs/{stem}.log").read_text()
    for said in ("seed=0", "torch=", "synthetic", "code: abc with changes", "epoch   3/3"):
        assert said in log
    state = json.loads(progress.read_text())
    assert state["phase"] == "done" and state["epoch"] == 3 and state["val_acc"] is not None


@pytest.mark.parametrize(
    "datasets,source,place",
    [(["synthetic"], "synthetic", ""), (["*"], "synthetic", "local"), ([], "folder", "local"),
     (["*"], "folder", ""), (["cifar10"], "folder", "local")],
)  # fmt: skip
def test_evidence_goes_to_results(root, datasets, source, place):
    from image_folders import pictures

    pictures(root / "data" / "insects", train=8, test=2)
    helpers.study(
        root, evidence_datasets=datasets, source=source, epochs=1, global_batch=4,
        train_images=8, val_images=4,
    )  # fmt: skip
    assert helpers.train(root) == 0
    assert len(list((root / "results" / place / "csv").glob("*.csv"))) == 1


def test_what_is_left_out_of_an_image_folder_stands_in_log_and_manifest(root, capfd):
    from image_folders import pictures

    folder = pictures(root / "data" / "insects", train=8, test=2)
    (folder / "train" / "ant" / "more.webp").touch()
    helpers.study(root, source="folder", epochs=1, global_batch=4, train_images=8, val_images=4)
    assert helpers.train(root) == 0
    (path,) = (root / "results" / "local" / "manifests").glob("*.json")
    assert contract.read_json(path)["dataset"]["left_out"]["files"] == {".webp": 1}
    note = "note: data/insects: left out 1 file (1 .webp; first train/ant/more.webp): only "
    printed = capfd.readouterr().out
    assert note in printed and printed.index(note) < printed.index("epoch   1/1")
    (log,) = (root / "results" / "local" / "logs").glob("*.log")
    assert note in log.read_text()


@pytest.mark.slow
def test_nothing_tells_who_or_where(root, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node17.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setenv("SLURMD_NODENAME", "node17")
    helpers.study(root, profile=True)
    assert helpers.train(root) == 0

    def broken(*_, **__):
        # As a library might fail: with a path, a host and an address in its message.
        raise TypeError(f"alice: {root}/results at node17, 10.0.0.7:29500, /home/alice/x/y.py")

    shutil.rmtree(root / "checkpoints")
    document = helpers.only(root, "results/local/manifests/*.json")
    stem = document.stem
    changed = json.loads(document.read_text())
    changed["attempts"][-1].update(ended="killed")
    document.write_text(json.dumps(changed))
    monkeypatch.setattr(loop, "learning_rate", broken)
    assert helpers.train(root, "--resume", stem) == 1
    reason = last_attempt(root)["reason"]
    assert "TypeError" in reason and "the log holds the traceback" in reason
    texts = {}
    for path in (root / "results").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            texts[path.name] = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    assert len(texts) == 6 and any(name.endswith(".pt.trace.json.gz") for name in texts)
    assert any(name.startswith("gpu_util_") for name in texts)
    log = texts[f"{stem}.log"]
    assert "Traceback" in log and "in _train_step" in log
    for name, text in texts.items():
        for secret in (str(root), str(Path.home()), "node17", "alice", "10.0.0.7", str(Path.cwd())):
            assert secret not in text or secret == "/root", (name, secret)
        assert not re.search(r"(?<![\w)])/(home|root|tmp|usr|work|opt)/", text), name


def test_absolute_settings_are_not_written_down(root, tmp_path):
    from image_folders import pictures

    pictures(tmp_path / "elsewhere", train=8, test=2)
    helpers.study(
        root, source="folder", dir=str(tmp_path / "elsewhere"), train_images=8, val_images=4,
        epochs=1, global_batch=4,
    )  # fmt: skip
    assert helpers.train(root) == 0
    document = helpers.manifest(root)
    assert document["resolved"]["dataset"]["dir"] == "(outside the study)"
    assert str(tmp_path) not in json.dumps(document)
    assert document["command"][-1] == "resolved.json"


def test_a_stem_belongs_to_one_run(root, monkeypatch, capsys):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "5")
    assert helpers.train(root) == 0
    before = helpers.manifest(root)
    assert "--resume tiny_5_1cpu_5" in fails(root, capsys)
    assert helpers.manifest(root) == before
    files = contract.locate(root, "tiny_5_1cpu_5")
    with pytest.raises(contract.ScalebookError, match="exists already"):
        manifest.create(files, {})
    # Finished: says so and is content.
    assert helpers.train(root, "--resume") == 0
    assert "is finished" in capsys.readouterr().out
    assert helpers.manifest(root) == before


@pytest.mark.slow
def test_profile_writes_a_trace_and_keeps_its_steps_out_of_the_rates(root):
    helpers.study(root, epochs=4, untimed_steps=1)
    assert helpers.train(root, "--profile") == 0
    trace = helpers.only(root, "results/local/profiling/*_rank0.pt.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    names = [event.get("name") for event in events]
    for phase in ("data", "forward", "backward", "optimizer"):
        assert names.count(phase) == 2, phase
    # One untimed step; one skipped, two discarded, two recorded.
    flags = [step["warmup"] for step in helpers.steps(root)]
    assert flags == ["1"] * 6 + ["0"] * 6
    assert helpers.rows(root)[0]["throughput"] == ""  # no timed step in the first epoch


# --------------------------------------------------------------------------- resume


def times_aside(rows):
    keep = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr", "images")
    return [[row[name] for name in keep] for row in rows]


def interrupt_after(monkeypatch, epoch, where):
    """Kill the run (as far as a test can) at a place in the writing of an epoch."""
    original = getattr(*where)

    def dies(*arguments, **named):
        if dies.countdown == 0:
            raise SystemExit("killed")
        dies.countdown -= 1
        return original(*arguments, **named)

    dies.countdown = epoch
    monkeypatch.setattr(*where, dies)
    return lambda: monkeypatch.setattr(*where, original)


@pytest.mark.parametrize(
    "place", ["before the rows", "after the steps", "after the rows", "in the next epoch"]
)
def test_resumed_equals_uninterrupted(root, tmp_path, monkeypatch, place):
    other = helpers.study(tmp_path / "whole")
    monkeypatch.setenv("SCALEBOOK_ROOT", str(other))
    assert helpers.train(other) == 0
    monkeypatch.setenv("SCALEBOOK_ROOT", str(root))
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    where, epoch = {
        "before the rows": ((records, "append_steps"), 1),
        "after the steps": ((records, "append_epoch"), 1),
        "after the rows": ((checkpoint.Folder, "save"), 1),
        "in the next epoch": ((loop, "learning_rate"), 4),
    }[place]
    mend = interrupt_after(monkeypatch, epoch, where)
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    # A torn tail, as a power cut leaves it.
    with open(helpers.only(root, "results/local/csv/*.csv"), "a") as file:
        file.write("2,0.5")
    with open(helpers.only(root, "results/local/steps/*.csv.gz"), "ab") as file:
        file.write(gzip.compress(b"1,2,3")[:15])
    assert last_attempt(root)["ended"] is None
    torch.manual_seed(12345)  # whatever state the process is in
    assert helpers.train(root, "--resume") == 0

    assert times_aside(helpers.rows(root)) == times_aside(helpers.rows(other))
    assert [row["attempt"] for row in helpers.rows(root)] == ["1", "2", "2"]
    expected = helpers.parameters(other)
    for name, values in helpers.parameters(root).items():
        assert torch.equal(values, expected[name]), name
    steps = [(step["epoch"], step["step"]) for step in helpers.steps(root)]
    assert steps == [(str(e), str(s)) for e in (1, 2, 3) for s in (1, 2, 3)]
    # The second attempt warms up again.
    assert [row["warmup_images"] for row in helpers.rows(root)] == ["32", "32", "0"]
    attempts = helpers.manifest(root)["attempts"]
    assert [a["ended"] for a in attempts] == ["killed", "completed"]
    assert [a["first_epoch"] for a in attempts] == [1, 2]


def test_a_run_of_fewer_columns_goes_on_with_all(root, monkeypatch):
    """As one does that began before a column came into the contract."""
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    mend = interrupt_after(monkeypatch, 4, (loop, "learning_rate"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    path = helpers.only(root, "results/local/csv/*.csv")
    old = [row.rpartition(",")[0] for row in path.read_text().splitlines()]
    path.write_text("".join(f"{row}\n" for row in old))
    assert helpers.train(root, "--resume") == 0
    rows = helpers.rows(root)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == list(contract.CSV_COLUMNS)
    assert len(schema.read_epochs(path, path.name).frame) == 3


def test_resume_without_checkpoint_starts_again(root, monkeypatch):
    mend = interrupt_after(monkeypatch, 0, (checkpoint.Folder, "save"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    assert len(helpers.rows(root)) == 1
    stem = helpers.manifest(root)["stem"]
    assert helpers.train(root, "--resume", stem) == 0
    assert [row["epoch"] for row in helpers.rows(root)] == ["1", "2", "3"]
    assert {row["attempt"] for row in helpers.rows(root)} == {"2"}


def test_requeued_job_continues_by_itself(root, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "31")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "30")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    mend = interrupt_after(monkeypatch, 1, (records, "append_epoch"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert helpers.train(root) == 0
    document = helpers.manifest(root)
    assert document["stem"] == "tiny_30-1_1cpu_30-1"
    assert [a["first_epoch"] for a in document["attempts"]] == [1, 2]
    assert document["attempts"][1]["scheduler"]["restart_count"] == "1"


def test_resume_refuses_other_settings_naming_the_key(root, monkeypatch, capsys):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    mend = interrupt_after(monkeypatch, 1, (checkpoint.Folder, "save"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    helpers.study(root, lr=0.2)
    said = fails(root, capsys, "--resume")
    assert "training.lr is 0.2 and was 0.1" in said
    assert len(helpers.manifest(root)["attempts"]) == 1
    helpers.study(root, timeout_s=9.0)
    assert helpers.train(root, "--resume") == 0


def test_resuming_a_job_whose_run_had_not_begun_begins_it(root, monkeypatch, capsys):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "1")
    assert helpers.train(root, "--resume") == 0
    assert "run tiny_1_1cpu_1 had not begun" in capsys.readouterr().out


def test_resume_of_nothing(root, monkeypatch, capsys):
    assert "name the run" in fails(root, capsys, "--resume")
    assert "there is no run tiny_1_1cpu_1" in fails(root, capsys, "--resume", "tiny_1_1cpu_1")
    assert "no run of experiment tiny" in fails(root, capsys, "--resume", "big_1_1cpu_1")
    assert "is not the stem of a run" in fails(root, capsys, "--resume", "nonsense")
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "a b")
    assert "job id 'a b'" in fails(root, capsys, status=2)


def test_a_run_that_goes_on_is_not_resumed(root, monkeypatch, capsys):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    mend = interrupt_after(monkeypatch, 1, (checkpoint.Folder, "save"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    holder = checkpoint.Folder(root, "tiny_9_1cpu_9")
    holder.lock()
    assert "still going on" in fails(root, capsys, "--resume")
    assert last_attempt(root)["ended"] is None  # not touched


# --------------------------------------------------------------------------- failures


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign", "pickle"])
def test_damaged_checkpoint(root, monkeypatch, capsys, damage):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    mend = interrupt_after(monkeypatch, 1, (records, "append_steps"))
    with pytest.raises(SystemExit):
        helpers.train(root)
    mend()
    path = helpers.only(root, "checkpoints/*/last.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    bad = {"flip": bytes(content), "cut": path.read_bytes()[:-10], "foreign": b"hello"}
    if damage == "pickle":  # whole, but not only tensors
        import hashlib
        import io

        buffer = io.BytesIO()
        torch.save({"model": Path("x")}, buffer)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
        bad["pickle"] = b"scalebook.checkpoint/1 " + digest + b"\n" + buffer.getvalue()
    path.write_bytes(bad[damage])
    said = fails(root, capsys, "--resume")
    assert "checkpoints/tiny_9_1cpu_9/last.pt: is damaged" in said and "remove it" in said
    assert last_attempt(root)["ended"] == "failed" and "damaged" in last_attempt(root)["reason"]
    path.unlink()
    assert helpers.train(root, "--resume") == 0


def test_loss_that_is_not_finite(root, capsys):
    helpers.study(root, lr=1e30, warmup_epochs=0.0)
    said = fails(root, capsys)
    assert re.search(r"epoch 1, step [23]: the training loss is not finite: lower lr", said)
    assert last_attempt(root)["ended"] == "failed"
    assert "not finite" in last_attempt(root)["reason"]
    assert "not finite" in helpers.only(root, "results/local/logs/*.log").read_text()


@pytest.mark.parametrize("victim", ["checkpoint", "csv"])
def test_full_disk(root, monkeypatch, capsys, victim):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    full = OSError(errno.ENOSPC, "No space left on device", str(root / "checkpoints" / "x"))
    where = {"checkpoint": (checkpoint.Folder, "save"), "csv": (records, "append_epoch")}[victim]
    original = getattr(*where)
    monkeypatch.setattr(*where, lambda *_: (_ for _ in ()).throw(full))
    said = fails(root, capsys)
    assert "checkpoint of epoch 1: the disk is full checkpoints/x: free space" in said
    assert last_attempt(root)["ended"] == "failed"
    assert "the disk is full" in last_attempt(root)["reason"]
    assert not (root / "checkpoints/tiny_9_1cpu_9/reserve").exists()  # given to the manifest
    monkeypatch.setattr(*where, original)
    assert helpers.train(root, "--resume") == 0
    assert [row["epoch"] for row in helpers.rows(root)] == ["1", "2", "3"]


def test_damaged_dataset_has_a_manifest_too(root, capsys):
    from image_folders import pictures

    folder = pictures(root / "data" / "insects")
    (folder / "train" / "ant" / "0.JPG").write_bytes(b"nothing")
    helpers.study(root, source="auto", train_images=None, val_images=None)
    said = fails(root, capsys)
    assert "data/insects/train/ant/0.JPG: is no picture: remove or replace it" in said
    document = helpers.manifest(root)
    assert document["dataset"] is None and document["attempts"][0]["ended"] == "failed"
    assert "0.JPG" in document["attempts"][0]["reason"]
    # Mended, the same run goes on.
    (folder / "train" / "ant" / "0.JPG").unlink()
    helpers.study(root, source="auto", train_images=None, val_images=None, global_batch=4)
    assert "global_batch is 4" in fails(root, capsys, "--resume", document["stem"])
    helpers.study(root, source="auto", train_images=None, val_images=None)
    assert helpers.train(root, "--resume", document["stem"]) == 0
    assert helpers.manifest(root)["dataset"]["train_images"] == 11


def test_stop_request_ends_the_run_cleanly(root, monkeypatch, capsys):
    monkeypatch.setenv("SCALEBOOK_JOB_ID", "9")
    original = records.append_epoch

    def then_stop(*arguments):
        original(*arguments)
        stop._note(15, None)

    monkeypatch.setattr(records, "append_epoch", then_stop)
    said = fails(root, capsys)
    assert "run cancelled: continue it with --resume" in said
    assert last_attempt(root)["ended"] == "cancelled"
    monkeypatch.setattr(records, "append_epoch", original)
    assert helpers.train(root, "--resume") == 0
    assert [row["epoch"] for row in helpers.rows(root)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "changes,status,said",
    [
        ({"model": "resnet19"}, 2, "model 'resnet19': torchvision has no such model"),
        ({"model": "alexnet", "image_size": 32}, 2, "model alexnet .* cannot take 32-pixel"),
        ({"model": "squeezenet1_1", "stem": "cifar"}, 2, "stem cifar is defined for ResNet-like"),
        ({"precision": "fp16"}, 2, "precision fp16 needs a GPU"),
        ({"world_size": 2}, 1, "asks for 2 ranks and 1 was started: use torchrun"),
        ({"global_batch": 1}, 2, "batch norm needs two"),
        ({"profile": True, "epochs": 1}, 2, "profile: the run has 3 steps and 5 are needed"),
        ({"source": "cifar10"}, 1, "no CIFAR-10 there: .*scalebook data get.*synthetic"),
        ({"lr": "fast"}, 1, "resolved.json: training.lr: 'fast' is not of type float"),
    ],
)
def test_mistakes_are_one_line(root, capsys, changes, status, said):
    helpers.study(root, **changes)
    assert re.search(said, fails(root, capsys, status=status))


def test_file_that_is_no_resolved_experiment(root, capsys):
    path = root / "resolved.json"
    document = json.loads(path.read_text())
    for change, said in [
        (lambda d: d.update(schema="x"), "no resolved experiment of schema"),
        (lambda d: d["training"].pop("lr"), "training.lr: is missing"),
        (lambda d: d["dataset"].update(colour=1), "dataset.colour: unknown key"),
        (lambda d: d.pop("layout"), "layout: is missing"),
    ]:
        broken = json.loads(json.dumps(document))
        change(broken)
        path.write_text(json.dumps(broken))
        assert said in fails(root, capsys)
    path.write_text("{")
    assert helpers.train(root) == 1
    assert "resolved.json: cannot be read as JSON" in capsys.readouterr().err


# --------------------------------------------------------------------------- numbers


def test_learning_rate_warms_up_and_falls():
    from scalebook.train.settings import TrainingSettings

    training = TrainingSettings(**helpers.resolved(epochs=4, warmup_epochs=1.0)["training"])
    rates = [loop.learning_rate(step, 5, training, 32) for step in range(20)]
    peak = 0.1 * 32 / 16
    assert rates[:5] == pytest.approx([peak * n / 5 for n in range(1, 6)])
    assert rates[5] == pytest.approx(peak) and rates[-1] < 0.02
    assert all(a >= b for a, b in zip(rates[5:], rates[6:]))


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16"}, {"channels_last": True}, {"stem": "cifar", "model": "resnet18"}],
)
def test_options_train(root, changes):
    helpers.study(root, epochs=1, train_images=16, val_images=8, global_batch=8, **changes)
    assert helpers.train(root) == 0


def test_tiny_model_learns(root):
    helpers.study(root, epochs=6, train_images=1000, val_images=200, global_batch=50,
                  lr_reference_batch=50, crop_padding=0, image_size=16)  # fmt: skip
    assert helpers.train(root) == 0
    assert float(helpers.rows(root)[-1]["val_acc"]) > 40
